/** Every writer that is not a run's, for tests that keep it from writing; a run's own are `crash.full.ts`'s. */
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { HubServer } from '../data/hub-server.js';
import { loopnn, SMALL, temporaryFolder, trainSmall } from './helpers.js';

const fixture = (path: string) => fileURLToPath(new URL(`../../../test/${path}`, import.meta.url));

/** A command that writes to `place`, which is a file or folder to make. */
export interface Writer {
  readonly args: (place: string) => readonly string[];
  readonly env?: (place: string) => Record<string, string>;
  /** KiB of a disk on which it must fail, and of one that must do. */
  readonly tooSmall: number;
  readonly enough: number | null;
  /** Whether unfinished work stays, to be resumed. */
  readonly goesOn?: true;
}

/** The writers by name, with what they need in a folder that goes after the tests. */
export async function writers(): Promise<Record<string, Writer>> {
  const folder = temporaryFolder();
  const { data, run } = await trainSmall(folder, 'run', '--max-steps', '4');
  const gpt2 = join(folder, 'gpt2');
  await loopnn([
    'train',
    ...SMALL,
    '--depth',
    'gpt2',
    '--n-loop',
    '1',
    '--max-steps',
    '4',
    '--data',
    data,
    '--out',
    gpt2,
  ]);
  const parquet = readFileSync(fixture('data/fixtures/snappy.parquet'));
  const packed = join(folder, 'packed.parquet.gz');
  writeFileSync(packed, gzipSync(parquet));
  const dataset = await new HubServer('owner/set', [
    { path: 'data/train-0.parquet', bytes: parquet },
  ]).start();
  const model = await new HubServer(
    'owner/model',
    ['config.json', 'model.safetensors'].map((path) => ({
      path,
      bytes: readFileSync(fixture(`fixtures/huggingface/bare/${path}`)),
    })),
    'main',
    'model',
  ).start();
  after(() => Promise.all([dataset.stop(), model.stop()]));
  const corpus = join(folder, 'corpus');
  let spare = 0;
  const aside = () => join(folder, `aside-${spare++}`);
  const hub = (server: HubServer) => (place: string) => ({ HF_ENDPOINT: server.url, HF_HUB_CACHE: place });
  const small = { tooSmall: 4, enough: 8192 };
  return {
    'prepare: shards': { args: (out) => ['prepare', corpus, '--out', out, '--tokenizer', 'bytes'], ...small },
    'prepare: a trained tokenizer': {
      args: (out) => ['prepare', corpus, '--out', out, '--tokenizer', 'bpe:300'],
      ...small,
    },
    'prepare: the cache of the hub': {
      args: () => ['prepare', 'hf:owner/set', '--out', aside(), '--tokenizer', 'bytes'],
      env: hub(dataset),
      ...small,
    },
    'prepare: a dataset of the hub': {
      args: (out) => ['prepare', 'hf:owner/set', '--out', out, '--tokenizer', 'bytes'],
      env: () => hub(dataset)(join(folder, 'cache')),
      goesOn: true,
      ...small,
    },
    'prepare: an unpacked file': {
      args: () => ['prepare', packed, '--out', aside(), '--tokenizer', 'bytes'],
      env: (place) => ({ TMPDIR: dirname(place) }),
      ...small,
    },
    train: {
      args: (out) => ['train', ...SMALL, '--data', data, '--out', out, '--max-steps', '4', '--tensorboard'],
      ...small,
    },
    'import: the run': {
      args: (out) => ['import', fixture('fixtures/huggingface/gpt2'), '--out', out],
      ...small,
    },
    'import: the cache of the hub': {
      args: () => ['import', 'hf:owner/model', '--out', aside()],
      env: hub(model),
      ...small,
    },
    'export: Hugging Face': { args: (out) => ['export', '--model', run, '--out', out], ...small },
    'export: ONNX': { args: (out) => ['export', '--model', run, '--format', 'onnx', '--out', out], ...small },
    retrofit: { args: (out) => ['retrofit', '--model', gpt2, '--loops', '2', '--out', out], ...small },
    inspect: {
      args: (file) => ['inspect', '--model', run, '--prompt', 'the same words', '--html', file],
      ...small,
    },
    exits: {
      args: (file) => [
        ...['exits', '--model', run, '--data', data, '--criterion', 'change', '--thresholds', '0.5,1'],
        ...['--max-tokens', '64', '--out', file],
      ],
      ...small,
    },
    // Trained to its end it takes minutes; the files of a comparison are written as a run's are.
    compare: { args: (out) => ['compare', '--suite', 'demo', '--out', out], tooSmall: 4, enough: null },
  };
}
