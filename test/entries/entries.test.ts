/**
 * The library's entries: what each loads, that the types it speaks of can be named, and that the examples of its
 * comments run.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { outcome, temporaryFolder, writeCorpus } from '../cli/helpers.js';
import { prepareCorpus } from '../../src/data/prepare.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const DIST = join(ROOT, 'dist/src');
const read = (file: string) => readFileSync(join(DIST, file), 'utf8');
const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  exports: Record<string, { types: string; default: string }>;
};
const entries = Object.entries(exports).map(([name, { default: file }]) => ({
  name: name.replace('.', 'loopnn'),
  file: file.replace('./dist/src/', ''),
}));
const beside = (file: string, specifier: string) => normalize(join(dirname(file), specifier));

const folder = temporaryFolder();
const texts = join(folder, 'texts');
mkdirSync(texts);
const corpus = writeCorpus(texts);
await prepareCorpus({ sources: [corpus], out: join(folder, 'data/mine'), tokenizer: 'bytes', seed: 1 });
cpSync(join(ROOT, 'test/fixtures/huggingface/gpt2'), join(folder, 'gpt2'), { recursive: true });
mkdirSync(join(folder, 'node_modules'));
symlinkSync(ROOT, join(folder, 'node_modules/loopnn'));

/** The packages, and the rooms of the house, that are loaded with a file. */
function loads(file: string): { packages: string[]; rooms: string[] } {
  const found = new Set([file]);
  const packages = new Set<string>();
  for (const path of found) {
    for (const [, specifier] of read(path).matchAll(/^(?:import|export) (?:[^;]*? from )?'([^']+)'/gm)) {
      if (specifier.startsWith('.')) found.add(beside(path, specifier));
      else if (!specifier.startsWith('node:')) {
        packages.add(specifier.split('/', specifier[0] === '@' ? 2 : 1).join('/'));
      }
    }
  }
  const rooms = new Set([...found].map((path) => path.split('/')[0]));
  return { packages: [...packages].sort(), rooms: [...rooms] };
}

test('an entry loads no package but its own, and none for parquet or the hub; only the server’s loads the server', () => {
  assert.deepEqual(Object.fromEntries(entries.map(({ name, file }) => [name, loads(file).packages])), {
    loopnn: [],
    'loopnn/browser': [],
    'loopnn/data': ['fzstd'],
    'loopnn/convert': [],
    'loopnn/experiments': ['d3-scale', 'd3-shape'],
    'loopnn/serve': ['@hono/node-server', '@huggingface/jinja', 'hono'],
  });
  for (const { name, file } of entries) {
    const { rooms } = loads(file);
    assert.ok(!rooms.includes('cli'), name);
    assert.equal(rooms.includes('serve'), name === 'loopnn/serve', name);
  }
});

/** Names that a declaration file exports, and where they are declared. */
function exported(file: string): Map<string, string> {
  const text = read(file);
  const found = new Map<string, string>();
  for (const [, names, from] of text.matchAll(/^export (?:type )?\{([^}]*)\} from '([^']+)'/gm)) {
    for (const name of namesIn(names)) found.set(name, declarations(beside(file, from)));
  }
  for (const [, from] of text.matchAll(/^export (?:type )?\* from '([^']+)'/gm)) {
    for (const [name, at] of exported(declarations(beside(file, from)))) found.set(name, at);
  }
  for (const [, name] of text.matchAll(DECLARED)) found.set(name, file);
  return found;
}

const DECLARED = /^export (?:declare )?(?:abstract )?(?:class|interface|type|const|function) (\w+)/gm;
const declarations = (file: string) => file.replace(/\.js$/, '.d.ts');

function namesIn(list: string): string[] {
  return list.split(',').flatMap((part) => {
    const name = part
      .trim()
      .replace(/^type /, '')
      .split(' as ')
      .pop()!;
    return name === '' ? [] : [name];
  });
}

/** The types of the house that an exported declaration speaks of. */
function mentioned(name: string, file: string): string[] {
  const text = read(file).replace(/\/\*\*[\s\S]*?\*\//g, '');
  const own = new Set([...text.matchAll(DECLARED)].map(([, found]) => found));
  for (const [, names] of text.matchAll(/^import (?:type )?\{([^}]*)\} from '\.[^']+'/gm)) {
    for (const found of namesIn(names)) own.add(found);
  }
  const start = new RegExp(
    `^export (?:declare )?(?:abstract )?(?:class|interface|type|const|function) ${name}\\b[\\s\\S]*?(?=^export |^interface |^type |^declare |^import |$(?![\\s\\S]))`,
    'gm',
  );
  const words = [...text.matchAll(start)].flatMap(
    ([declaration]) => declaration.match(/\b[A-Z]\w*[a-z]\w*\b/g) ?? [],
  );
  return [...new Set(words)].filter((word) => own.has(word) && word !== name);
}

/** What a model and its memory are made of: nobody who calls them needs to name it. */
const INSIDE = [
  ...[
    'ConfigOf',
    'DType',
    'ExitReading',
    'HostArray',
    'IdRange',
    'LossOutput',
    'NodeFile',
    'Parameter',
    'Parameters',
    'Pool',
  ],
  ...[
    'Buffer',
    'ContextOptions',
    'Objective',
    'OnnxBody',
    'OnnxInitializer',
    'RowLogits',
    'ScoredRows',
    'Tape',
  ],
  ...['Storage', 'Walker', 'Waypoint'],
];

