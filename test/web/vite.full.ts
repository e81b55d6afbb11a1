/**
 * Long: the package in a project as `npm create vite` makes it. The project installs the tarball, type-checks,
 * builds, and what was built trains and writes in Chromium, in a worker and on a page; so does the development
 * server. The gzipped size is held.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { Browser, findChromium, newProfile, Site } from './chromium.js';

const CREATE_VITE = '9.3.0';
const VITE = '8.4.0';
/**
 * Bytes, gzipped, of all scripts of a page that trains and generates, with tokenizers of bytes and BPE; wasm comes
 * beside them.
 */
const MOST_BYTES = 150_000;

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const chromium = findChromium();
const skip = 'missing' in chromium ? chromium.missing : false;
const folder = mkdtempSync(join(tmpdir(), 'loopnn-vite-'));
after(() => rmSync(folder, { recursive: true }));
const app = join(folder, 'app');

const RUN = `import { BytesTokenizer, loadModel, OpfsStore, trainBpe, trainRun } from 'loopnn/browser';
export async function run() {
  const text = 'What goes round comes round. '.repeat(40);
  const warnings: string[] = [];
  const found: { loss: number; text: string }[] = [];
  for (const tokenizer of [new BytesTokenizer(), trainBpe([text], 280)]) {
    const store = new OpfsStore('runs/' + tokenizer.name + Math.random());
    const model = { depth: 'loop', nLayer: 1, nLoop: 2, nHead: 2, nEmbd: 16, blockSize: 16 } as const;
    const train = { batchSize: 2, maxSteps: 10, evalBatches: 1, lr: 0.01 };
    let loss = 0;
    await trainRun({
      ...{ store, text, tokenizer, model, train, onWarning: (warning) => warnings.push(warning) },
      onEvent: (event) => { if (event.kind === 'step') loss = event.loss; },
    });
    const trained = await loadModel(store);
    let said = '';
    for await (const part of trained.generate('What ', { maxTokens: 8 })) said += part.text;
    await trained.dispose();
    found.push({ loss, text: said });
  }
  return { found, warnings };
}
`;
const WORKER = `import { run } from './run.ts';
run().then((found) => postMessage(found), (error) => postMessage({ error: String(error) }));
`;
const MAIN = `const found = new Promise((resolve) => {
  if (location.hash === '#page') return import('./run.ts').then(({ run }) => run()).then(resolve, (error) => resolve({ error: String(error) }));
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = ({ message }) => resolve({ error: message ?? 'the worker did not load' });
});
(globalThis as { found?: unknown }).found = found;
`;
const CONFIG = `const headers = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };
export default { worker: { format: 'es' }, server: { headers, host: '127.0.0.1' } };
`;

interface Found {
  readonly error?: string;
  readonly warnings: readonly string[];
  readonly found: readonly { readonly loss: number; readonly text: string }[];
}

async function runsAt(browser: Browser, url: string): Promise<void> {
  await browser.goto('about:blank');
  await browser.goto(url);
  const ready =
    'new Promise((go) => { const look = () => globalThis.found ? go(found) : setTimeout(look, 50); look(); })';
  const { error, found, warnings } = await browser.evaluate<Found>(ready);
  assert.equal(error, undefined);
  assert.deepEqual(warnings, []);
  for (const { loss, text } of found) assert.ok(loss > 1 && loss < 6 && text.length > 0, `${loss} ${text}`);
}

test('a Vite project trains and writes', { skip, timeout: 600_000 }, async (t) => {
  const environment = { ...process.env, NODE_TEST_CONTEXT: undefined, FORCE_COLOR: undefined, NO_COLOR: '1' };
  const run = (command: string, ...args: string[]) =>
    execFileSync(command, args, {
      cwd: app,
      env: environment,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  const pack = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  const [{ filename }] = JSON.parse(
    execFileSync('npm', pack, { cwd: ROOT, env: environment, encoding: 'utf8' }),
  );
  const create = [
    '--yes',
    `create-vite@${CREATE_VITE}`,
    'app',
    '--template',
    'vanilla-ts',
    '--no-interactive',
  ];
  execFileSync('npx', create, { cwd: folder, env: environment, stdio: ['ignore', 'ignore', 'inherit'] });
  const quiet = ['--no-audit', '--no-fund', '--ignore-scripts', '--omit=optional'];
  run('npm', 'install', ...quiet.slice(0, 2), '--save-dev', '--save-exact', `vite@${VITE}`);
  run('npm', 'install', ...quiet.slice(0, 3), join(folder, filename));
  for (const [name, text] of Object.entries({ run: RUN, worker: WORKER, main: MAIN }))
    writeFileSync(join(app, 'src', `${name}.ts`), text);
  run('npx', '--no-install', 'tsc', '--noEmit');

  using profile = newProfile();
  await using browser = await Browser.open((chromium as { command: string }).command, profile.folder);
  for (const configured of [false, true]) {
    if (configured) writeFileSync(join(app, 'vite.config.js'), CONFIG);
    run('npx', '--no-install', 'vite', 'build');
    for (const isolated of [true, false]) {
      const where = `${configured ? 'with modules as workers' : 'as it comes'}, ${isolated ? '' : 'not '}isolated`;
      await t.test(`built ${where}`, async () => {
        await using site = await Site.open({ isolated, root: join(app, 'dist') });
        await runsAt(browser, site.url);
        assert.equal(
          site.asked.some((path) => path.includes('wasm-thread')),
          isolated,
        );
        await runsAt(browser, `${site.url}#page`);
      });
    }
  }
  await t.test(`its scripts have at most ${MOST_BYTES} bytes, gzipped`, async () => {
    await using site = await Site.open({ isolated: true, root: join(app, 'dist') });
    await runsAt(browser, `${site.url}#page`);
    const scripts = [...new Set(site.asked)].filter((path) => path.endsWith('.js'));
    const bytes = scripts.reduce(
      (sum, path) => sum + gzipSync(readFileSync(join(app, 'dist', path))).length,
      0,
    );
    t.diagnostic(`${scripts.length} scripts, ${bytes} bytes gzipped`);
    assert.ok(bytes <= MOST_BYTES, `${bytes} bytes in ${scripts}`);
  });
  await t.test('under the development server', async () => {
    const vite = join(app, 'node_modules/vite/bin/vite.js');
    const server = spawn(process.execPath, [vite, '--port', '0'], { cwd: app, env: environment });
    try {
      const url = await new Promise<string>((resolve, reject) => {
        let said = '';
        server.stdout.setEncoding('utf8').on('data', (piece) => {
          said += piece;
          const address = /http:\/\/127\.0\.0\.1:\d+\//.exec(said);
          if (address) resolve(address[0]);
        });
        server.once('exit', (code) => reject(new Error(`vite ended with ${code}: ${said}`)));
      });
      await runsAt(browser, url);
      await runsAt(browser, `${url}#page`);
    } finally {
      server.kill();
    }
  });
});
