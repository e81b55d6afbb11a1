/** The house: imports run downwards, the core does without Node, and the trees of folders are true. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Each floor may import from those below it, and from itself. */
const FLOORS = [
  ['pages'],
  ['cli', 'entries', 'index.ts', 'browser.ts'],
  ['operations'],
  ['watch'],
  ['serve'],
  ['experiments'],
  ['bench'],
  ['data'],
  ['node', 'web'],
  ['train'],
  ['evaluate'],
  ['convert'],
  ['generate'],
  ['models'],
  ['nn'],
  ['tensor'],
  ['tokenizer', 'formats', 'backend'],
  ['fields.ts', 'platform.ts', 'random.ts', 'statistics.ts'],
  ['errors.ts'],
  ['printable.ts'],
];
/** What only Node has; everything else must run in a browser. */
const NODE_ONLY = [
  'cli',
  'entries',
  'operations',
  'watch',
  'serve',
  'data',
  'node',
  'backend/native',
  'index.ts',
];
/** The same inside models/, types included. */
const MODEL_FLOORS = [
  ['gpt.ts', 'cost.ts'],
  ['constants.ts', 'losses.ts', 'modules.ts', 'unread.ts'],
  ['exits'],
  ['config.ts'],
  ['depth'],
  ['context.ts'],
  ['batch.ts', 'kv-sharing.ts', 'running-rows.ts', 'model-fields.ts'],
];

const sources = (readdirSync(join(ROOT, 'src'), { recursive: true }) as string[])
  .filter((path) => /\.tsx?$/.test(path))
  .map((path) => ({ path, text: readFileSync(join(ROOT, 'src', path), 'utf8') }));

function imports(text: string): string[] {
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1]);
}

function floorOf(path: string): number {
  const room = path.split('/')[0];
  const floor = FLOORS.findIndex((rooms) => rooms.includes(room));
  assert.notEqual(floor, -1, `${path}: src/${room} has no floor in this test`);
  return floor;
}

test('imports run downwards only', () => {
  for (const { path, text } of sources) {
    for (const specifier of imports(text).filter((s) => s.startsWith('.'))) {
      const target = normalize(join(dirname(path), specifier)).replace(/\.js$/, '.ts');
      assert.ok(floorOf(target) >= floorOf(path), `${path} imports ${target}, a floor above it`);
      const sameFloor = floorOf(target) === floorOf(path);
      const sameRoom = target.split('/')[0] === path.split('/')[0];
      assert.ok(
        !sameFloor || sameRoom || ['index.ts', 'browser.ts'].includes(path),
        `${path} imports ${target}, a room beside it`,
      );
    }
  }
});

test('imports inside models/ run downwards only', () => {
  const floorIn = (path: string) => {
    const floor = MODEL_FLOORS.findIndex((names) => names.includes(path.split('/')[1]));
    assert.notEqual(floor, -1, `${path} has no floor in this test`);
    return floor;
  };
  for (const { path, text } of sources.filter(({ path }) => path.startsWith('models/'))) {
    for (const specifier of imports(text).filter((s) => s.startsWith('.'))) {
      const target = normalize(join(dirname(path), specifier)).replace(/\.js$/, '.ts');
      if (!target.startsWith('models/')) continue;
      assert.ok(floorIn(target) >= floorIn(path), `${path} imports ${target}, a floor above it`);
    }
  }
});

test('the core imports nothing of Node', () => {
  for (const { path, text } of sources) {
    if (NODE_ONLY.some((place) => path === place || path.startsWith(`${place}/`))) continue;
    for (const specifier of imports(text))
      assert.ok(!specifier.startsWith('node:'), `${path} imports ${specifier}`);
  }
});

/** The only circle: a tape's nodes hold tensors, and a tensor's runtime has a tape. */
const CIRCLE = 'tensor/tensor.ts → tensor/tape.ts';

test('no two modules import each other in a circle, types included, but the tensor and the tape', () => {
  const edges = new Map(
    sources.map(({ path, text }) => {
      const targets = imports(text).filter((s) => s.startsWith('.'));
      return [path, targets.map((s) => normalize(join(dirname(path), s)).replace(/\.js$/, '.ts'))];
    }),
  );
  const done = new Set<string>();
  const visit = (path: string, trail: string[]) => {
    assert.ok(!trail.includes(path), `circle: ${[...trail, path].join(' → ')}`);
    if (done.has(path)) return;
    for (const target of edges.get(path) ?? []) {
      if (`${path} → ${target}` !== CIRCLE) visit(target, [...trail, path]);
    }
    done.add(path);
  };
  for (const path of edges.keys()) visit(path, []);
});

test('every package in the lock file has a checksum', () => {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { integrity?: string }>;
  };
  const without = Object.keys(packages).filter((path) => path !== '' && !packages[path].integrity);
  assert.deepEqual(without, []);
  assert.ok(Object.keys(packages).length > 100);
});

/** The folders that a page's tree names: a line each, between `<!-- tree -->` and the end of its code block. */
function treeOf(page: string): string[] {
  const tree = /<!-- tree -->\s*```\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, page), 'utf8'));
  assert.ok(tree, `${page}: a tree between <!-- tree --> and its code block`);
  const stack: string[] = [];
  return tree[1]
    .trimEnd()
    .split('\n')
    .map((line) => {
      const match = /^( *)([\w.-]+)\//.exec(line);
      assert.ok(match, `${page}, tree: ${line}`);
      stack.length = match[1].length / 2;
      stack.push(match[2]);
      return stack.join('/');
    });
}

/** Folders below one, down to a depth, by their paths from the root. */
function foldersIn(folder: string, depth: number): string[] {
  const ignored = ['node_modules', 'dist', 'prebuilds', 'runs', '.git', '.ci'];
  return readdirSync(folder)
    .filter((name) => !ignored.includes(name) && statSync(join(folder, name)).isDirectory())
    .map((name) => relative(ROOT, join(folder, name)))
    .filter((path) => path !== 'data')
    .flatMap((path) => [path, ...(depth > 0 ? foldersIn(join(ROOT, path), depth - 1) : [])]);
}

test('the README’s folder tree names every folder and nothing else', () => {
  assert.deepEqual(treeOf('README.md').sort(), foldersIn(ROOT, 0).sort());
});

test('the tree of docs/architecture.md names every folder of src/ and nothing else', () => {
  assert.deepEqual(treeOf('docs/architecture.md').sort(), ['src', ...foldersIn(join(ROOT, 'src'), 1)].sort());
});