test('every type that the library’s functions take or give can be named', () => {
  const types = exported('index.d.ts');
  for (const { name: entry, file } of entries) {
    const own = exported(declarations(file));
    for (const [name, at] of own) {
      if (at.startsWith('backend/') || INSIDE.includes(name)) continue;
      for (const type of mentioned(name, at)) {
        assert.ok(
          types.has(type) || own.has(type) || INSIDE.includes(type),
          `${entry}: ${name} speaks of ${type}`,
        );
      }
    }
  }
});

test('source maps carry their sources', () => {
  const maps = readdirSync(join(DIST, 'operations')).filter((name) => name.endsWith('.map'));
  assert.ok(maps.length > 5);
  for (const name of maps) {
    const { sources, sourcesContent } = JSON.parse(read(join('operations', name)));
    assert.equal(sourcesContent?.length, sources.length, name);
    assert.match(sourcesContent[0], /^\/\*\*\s/);
  }
});

/** Runs a module where `loopnn` is installed, and returns what it prints. */
async function printedBy(code: string): Promise<string> {
  const file = join(folder, 'example.mjs');
  writeFileSync(file, code);
  const child = spawn(process.execPath, [file], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  const { code: status, stdout, stderr } = await outcome(child);
  assert.equal(status, 0, `${code}\n${stderr}`);
  return stdout;
}

/** The code of the comment's @example before a function. */
function exampleOf(path: string, name: string): string {
  const text = readFileSync(join(ROOT, 'src', path), 'utf8');
  const end = text.search(new RegExp(`^export (?:async )?function ${name}\\b`, 'm'));
  const comment = text.slice(text.lastIndexOf('/**', end), end);
  const [, example] = comment.split(' * @example\n');
  assert.ok(example, `${path}: ${name} has an @example`);
  const code = example.split(' */')[0].replace(/^ \* ?/gm, '');
  const used = [...exported('index.d.ts').keys(), ...RUNTIME.keys()].filter((own) =>
    new RegExp(`\\b${own}\\(`).test(code),
  );
  const imports = used.map((own) => `import { ${own} } from '${RUNTIME.get(own) ?? 'loopnn'}';`);
  return `${imports.join('\n')}\n${code}`;
}

/** Functions by their entries. */
const RUNTIME = new Map(
  entries
    .filter(({ name }) => name !== 'loopnn' && name !== 'loopnn/browser')
    .flatMap(({ name, file }) => [...exported(declarations(file)).keys()].map((own) => [own, name] as const)),
);

// In the order in which they need each other's folders.
const EXAMPLES: [path: string, name: string, prints: RegExp][] = [
  ['operations/train.ts', 'trainRun', /^0 \d\.\d+\n60 \d\.\d+\nruns\/mine\/report\.html\n$/],
  ['operations/config.ts', 'chooseConfig', /^1 4\n$/],
  ['operations/suites.ts', 'findSuite', /^\[ '1 layer', '1 layer × 2 loops', '2 layers' \]\n$/],
  ['operations/import.ts', 'importModel', /^\d+\n$/],
  ['operations/retrofit.ts', 'retrofitModel', /^\d+\n$/],
  ['operations/export.ts', 'exportModel', /^loopnn\n$/],
  ['operations/inspect.ts', 'inspectText', /^\[\n {2}\[ 'O', '/],
  ['operations/exits.ts', 'measureExits', /'confidence'/],
  ['operations/serve.ts', 'serveModel', /id: 'mine'/],
  ['operations/play.ts', 'servePlayground', /<title>loopnn: what looping does/],
  ['operations/watch.ts', 'watchRuns', /^[1-9]\d* runs on http:\/\/127\.0\.0\.1:\d+\n$/],
  ['operations/report.ts', 'reportRuns', /^1 run, \d+ characters\n$/],
  ['node/load-model.ts', 'loadModel', /^.+/],
  ['node/backend.ts', 'createBackend', /^wasm f32\n$/],
  ['models/cost.ts', 'modelCost', /^2\n$/],
  ['operations/plan.ts', 'planModels', /^3 true\n$/],
];

for (const [path, name, prints] of EXAMPLES) {
  test(`the example of ${name} runs`, async () => {
    assert.match(await printedBy(exampleOf(path, name)), prints);
  });
}

test('examples/train.ts and examples/generate.ts run, and print what they say', async () => {
  const example = async (...args: string[]) => {
    const [name, ...rest] = args;
    const file = join(ROOT, 'dist/examples', `${name}.js`);
    const { code, stdout, stderr } = await outcome(
      spawn(process.execPath, [file, ...rest], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] }),
    );
    assert.equal(code, 0, stderr);
    return stdout;
  };
  /** What the file's comment says that it prints, with numbers and texts of any kind. */
  const said = (name: string) => {
    const source = readFileSync(join(ROOT, 'examples', `${name}.ts`), 'utf8');
    assert.ok(source.trimEnd().split('\n').length <= 42, `${name}.ts is to be read at a glance`);
    const [, block] = /prints?:\n \*\n([\s\S]*?) \*\//.exec(source)!;
    const lines = block.replace(/^ \* {5}/gm, '').replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    return new RegExp(
      `^${lines.replace(/".*"/g, '".*"').replace(/\d+/g, '\\d+').replace('FOLDER', 'small')}$`,
    );
  };
  assert.match(await example('train', '3', 'small'), said('train'));
  assert.match(await example('generate', 'small/run'), said('generate'));
});
