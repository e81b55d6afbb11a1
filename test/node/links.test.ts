/** Links in folders: those that stay inside are read, those that lead out are refused, or followed if asked for. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openSource } from '../../src/data/corpus/corpora.js';
import { folderFiles, openHuggingFace } from '../../src/data/hub/huggingface.js';
import { isWithin } from '../../src/node/links.js';
import { FIELD_DEFAULTS, noWarnings } from '../../src/data/corpus/source.js';
import { readSource } from '../data/helpers.js';

const MODEL = fileURLToPath(new URL('../../../test/fixtures/huggingface/gpt2', import.meta.url));
const FOLLOW = 'loopnn prepare and loopnn import follow it with --follow-links';

let home: string;
let folder: string;
beforeEach(() => {
  home = mkdtempSync(join(realpathSync(tmpdir()), 'loopnn-links-'));
  folder = join(home, 'corpus');
  write('corpus/a.txt', 'inside');
  write('outside/secret.txt', 'outside');
});
afterEach(() => rmSync(home, { recursive: true }));

function write(name: string, text: string): void {
  mkdirSync(dirname(join(home, name)), { recursive: true });
  writeFileSync(join(home, name), text);
}

const link = (target: string, name: string): void => symlinkSync(target, join(home, name));

const read = async (followLinks: boolean, path = folder): Promise<string[]> =>
  readSource(await openSource(path, undefined, { ...FIELD_DEFAULTS, followLinks }), noWarnings());

const out = (name: string, target: string) => ({
  name: 'DataError',
  message: `${join(home, name)}: is a link that must not lead out of the folder, got '${target}'; ${FOLLOW}`,
});

test('a link out of a named folder is refused, whether to a file, a folder or a device', async () => {
  mkdirSync(join(folder, 'sub'));
  for (const [target, lead] of [
    ['../outside/secret.txt', join(home, 'outside/secret.txt')],
    [join(home, 'outside/secret.txt'), join(home, 'outside/secret.txt')],
    ['../outside', join(home, 'outside')],
    ['..', home],
    ['/dev/null', '/dev/null'],
  ]) {
    for (const name of ['corpus/link', 'corpus/sub/link']) {
      link(name === 'corpus/link' || target.startsWith('/') ? target : join('..', target), name);
      await assert.rejects(read(false), out(name, lead));
      rmSync(join(home, name));
    }
  }
  // By way of a link that stays inside, and of a folder whose name begins as the named one's.
  link('../outside/secret.txt', 'corpus/.hidden');
  link('.hidden', 'corpus/b');
  await assert.rejects(read(false), out('corpus/b', join(home, 'outside/secret.txt')));
  rmSync(join(folder, 'b'));
  write('corpus-2/b.txt', 'beside');
  link('../corpus-2/b.txt', 'corpus/b');
  await assert.rejects(read(false), out('corpus/b', join(home, 'corpus-2/b.txt')));
});

test('links inside the folder lead to files that are read once, and a source that is a link itself is read', async () => {
  link('a.txt', 'corpus/b.txt');
  link(join(folder, 'a.txt'), 'corpus/c.txt');
  link('.', 'corpus/again');
  assert.deepEqual(await read(false), ['inside']);
  link('corpus', 'named');
  assert.deepEqual(await read(false, join(home, 'named')), ['inside']);
  link('outside/secret.txt', 'named.txt');
  assert.deepEqual(await read(false, join(home, 'named.txt')), ['outside']);
});

test('with --follow-links what they lead to is read too, each folder once', async () => {
  link('../outside/secret.txt', 'corpus/b');
  link('../outside', 'corpus/c');
  link('../outside', 'corpus/d');
  write('outside/sub/more.txt', 'more');
  link('../../corpus', 'outside/sub/back');
  link('..', 'outside/sub/up');
  assert.deepEqual(await read(true), ['inside', 'outside', 'outside', 'more']);
  assert.deepEqual(await read(true), ['inside', 'outside', 'outside', 'more'], 'and again');
});

test('a link that leads nowhere, or round in a circle, is named on one line', async () => {
  const hint = 'remove it, or put back what it leads to';
  const nowhere = (name: string, code: string, target: string) => ({
    name: 'DataError',
    message: `${join(home, name)}: is a link that must lead to a file or a folder (${code}), got '${target}'; ${hint}`,
  });
  for (const followLinks of [false, true]) {
    link('gone\n.txt', 'corpus/b');
    await assert.rejects(read(followLinks), nowhere('corpus/b', 'ENOENT', 'gone\\n.txt'));
    rmSync(join(folder, 'b'));
    link('b', 'corpus/b');
    await assert.rejects(read(followLinks), nowhere('corpus/b', 'ELOOP', 'b'));
    rmSync(join(folder, 'b'));
  }
});

async function openModel(path: string, followLinks?: boolean): Promise<void> {
  const { openWeights } = await openHuggingFace(await folderFiles(path, followLinks));
  await (await openWeights())[Symbol.asyncDispose]();
}

test('a model whose files are links out of its folder is refused, each of them, or followed', async () => {
  const model = join(home, 'model');
  for (const name of ['config.json', 'tokenizer.json', 'model.safetensors']) {
    cpSync(MODEL, model, { recursive: true });
    await openModel(model);
    renameSync(join(model, name), join(home, 'outside', name));
    link(join('../outside', name), join('model', name));
    await assert.rejects(openModel(model), out(`model/${name}`, join(home, 'outside', name)));
    await openModel(model, true);
    renameSync(join(home, 'outside', name), join(model, `real-${name}`));
    await assert.rejects(openModel(model), {
      message: new RegExp(
        `model/${name}: is a link that must lead to a file or a folder \\(ENOENT\\), got '`,
      ),
    });
    rmSync(join(model, name));
    link(`real-${name}`, join('model', name));
    await openModel(model);
    rmSync(model, { recursive: true });
  }
  cpSync(MODEL, join(home, 'real'), { recursive: true });
  link('real', 'model');
  await openModel(model);
});

/** A repository as the hub's clients keep it: the files of a snapshot are links to blobs. */
function cached(repository: string, source: string, names: readonly string[]): string {
  const snapshot = join(repository, 'snapshots', 'a'.repeat(40));
  mkdirSync(snapshot, { recursive: true });
  mkdirSync(join(repository, 'blobs'), { recursive: true });
  for (const [i, name] of names.entries()) {
    cpSync(join(source, name), join(repository, 'blobs', String(i)));
    symlinkSync(join('../../blobs', String(i)), join(snapshot, name));
  }
  return snapshot;
}

