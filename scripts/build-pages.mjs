/**
 * Builds the pages: each folder of src/pages with an index.html becomes a folder below dist/pages, which any server of
 * static files can serve. Scripts are bundled; workers, and the files that the engine loads by address, lie beside
 * them.
 */
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const SOURCES = join(ROOT, 'src/pages');
const OUT = join(ROOT, 'dist/pages');

/** Names of pages. */
export function pages() {
  return readdirSync(SOURCES).filter((name) => existsSync(join(SOURCES, name, 'index.html')));
}

/** The engine finds its wasm files by addresses relative to its own file, which the bundle moves: this adapts them. */
const besides = {
  name: 'wasm beside the script',
  setup({ onLoad }) {
    onLoad({ filter: /src[\\/]web[\\/]wasm\.ts$/ }, ({ path }) => {
      const contents = readFileSync(path, 'utf8').replaceAll("'../../../wasm/", "'./");
      return { contents, loader: 'ts' };
    });
  },
};

/** The style that pages share with reports, in which it is text. */
const houseStyle = {
  name: 'house style',
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^house$/ }, () => ({ path: 'style', namespace: 'house' }));
    onLoad({ filter: /^style$/, namespace: 'house' }, async () => {
      const { STYLE } = await import(pathToFileURL(join(ROOT, 'dist/src/experiments/style.js')).href);
      return { contents: STYLE, loader: 'css' };
    });
  },
};

async function buildPage(name) {
  const source = join(SOURCES, name);
  const out = join(OUT, name);
  mkdirSync(out, { recursive: true });
  const own = readdirSync(source);
  const workers = own.filter((file) => /^([\w-]+-)?worker\.ts$/.test(file) && file !== 'service-worker.ts');
  const computes = workers.length > 0;
  const scripts = ['main.tsx', ...workers].map((file) => join(source, file));
  await build({
    entryPoints: [...scripts, ...(computes ? [join(ROOT, 'src/web/wasm-thread.ts')] : [])],
    entryNames: '[name]',
    chunkNames: '[name]-[hash]',
    outdir: out,
    bundle: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    minify: true,
    sourcemap: 'linked',
    sourcesContent: false,
    tsconfig: join(ROOT, 'tsconfig.pages.json'),
    plugins: [besides, houseStyle],
    loader: { '.txt': 'file' },
    logLevel: 'warning',
  });
  cpSync(join(source, 'index.html'), join(out, 'index.html'));
  if (computes) cpSync(join(ROOT, 'wasm'), out, { recursive: true });
  const model = join(ROOT, 'models', name);
  if (existsSync(model)) cpSync(model, join(out, 'model'), { recursive: true });
  if (own.includes('service-worker.ts')) await buildServiceWorker(join(source, 'service-worker.ts'), out);
}

/** Builds the script that caches the page's files for use offline, with their list and a hash of them all. */
async function buildServiceWorker(source, out) {
  const files = readdirSync(out, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.map'))
    .map((entry) =>
      join(entry.parentPath ?? entry.path, entry.name)
        .slice(out.length + 1)
        .replaceAll('\\', '/'),
    )
    .sort();
  const hash = createHash('sha256');
  for (const file of files) hash.update(file).update(readFileSync(join(out, file)));
  await build({
    entryPoints: [source],
    outdir: out,
    bundle: true,
    format: 'iife',
    minify: true,
    tsconfig: join(ROOT, 'tsconfig.pages.json'),
    define: { FILES: JSON.stringify(files), VERSION: JSON.stringify(hash.digest('hex').slice(0, 16)) },
    logLevel: 'warning',
  });
}

/** Builds all pages from scratch. */
export async function buildPages() {
  rmSync(OUT, { recursive: true, force: true });
  for (const name of pages()) await buildPage(name);
  writeFileSync(join(OUT, 'package.json'), '{ "type": "module" }\n');
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await buildPages();
  for (const name of pages()) console.log(join(OUT, name));
}
