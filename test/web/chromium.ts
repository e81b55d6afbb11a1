/** A headless Chromium with one page, and a server that gives it this project's files and hears what it found. */
import { execFileSync, spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const TYPES: Readonly<Record<string, string>> = {
  '.js': 'text/javascript',
  '.wasm': 'application/wasm',
  '.html': 'text/html',
};

/** The browser's command, or why there is none. */
export function findChromium(): { readonly command: string } | { readonly missing: string } {
  for (const command of [process.env.CHROMIUM, 'chromium', 'chromium-browser', 'google-chrome']) {
    if (!command) continue;
    try {
      execFileSync(command, ['--version'], { stdio: 'ignore', timeout: 30_000 });
      return { command };
    } catch {
      // The next one.
    }
  }
  return { missing: 'no Chromium: install it (apt-get install chromium) or set CHROMIUM' };
}

/** What a page posts to /found. `isolated`: whether the page may share memory. */
export async function fromPage(command: string, html: string, isolated: boolean): Promise<unknown> {
  const headers = isolated
    ? { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' }
    : {};
  const profile = mkdtempSync(join(tmpdir(), 'loopnn-chromium-'));
  let found: (text: string) => void = () => {};
  const answer = new Promise<string>((resolve) => {
    found = resolve;
  });
  const server = createServer((request, response) => {
    const path = new URL(request.url!, 'http://localhost').pathname;
    if (path === '/found') {
      let body = '';
      request.on('data', (piece) => {
        body += piece;
      });
      request.on('end', () => {
        response.writeHead(204).end();
        found(body);
      });
      return;
    }
    try {
      const content = path === '/' ? html : readFileSync(join(ROOT, normalize(path)));
      response
        .writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'text/html', ...headers })
        .end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const args = [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    `--user-data-dir=${profile}`,
  ];
  const browser = spawn(command, [...args, `http://127.0.0.1:${port}/`], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => browser.once('exit', () => resolve()));
  try {
    const early = ended.then(() => Promise.reject(new Error('the browser ended before its page did')));
    return JSON.parse(await Promise.race([answer, early]));
  } finally {
    browser.kill();
    await ended;
    server.closeAllConnections();
    server.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