test("a snapshot in the hub's cache may link to its repository's blobs, and to nothing else", async () => {
  const repository = join(home, 'hub', 'models--owner--gpt');
  const snapshot = cached(repository, MODEL, readdirSync(MODEL));
  await openModel(snapshot);
  link(repository, 'linked');
  await openModel(join(home, 'linked', 'snapshots', 'a'.repeat(40)));
  rmSync(join(snapshot, 'config.json'));
  cpSync(join(MODEL, 'config.json'), join(home, 'hub', 'models--owner--other', 'blobs', '0'));
  symlinkSync('../../../models--owner--other/blobs/0', join(snapshot, 'config.json'));
  await assert.rejects(
    openModel(snapshot),
    out(
      join('hub/models--owner--gpt/snapshots', 'a'.repeat(40), 'config.json'),
      join(home, 'hub/models--owner--other/blobs/0'),
    ),
  );
  const texts = cached(join(home, 'hub', 'datasets--owner--set'), folder, ['a.txt']);
  assert.deepEqual(await read(false, texts), ['inside']);
  // The layout counts, not the name: a folder of texts that is called so is an ordinary one.
  const alike = cached(join(home, 'models-owner'), folder, ['a.txt']);
  await assert.rejects(read(false, alike), /is a link that must not lead out of the folder/);
});

test('a path is within a folder by its parts', () => {
  assert.ok(isWithin(join(home, 'a'), [home]) && isWithin(home, [home]) && isWithin(home, ['/']));
  assert.ok(!isWithin(`${home}-2`, [home]) && !isWithin(dirname(home), [home]) && !isWithin(home, []));
});
