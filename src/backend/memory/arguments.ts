/**
 * Checks the arguments of a kernel against its entry in the table: lengths, element types, dimensions and options;
 * overlap and values, if the engine's memory is the host's. Rules of single kernels belong to the table.
 */
import { ShapeError } from '../../errors.js';
import { type HostArray, PAGE_POSITIONS, type Storage } from '../backend.js';
import type { KernelSpec, Methods } from '../kernel-table.js';
import { ACTIVATIONS, type Dropout, LOOP_FORMS } from '../options.js';
import { type ArrayField, leastOf, type Signature, signaturesOf } from '../signature.js';
import { HostStorage } from './storage.js';

export type Floats = Float32Array | Float64Array;
/** Kernels over arrays of the host. */
export type HostKernels<Table extends Record<string, KernelSpec>> = Methods<Table, Floats, Int32Array>;

type Values = Readonly<Record<string, unknown>>;
type Sizes = Record<string, number | undefined>;
/** Elements of a page of a key/value cache. */
type PageLength = (KV: number, HS: number) => number;

/** The kernels of a table over storages, made from kernels over arrays, with checked arguments. */
export function overStorages<Table extends Record<string, KernelSpec>>(
  table: Table,
  kernels: HostKernels<Table>,
  pageLength: PageLength,
): Methods<Table, Storage, Storage> {
  const methods = Object.entries(signaturesOf(table)).map(([name, signature]) => {
    const kernel = kernels[name] as (args: Values) => void;
    return [name, (args: Values) => kernel(arraysOf(signature, args, pageLength))];
  });
  return Object.fromEntries(methods) as Methods<Table, Storage, Storage>;
}

/** Throws ShapeError unless every array has its length, and every dimension and option a permitted value. */
export function checkShapes(signature: Signature, args: Values, pageLength: PageLength): Sizes {
  const { kernel, arrays, dims, options } = signature;
  const sizes: Sizes = {};
  for (const name of dims) {
    sizes[name] = args[name] as number;
    requireWhole(kernel, name, sizes[name], leastOf(name));
  }
  for (const [name, kind] of options) requireOption(kernel, name, kind, args[name]);
  for (const [name, rule] of Object.entries(signature.sizes)) {
    sizes[name] = sizeBy(rule, sizes, args, pageLength);
  }
  for (const field of arrays) {
    const storage = args[field.name] as Storage | null;
    if (storage === null && field.optional) continue;
    const { dtype, length } = storage ?? { dtype: 'null', length: 0 };
    if ((dtype === 'i32') !== field.integers || dtype === 'null') {
      const elements = field.integers ? 'i32' : 'floating-point';
      throw new ShapeError(kernel, `argument '${field.name}' must hold ${elements} elements`, dtype);
    }
    requireLength(kernel, field, length, sizes);
  }
  const { G, C, first = 0, count = 0, NH, KV } = sizes;
  if (G !== undefined && G !== 1 && G !== C) {
    throw new ShapeError(kernel, `argument 'G' must be 1 or ${C}`, G);
  }
  if (C !== undefined && first + count > C) {
    throw new ShapeError(kernel, `arguments 'first' + 'count' must be at most C`, first + count);
  }
  if (NH !== undefined && KV !== undefined && NH % KV !== 0) {
    throw new ShapeError(kernel, `argument 'KV' must divide NH = ${NH}`, KV);
  }
  return sizes;
}

/** The same arguments with the host's arrays in place of storages, with checked values. */
function arraysOf(signature: Signature, args: Values, pageLength: PageLength): Values {
  return { ...args, ...checkArguments(signature, args, pageLength).arrays };
}

/** Checks shapes, overlap and values; the sizes of all dimensions and the arrays that are not null. */
export function checkArguments(
  signature: Signature,
  args: Values,
  pageLength: PageLength,
): { readonly sizes: Sizes; readonly arrays: Readonly<Record<string, HostArray>> } {
  const { kernel, arrays } = signature;
  const sizes = checkShapes(signature, args, pageLength);
  const found: Record<string, HostArray> = {};
  for (const { name } of arrays) {
    const storage = args[name];
    if (storage === null) continue;
    if (!(storage instanceof HostStorage))
      throw new ShapeError(kernel, 'must be given storage of this backend');
    found[name] = storage.data;
  }
  for (const field of arrays) {
    const data = found[field.name];
    if (!data) continue;
    if (field.role !== 'in') requireApart(kernel, field.name, found);
    if (data instanceof Int32Array) requireValues(kernel, field, data, sizes);
  }
  if (kernel === 'cachedAttention') requireTable(kernel, found.table as Int32Array, sizes);
  return { sizes, arrays: found };
}

/**
 * A derived size: a product, a sum, or the elements of a field; for an optional field, a dimension if the field is
 * absent.
 */
