/**
 * Ten thousand calls of the addon with random damage to their arguments: each must either work or throw a
 * ShapeError or BackendError, and never touch memory around its arrays. Belongs to the long run.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mix32 } from '../../src/random.js';
import { BackendError, ShapeError } from '../../src/errors.js';
import { COMPILED_KERNELS, type CompiledKernel } from '../../src/backend/compiled/kernels.js';
import { type Signature, signaturesOf } from '../../src/backend/signature.js';
import { ACTIVATIONS } from '../../src/backend/options.js';
import { addon } from './helpers.js';

const CASES = 10_000;
const GUARD = 24; // untouchable elements on either side of each array
const CANARY = 0x7fc01234;

/** What the addon has besides kernels, with the arguments that it takes. */
const MEASURES: Record<string, () => unknown[]> = {
  packedLength: () => [pick(SIDES), pick(SIDES), random(2) === 1],
  packedInt8Length: () => [pick(SIDES), pick(SIDES)],
  cachePageLength: () => [pick(SIDES), pick(SIDES), random(2) === 1],
  peakProducts: () => [guarded(1, null), pick(SIDES), random(2) === 1],
};
const SIDES = [1, 2, 3, 7, 17, 33, 70];
const SIGNATURES = signaturesOf(COMPILED_KERNELS);

let counter = 0;
/** The next whole number in [0, end) of a fixed sequence. */
const random = (end: number) => mix32(mix32(counter++) ^ 0x5eed) % end;
const pick = <T>(from: readonly T[]): T => from[random(from.length)];

/** An array with guards around it. */
function guarded(length: number, limit: number | null, ascending = false): Float32Array | Int32Array {
  const words = new Uint32Array(length + 2 * GUARD).fill(CANARY);
  const data = (
    limit === null && !ascending ? new Float32Array(words.buffer) : new Int32Array(words.buffer)
  ).subarray(GUARD, GUARD + length);
  for (let i = 0; i < length; i++)
    data[i] = ascending ? i : limit === null ? random(2000) / 1000 - 1 : random(limit);
  return data;
}

function guardsIntact(value: unknown): boolean {
  if (!(value instanceof Float32Array || value instanceof Int32Array) || value.byteLength === 0) return true;
  if (value.byteOffset !== GUARD * 4) return true; // damaged on purpose
  const words = new Uint32Array(value.buffer);
  const after = GUARD + value.length;
  for (let i = 0; i < GUARD; i++) if (words[i] !== CANARY || words[after + i] !== CANARY) return false;
  return true;
}

/** Arguments of a kernel that its entry in the table allows. */
function validArguments({ arrays, dims, sizes, options }: Signature): unknown[] {
  const at: Record<string, number> = {};
  for (const name of [...'R C K N V n T S P pages'.split(' '), ...dims]) at[name] = pick(SIDES);
  Object.assign(at, { B: 1 + random(3), NH: 1 + random(3), HS: pick(SIDES), pages: 2, S: 1, width: 4 });
  at.KV = random(2) === 0 ? 1 : at.NH;
  if (random(6) === 0 && !arrays.some(({ name }) => name === 'rows')) at.R = 0;
  Object.assign(at, { G: random(2) === 0 ? 1 : at.C, first: 0, count: at.C });
  const bf16 = random(2) === 1;
  const given = new Set(arrays.filter(({ optional }) => !optional || random(3) > 0).map(({ name }) => name));
  for (const [name, rule] of Object.entries(sizes)) {
    const [length, K, N] = rule.split(' ');
    if (rule === 'cachePageLength') at[name] = addon.cachePageLength(at.KV, at.HS, bf16);
    else if (length === 'packedLength') at[name] = addon.packedLength(at[K], at[N], bf16);
    else if (length === 'packedInt8Length') at[name] = addon.packedInt8Length(at[K], at[N]);
    else if (rule.includes('*')) at[name] = rule.split('*').reduce((product, dim) => product * at[dim], 1);
    else if (rule.includes('+'))
      at[name] = rule.split('+').reduce((sum, term) => sum + (at[term] ?? Number(term)), 0);
    else at[name] = given.has('rows') ? 1 + random(at.R) : at.R;
  }
  const values = arrays.map(({ name, shape, integers, below, ascending }) => {
    if (!given.has(name)) return null;
    if (name === 'table') return Object.assign(guarded(4, 2), [at.R, random(180), random(2), random(2)]);
    const length = shape.reduce<number>(
      (product, dim) => product * (typeof dim === 'number' ? dim : at[dim]),
      1,
    );
    return guarded(length, integers ? (below === null ? 2 : at[below]) : null, ascending);
  });
  return [
    ...values,
    ...dims.map((name) => at[name]),
    ...options.flatMap(([name, kind]): unknown[] => {
      if (name === 'bf16') return [bf16];
      if (kind === 'flag') return [random(2) === 1];
      if (kind === 'activation') return [random(ACTIVATIONS.length)];
      if (kind === 'loopForm') return [random(2)];
      if (kind.startsWith('dropout')) return [0.25, random(2 ** 31), random(2 ** 31), random(1000)];
      return [kind === 'count' ? 3 : 0.01];
    }),
  ];
}

