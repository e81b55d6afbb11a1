/** Settings for the hub from the variables that its other clients use; an empty variable counts as not set. */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '../../errors.js';

/** A token whose characters are valid in a header. */
const TOKEN = /^[\x21-\x7e]+$/;

/** The user's folder for the hub's clients. */
function home(): string {
  const { HF_HOME, XDG_CACHE_HOME } = process.env;
  return HF_HOME || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface');
}

/** The cache folder of the hub's clients: HF_HUB_CACHE, else HF_HOME/hub, else below the user's own folder. */
export function cacheFolder(): string {
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE } = process.env;
  return HF_HUB_CACHE || HUGGINGFACE_HUB_CACHE || join(home(), 'hub');
}

/**
 * The user's token, of any form: HF_TOKEN, else HUGGING_FACE_HUB_TOKEN, else what `hf auth login` has saved in the file
 * HF_TOKEN_PATH, by default HF_HOME/token. Undefined if there is none. Throws ConfigError for a token that no header
 * can carry.
 */
export function userToken(): string | undefined {
  const { HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH } = process.env;
  const file = HF_TOKEN_PATH || join(home(), 'token');
  for (const [where, found] of [
    ['HF_TOKEN', HF_TOKEN],
    ['HUGGING_FACE_HUB_TOKEN', HUGGING_FACE_HUB_TOKEN],
    [file, contentOf(file)],
  ] as const) {
    const token = found?.trim();
    if (token) return checkedToken(where, token);
  }
  return undefined;
}

/** Throws ConfigError for a token that no header can carry; the error does not show the token. */
export function checkedToken(where: string, token: string): string {
  if (TOKEN.test(token)) return token;
  throw new ConfigError(where, 'must be a token of printable ASCII characters without spaces');
}

/** Whether HF_HUB_OFFLINE forbids requests to the hub. */
export function isOffline(): boolean {
  return /^(1|on|yes|true)$/i.test(process.env.HF_HUB_OFFLINE ?? '');
}

/**
 * `fetch` through the proxies that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name. Node's own `fetch` ignores these
 * variables before Node 24.
 */
export async function fetchOfEnvironment(): Promise<typeof fetch> {
  if (variable('HTTPS_PROXY') === undefined && variable('HTTP_PROXY') === undefined) return fetch;
  const { Agent, ProxyAgent, fetch: fetchBy } = await import('undici');
  const direct = new Agent();
  const agents = new Map<string, InstanceType<typeof ProxyAgent>>();
  const agentOf = (url: URL) => {
    const proxy = proxyOf(url);
    if (proxy === undefined) return direct;
    const agent = agents.get(proxy) ?? new ProxyAgent(proxy);
    agents.set(proxy, agent);
    return agent;
  };
  const fetchOnce = async (url: URL, init: RequestInit = {}): Promise<Response> => {
    // Redirects are followed one by one: a redirect may lead from a host with a proxy to a host without.
    for (let at = url, left = MOST_REDIRECTS; ; left--) {
      const given = { ...init, redirect: 'manual', dispatcher: agentOf(at) } as object;
      const response = (await fetchBy(at, given)) as unknown as Response;
      const place = response.headers.get('location');
      if (init.redirect === 'manual' || place === null || !REDIRECTS.includes(response.status))
        return response;
      if (left === 0) throw new Error(`more than ${MOST_REDIRECTS} redirects`);
      await response.body?.cancel();
      const next = new URL(place, at);
      if (next.origin !== at.origin) init = { ...init, headers: withoutToken(init.headers) };
      at = next;
    }
  };
  return fetchOnce as typeof fetch;
}

const REDIRECTS = [301, 302, 303, 307, 308];
const MOST_REDIRECTS = 20;

function withoutToken(headers: RequestInit['headers']): Headers {
  const kept = new Headers(headers);
  kept.delete('authorization');
  return kept;
}

/** The proxy for an address; undefined for none. */
function proxyOf({ protocol, hostname, host }: URL): string | undefined {
  const excepted = (variable('NO_PROXY') ?? '').split(/[\s,]+/).filter((entry) => entry !== '');
  const matches = (entry: string) => {
    const name = entry.replace(/^\*?\./, '').toLowerCase();
    return name === '*' || [hostname, host].some((own) => own === name || own.endsWith(`.${name}`));
  };
  if (excepted.some(matches)) return undefined;
  const wanted = protocol === 'https:' ? variable('HTTPS_PROXY') : variable('HTTP_PROXY');
  if (wanted === undefined) return undefined;
  return /^[a-z]+:\/\//i.test(wanted) ? wanted : `http://${wanted}`;
}

/** A variable by its name in capitals, else in lower case. */
function variable(name: string): string | undefined {
  return process.env[name] || process.env[name.toLowerCase()] || undefined;
}

function contentOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
