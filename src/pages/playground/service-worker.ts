/**
 * Keeps the page's files, so that the page works without a network. A version's files come from its own cache, and a
 * new version waits until a visitor lets it take over, so an open page never mixes two versions. The model's files are
 * always fetched, since a server may have another model at the same address; without a network they come from the
 * cache.
 */
declare const FILES: readonly string[];
declare const VERSION: string;

interface Extended extends Event {
  waitUntil(work: Promise<unknown>): void;
}
interface FetchEvent extends Extended {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}
interface Scope {
  readonly registration: { readonly scope: string };
  readonly clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener(type: 'install' | 'activate', heard: (event: Extended) => void): void;
  addEventListener(type: 'fetch', heard: (event: FetchEvent) => void): void;
  addEventListener(type: 'message', heard: (event: Extended & { readonly data: unknown }) => void): void;
}

const scope = globalThis as unknown as Scope;
const PREFIX = `loopnn-playground ${scope.registration.scope} `;
const NAME = PREFIX + VERSION;
const MODEL = new URL('model/', scope.registration.scope).href;
/** The addresses of all files but the model's, which a server may replace. */
const KEPT = new Set(
  FILES.map((file) => new URL(file, scope.registration.scope).href).filter((url) => !url.startsWith(MODEL)),
);

scope.addEventListener('install', (event) => event.waitUntil(keepAll()));
scope.addEventListener('activate', (event) => event.waitUntil(begin()));
scope.addEventListener('message', (event) => {
  if (event.data === 'take over') event.waitUntil(scope.skipWaiting());
});
scope.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = addressOf(request);
  if (request.method !== 'GET') return;
  if (url.startsWith(MODEL)) event.respondWith(newest(request, url));
  else if (KEPT.has(url)) event.respondWith(kept(request, url));
});

/** A request's address without query and fragment; the folder's address becomes that of its index. */
function addressOf({ url }: Request): string {
  const address = new URL(url);
  address.search = '';
  address.hash = '';
  if (address.href === scope.registration.scope) address.pathname += 'index.html';
  return address.href;
}

async function keepAll(): Promise<void> {
  const cache = await caches.open(NAME);
  const list = `${MODEL}checksums.json`;
  const { files } = (await (await fetch(list)).json()) as {
    readonly files: Readonly<Record<string, unknown>>;
  };
  const model = Object.keys(files).map((file) => MODEL + file);
  // Files of an earlier version in the browser's cache are revalidated, and not sent again if they are the same.
  const all = [...KEPT, list, ...model];
  await cache.addAll(all.map((url) => new Request(url, { cache: 'no-cache' })));
}

async function begin(): Promise<void> {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== NAME) await caches.delete(name);
  }
  await scope.clients.claim();
}

async function kept(request: Request, url: string): Promise<Response> {
  const found = await (await caches.open(NAME)).match(url);
  return isolated(found ?? (await fetch(request)));
}

async function newest(request: Request, url: string): Promise<Response> {
  const cache = await caches.open(NAME);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(url, response.clone());
    return isolated(response);
  } catch (error) {
    const found = await cache.match(url);
    if (found) return isolated(found);
    throw error;
  }
}

/** Lets the page share memory with its workers, even if its server does not send the headers for that. */
function isolated(response: Response): Response {
  if (response.type === 'opaque' || response.status === 0) return response;
  const headers = new Headers(response.headers);
  headers.set('cross-origin-opener-policy', 'same-origin');
  headers.set('cross-origin-embedder-policy', 'require-corp');
  const { status, statusText, body } = response;
  return new Response(body, { status, statusText, headers });
}