/** Changes one argument into something that is probably wrong. */
function damage(args: unknown[]): void {
  const at = random(args.length);
  const value = args[at];
  const detached = new Float32Array(8);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const anything: unknown[] = [
    null,
    undefined,
    Number.NaN,
    -1,
    0,
    1.5,
    2 ** 31,
    2 ** 53,
    -(2 ** 63),
    1e308,
    Number.POSITIVE_INFINITY,
    'text',
    Symbol('s'),
    10n,
    true,
    {},
    [],
    () => 0,
    new Float64Array(5),
    new Uint8Array(64),
    new BigInt64Array(3),
    new DataView(new ArrayBuffer(8)),
    new Float32Array(new SharedArrayBuffer(32)),
    new Float32Array(0),
    new Float32Array(3),
    Int32Array.of(-5, 1 << 30, -(2 ** 31)),
    detached,
    new Proxy({}, {}),
    pick(args), // possibly the same array twice
  ];
  switch (random(4)) {
    case 0:
      args[at] = pick(anything);
      return;
    case 1:
      if ((value instanceof Float32Array || value instanceof Int32Array) && value.length > 0) {
        args[at] = value.subarray(random(3), Math.max(0, value.length - random(3)));
      } else if (typeof value === 'number') {
        args[at] = value + pick([-1, 1, 0.5, 2 ** 20, 2 ** 30, 2 ** 32]);
      }
      return;
    case 2:
      if (value instanceof Int32Array && value.length > 0) {
        value[random(value.length)] = pick([-2, 1000, 2 ** 31 - 1, -(2 ** 31)]);
      } else {
        args[at] = pick(anything);
      }
      return;
    default:
      if (random(2) === 0) args.push(pick(anything));
      else args.length = random(args.length);
  }
}

test(`${CASES} calls with random damage either work or are refused`, () => {
  let refused = 0;
  let worked = 0;
  for (let n = 0; n < CASES; n++) {
    const name = pick([...Object.keys(SIGNATURES), ...Object.keys(MEASURES)]);
    const args = MEASURES[name]?.() ?? validArguments(SIGNATURES[name as CompiledKernel]);
    const original = [...args];
    const wounds = random(4);
    for (let i = 0; i < wounds; i++) if (args.length > 0) damage(args);
    if (n % 500 === 0) addon.setThreads(1 + random(3));
    try {
      (addon as unknown as Record<string, (...args: unknown[]) => void>)[name](...args);
      worked++;
    } catch (error) {
      assert.ok(wounds > 0, `case ${n}: ${name} refused valid arguments: ${error}`);
      assert.ok(error instanceof ShapeError || error instanceof BackendError, `case ${n}: ${name}: ${error}`);
      assert.ok(error.message.startsWith(`${name}: `), error.message);
      refused++;
    }
    assert.ok(original.every(guardsIntact), `case ${n}: ${name} wrote outside its arrays`);
  }
  assert.ok(refused > CASES / 4 && worked > CASES / 4, `${refused} refused, ${worked} worked`);
});
