/**
 * Ten thousand calls of the addon with random damage to their arguments: each must either work or throw a
 * ShapeError or NativeError, and never touch memory around its arrays. Belongs to the long run.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mix32 } from '../../src/backend/host.js';
import { NativeError, ShapeError } from '../../src/errors.js';
import { addon } from './helpers.js';

const CASES = 10_000;
const GUARD = 24; // untouchable elements on either side of each array
const CANARY = 0x7fc01234;

/**
 * Arguments of each kernel: `f` floats and `i` ids below the limit after the colon, as lengths in products of
 * dimensions, `p` a packed weight, `q` one in int8, `c` two pages of a cache and `table` a sequence of R rows in them,
 * `r` ascending rows; a single letter is a dimension; `drop`, `flag`, `precision` (one for the whole call)
 * and numbers stand for themselves.
 */
const KERNELS: Record<string, string> = {
  fill: 'f(n) 1.5',
  copy: 'f(n) f(n)',
  add: 'f(n) f(n) f(n)',
  activationForward: 'f(n) f(n) activation',
  activationBackward: 'f(n) f(n) f(n) activation flag',
  selectRows: 'f(R*C) i(R):n f(R*C)? f(R*C)? R C flag',
  scaleRowsForward: 'f(R*C) f(R*C) f(R) R C flag',
  scaleRowsBackward: 'f(R*C)? f(R)? f(R*C) f(R*C) f(R) R C flag',
  gatherRows: 'f(R*C) f(R*C) r(R) R R C',
  copyColumns: 'f(R*C) f(R*C) R C 0 C flag',
  scatterRows: 'f(R*C) f(R*C) r(R) R R C',
  rowChange: 'f(R) f(R*C) f(R*C) f(R*C)? R C',
  rowEntropy: 'f(R) f(R*V) R V',
  rowDivergence: 'f(R) f(R*V) f(R*V) r(R) R R V',
  dropout: 'f(R*C) f(R*C) R C T drop flag',
  gatedResidualForward: 'f(R*C) f(R*C) f(R*C) f(C) R C C flag',
  gatedResidualBackward: 'f(R*C) f(R*C) f(C) f(R*C) f(R*C) f(R*C) f(C) R C C flag flag flag',
  embeddingForward: 'f(R*C) i(R):V i(R):T f(V*C) f(T*C)? R C',
  embeddingBackward: 'f(V*C) f(T*C)? f(R*C) i(R):V i(R):T R C',
  layernormForward: 'f(R*C) f(R) f(R) f(R*C) f(C) f(C)? R C',
  layernormBackward: 'f(R*C) f(C) f(C)? f(R*C) f(R*C) f(C) f(R) f(R) R C flag',
  packedLength: 'K N flag',
  packWeight: 'p(K,N) f(K*N) K N flag precision',
  packedInt8Length: 'K N',
  packWeightInt8: 'q(K,N) f(K*N) K N flag',
  linearInt8: 'f(R*N) f(R*K) q(K,N) f(N)? R K N',
  linearForward: 'f(R*N) f(R*K) p(K,N) f(N)? R K N precision',
  linearBackwardInput: 'f(R*K) f(R*N) p(N,K) R K N flag precision',
  linearBackwardWeight: 'f(K*N) f(N)? f(R*N) f(R*K) R K N precision',
  attentionForward: 'f(B*T*H*S) f(B*H*T) f(3*B*T*H*S) null 0 B T H S drop precision',
  attentionBackward: 'f(3*B*T*H*S) f(B*T*H*S) f(B*T*H*S) f(B*H*T) f(3*B*T*H*S) B T H S drop flag precision',
  cachePageLength: 'H S flag',
  cachedAttention: 'f(R*H*S) c(H,S) f(3*R*H*S) table null 0 R 1 4 H S precision',
  logits: 'f(R*V) f(R*C) p(C,V) R C V precision',
  headForward: 'f(R) i(R):V? f(R)? f(R*C) p(C,V) i(R):V R C V precision',
  headForwardBackward: 'f(R) i(R):V? f(R)? f(R*C) f(V*C) f(R*C) p(C,V) p(V,C) i(R):V f(R) R C V precision',
  headInt8: 'f(R) i(R):V? f(R)? f(R*C) q(C,V) i(R):V R C V',
  adamw: 'f(n) f(n) f(n) f(n) 0.01 0.9 0.99 1e-8 0.1 3 1',
  sumSquares: 'f(1) f(n)',
  peakProducts: 'f(1) n flag',
  peakRead: 'f(1) f(n)',
};

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

function validArguments(spec: string): unknown[] {
  const side = [1, 2, 3, 7, 17, 33, 70];
  const dims: Record<string, number> = {};
  for (const name of 'BTHSRCKNVn') dims[name] = pick(side);
  dims.B = 1 + random(3);
  dims.H = 1 + random(3);
  const bf16 = random(2) === 1;
  return spec.split(' ').flatMap((word): unknown[] => {
    if (word === 'flag') return [random(2) === 1];
    if (word === 'activation') return [random(4)];
    if (word === 'null') return [null];
    if (word === 'precision') return [bf16];
    if (word === 'drop') return [0.25, random(2 ** 31), random(2 ** 31), random(1000)];
    if (word in dims) return [dims[word]];
    const packed = /^p\((.),(.)\)$/.exec(word);
    if (packed) return [guarded(addon.packedLength(dims[packed[1]], dims[packed[2]], bf16), null)];
    const int8 = /^q\((.),(.)\)$/.exec(word);
    if (int8) return [guarded(addon.packedInt8Length(dims[int8[1]], dims[int8[2]]), null)];
    if (word === 'c(H,S)') return [guarded(2 * addon.cachePageLength(dims.H, dims.S, bf16), null)];
    if (word === 'table') {
      const table = guarded(4, 2);
      table.set([dims.R, random(180), random(2), random(2)]);
      return [table];
    }
    const rows = /^r\((.)\)$/.exec(word);
    if (rows) return [guarded(dims[rows[1]], null, true)];
    const array = /^([fi])\((.*)\)(?::(\w))?(\?)?$/.exec(word);
    if (!array) return [Number(word)];
    if (array[4] && random(3) === 0) return [null];
    const factors = array[2].split('*').map((f) => dims[f] ?? Number(f));
    return [
      guarded(
        factors.reduce((a, b) => a * b),
        array[1] === 'i' ? dims[array[3]] : null,
      ),
    ];
  });
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
    const [name, spec] = pick(Object.entries(KERNELS));
    const args = validArguments(spec);
    const original = [...args];
    const wounds = random(4);
    for (let i = 0; i < wounds; i++) if (args.length > 0) damage(args);
    if (n % 500 === 0) addon.setThreads(1 + random(3));
    try {
      (addon as unknown as Record<string, (...args: unknown[]) => void>)[name](...args);
      worked++;
    } catch (error) {
      assert.ok(wounds > 0, `case ${n}: ${name} refused valid arguments: ${error}`);
      assert.ok(error instanceof ShapeError || error instanceof NativeError, `case ${n}: ${name}: ${error}`);
      assert.ok(error.message.startsWith(`${name}: `), error.message);
      refused++;
    }
    assert.ok(original.every(guardsIntact), `case ${n}: ${name} wrote outside its arrays`);
  }
  assert.ok(refused > CASES / 4 && worked > CASES / 4, `${refused} refused, ${worked} worked`);
});