function sizeBy(rule: string, sizes: Sizes, args: Values, pageLength: PageLength): number {
  if (rule === 'cachePageLength') return pageLength(sizes.KV!, sizes.HS!);
  if (rule.includes('+'))
    return rule.split('+').reduce((sum, term) => sum + (sizes[term] ?? Number(term)), 0);
  const [a, b] = rule.split('*');
  if (b) return sizes[a]! * sizes[b]!;
  const [field, otherwise] = rule.split('|');
  const storage = args[field] as Storage | null;
  return storage ? storage.length : sizes[otherwise]!;
}

/** Throws unless the array has the length of its shape, in which one unknown dimension is then set. */
function requireLength(kernel: string, { name, shape }: ArrayField, length: number, sizes: Sizes): void {
  let known = 1;
  let unknown: string | null = null;
  for (const dim of shape) {
    const n = typeof dim === 'number' ? dim : sizes[dim];
    if (n === undefined) unknown = dim as string;
    else known *= n;
  }
  if (unknown === null) {
    if (length !== known)
      throw new ShapeError(kernel, `argument '${name}' must hold ${known} elements`, length);
    return;
  }
  if (shape.length > 1 && (length < known || length % known !== 0)) {
    throw new ShapeError(kernel, `argument '${name}' must hold whole rows of ${known} elements`, length);
  }
  sizes[unknown] = length / known;
}

function requireWhole(kernel: string, name: string, n: unknown, least: number): void {
  if (Number.isInteger(n) && (n as number) >= least && (n as number) < 2 ** 31) return;
  throw new ShapeError(kernel, `argument '${name}' must be a whole number from ${least} to 2147483647`, n);
}

function requireOption(kernel: string, name: string, kind: string, value: unknown): void {
  const where = `argument '${name}' must`;
  if (kind === 'dropout?' && value === null) return;
  if (kind === 'dropout' || kind === 'dropout?') {
    const { p } = value as Dropout;
    if (!(p > 0 && p < 1)) throw new ShapeError(kernel, "argument 'p' must lie between 0 and 1", p);
    return;
  }
  if (kind === 'count' || kind === 'index') {
    requireWhole(kernel, name, value, kind === 'count' ? 1 : 0);
    return;
  }
  const choices: Partial<Record<string, readonly unknown[]>> = {
    flag: [true, false],
    activation: ACTIVATIONS,
    loopForm: LOOP_FORMS,
  };
  const among = choices[kind];
  if (among) {
    if (!among.includes(value)) throw new ShapeError(kernel, `${where} be ${among.join(' or ')}`, value);
    return;
  }
  if (typeof value !== 'number') throw new ShapeError(kernel, `${where} be a number`, value);
  if (kind === 'float') return;
  if (!Number.isFinite(value)) throw new ShapeError(kernel, `${where} be a finite number`, value);
  if (kind !== 'number' && value < 0) throw new ShapeError(kernel, `${where} be at least 0`, value);
  if (kind === 'fraction' && value > 1) throw new ShapeError(kernel, `${where} be at most 1`, value);
}

/** Throws if a written array shares memory with another array. */
function requireApart(kernel: string, name: string, arrays: Readonly<Record<string, HostArray>>): void {
  const a = arrays[name];
  const end = a.byteOffset + a.byteLength;
  for (const [other, b] of Object.entries(arrays)) {
    if (other === name || b.buffer !== a.buffer) continue;
    if (b.byteOffset >= end || a.byteOffset >= b.byteOffset + b.byteLength) continue;
    throw new ShapeError(kernel, `argument '${name}' must not overlap argument '${other}'`);
  }
}

function requireValues(
  kernel: string,
  { name, below, least, ascending }: ArrayField,
  values: Int32Array,
  sizes: Sizes,
): void {
  const end = below === null ? undefined : sizes[below];
  for (let i = 0; end !== undefined && i < values.length; i++) {
    if (values[i] >= least && values[i] < end) continue;
    const rule = `argument '${name}' must hold ids from ${least} to ${end - 1} (element ${i})`;
    throw new ShapeError(kernel, rule, values[i]);
  }
  const wrong = ascending ? values.findIndex((row, i) => i > 0 && row <= values[i - 1]) : -1;
  if (wrong > 0) throw new ShapeError(kernel, `argument '${name}' must ascend`, values[wrong]);
}

/** Throws unless a table gives each sequence its rows, R in all, and pages for its positions. */
function requireTable(kernel: string, table: Int32Array, { R, S = 0, width = 2, pages = 0 }: Sizes): void {
  let rows = 0;
  for (let s = 0; s < S; s++) {
    const [count, past, ...listed] = table.subarray(s * width, (s + 1) * width);
    const used = Math.ceil((count + past) / PAGE_POSITIONS);
    if (count < 0 || past < 0 || used > listed.length) {
      const rule = "argument 'table' must give each sequence whole numbers of positions, and pages for them";
      throw new ShapeError(kernel, rule, s);
    }
    const wrong = listed.slice(0, used).find((page) => page < 0 || page >= pages);
    if (wrong !== undefined) {
      throw new ShapeError(kernel, `argument 'table' must hold ids from 0 to ${pages - 1}`, wrong);
    }
    rows += count;
  }
  if (rows !== R)
    throw new ShapeError(kernel, `argument 'table' must give the sequences ${R} rows in all`, rows);
}
