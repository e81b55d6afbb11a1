/** Shared by the server's tests: a small run, a server around it, requests by hand. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { after } from 'node:test';
import OpenAI from 'openai';
import { ApiKeys } from '../../src/serve/keys.js';
import { DEFAULT_LIMITS, type Limits, ModelServer, type ServeOptions } from '../../src/serve/server.js';
import { MAIN, outcome, temporaryFolder, trainSmall } from '../cli/helpers.js';

/** Id of the end-of-text token of the bytes tokenizer. */
const EOT = 256;
/** Never ends before its last token. */
export const ENDLESS = { logit_bias: { [EOT]: -100 } };
export const BLOCK_SIZE = 1024;

/** Trains a loop network of bytes in a moment; returns its folder, whose name is `tiny`. */
export async function trainedRun(...flags: string[]): Promise<string> {
  const size = ['--block-size', String(BLOCK_SIZE), '--batch-size', '1', '--max-steps', '5'];
  // What is served is tested on a GPU, and not what made it: on SwiftShader that takes minutes.
  const engine = process.env.LOOPNN_BACKEND === 'webgpu' ? ['--backend', 'auto'] : [];
  const { run } = await trainSmall(temporaryFolder(), 'tiny', ...size, ...engine, ...flags);
  return run;
}

export type Overrides = Partial<Omit<ServeOptions, 'limits'>> & { readonly limits?: Partial<Limits> };

/** A server that has loaded its run, and the lines of its log; it is closed after the test file. */
export async function serveRun(folder: string, overrides: Overrides = {}) {
  const lines: string[] = [];
  const server = await ModelServer.start({
    folder,
    run: { precision: 'f32' },
    chatTemplate: null,
    loops: null,
    maxSequences: 4,
    host: '127.0.0.1',
    port: 0,
    keys: new ApiKeys([], 'keys'),
    modelNames: [],
    cors: [],
    page: false,
    log: (line) => lines.push(line),
    notice: () => {},
    ...overrides,
    limits: { ...DEFAULT_LIMITS, ...overrides.limits },
  });
  after(() => server.close());
  await server.ready;
  return { server, lines, url: server.url };
}

/**
 * Each collection is a whole one, and young objects have a mebibyte: what is resident is then what is held. Without, V8
 * lets the heaps of the two threads grow to their working sizes over some thousand requests, from 130 MiB in all to
 * 180, of which a collection leaves the same 20 after 500 requests as after 15,000.
 */
const WITHOUT_GARBAGE = ['--gc-global', '--max-semi-space-size=1'];

/**
 * `loopnn serve` as a process whose resident memory is what it holds; `stop` ends it as SIGTERM does and gives its log.
 */
export async function serveProcess(folder: string, ...flags: string[]) {
  const served = ['serve', '--model', folder, '--port', '0', ...flags];
  const child = spawn(process.execPath, [...WITHOUT_GARBAGE, MAIN, ...served], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = outcome(child);
  after(() => child.kill('SIGKILL'));
  let printed = '';
  child.stderr.on('data', (text) => {
    printed += text;
  });
  await until(() => / is loaded/.test(printed) || child.exitCode !== null, 'a loaded model');
  assert.equal(child.exitCode, null, printed);
  const stop = async () => {
    child.kill('SIGTERM');
    const { code, stderr } = await ended;
    assert.equal(code, 0, stderr.slice(-2000));
    return stderr;
  };
  return { url: /listening on (\S+)/.exec(printed)![1], stop };
}

/** OpenAI's own client; it asks only once. */
export function clientOf(url: string, apiKey = 'none'): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
}

/** POSTs a JSON body, given as a value or as text. */
export function post(url: string, path: string, body: unknown, headers: Record<string, string> = {}) {
  return fetch(url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

/** Writes bytes to a socket and gives what comes back until the server closes it. */
export function exchange(url: string, ...pieces: readonly string[]): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    let answer = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      answer += text;
    });
    // A server that closes while we still write is no failure of the test.
    socket.on('error', () => {});
    socket.on('close', () => resolve(answer));
    for (const piece of pieces) socket.write(piece);
  });
}

/** Waits until `happened`, for some seconds at most. */
export async function until(happened: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (await happened()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`${what}: did not happen`);
}

/** The value of a series in Prometheus's text format. */
export async function metric(url: string, series: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`${series} `));
  assert.ok(line, `${series} in ${text}`);
  return Number(line.slice(series.length + 1));
}
