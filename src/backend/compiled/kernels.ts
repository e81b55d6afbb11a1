/**
 * The kernels in C++: those of the table, over packed weights, and a few others. The structs of their arguments
 * (header.ts) and the bindings of the addon and of the WebAssembly module are made from these entries.
 */
import { KERNELS, type KernelSpec } from '../kernel-table.js';

/** A weight as a product reads it: B (rows, columns), which is the storage's matrix or its transpose. */
export interface PackedField {
  readonly name: string;
  readonly rows: string;
  readonly columns: string;
  readonly transposed: boolean;
}

const FORWARD = { name: 'packed', rows: 'K', columns: 'N', transposed: false };
const HEAD = { name: 'packed', rows: 'C', columns: 'V', transposed: true };

/** What replaces each kernel's `weight`. */
export const PACKED: Readonly<Record<string, readonly PackedField[]>> = {
  linearForward: [FORWARD],
  linearBackwardInput: [{ name: 'packed', rows: 'N', columns: 'K', transposed: true }],
  logits: [HEAD],
  headForward: [HEAD],
  headForwardBackward: [HEAD, { name: 'packedTransposed', rows: 'V', columns: 'C', transposed: false }],
};

/** Kernels that also exist with weights in int8, under their name with `Int8`; see native/int8.h. */
export const WITH_INT8 = ['linearForward', 'logits', 'headForward'] as const;
export type WithInt8 = (typeof WITH_INT8)[number];

const OWN = {
  fill: { out: { dst: 'n' }, in: {}, options: { value: 'float' } },
  copy: { out: { dst: 'n' }, in: { src: 'n' } },
  packWeight: {
    out: { packed: 'packed' },
    in: { weight: 'K N' },
    dims: ['K', 'N'],
    sizes: { packed: 'packedLength K N' },
    options: { transposed: 'flag', bf16: 'flag' },
  },
  packWeightInt8: {
    out: { packed: 'packed' },
    in: { weight: 'K N' },
    dims: ['K', 'N'],
    sizes: { packed: 'packedInt8Length K N' },
    options: { transposed: 'flag' },
  },
  peakRead: { out: { out: '1' }, in: { inp: 'n' } },
} as const satisfies Record<string, KernelSpec>;

export type CompiledKernel = keyof typeof KERNELS | `${WithInt8}Int8` | keyof typeof OWN;

/** A kernel with its weight packed in a format; bfloat16 is an option of the floats' format. */
function overPacked(kernel: string, spec: KernelSpec, length: string): KernelSpec {
  const packed = PACKED[kernel] ?? [];
  const inputs = Object.entries(spec.in).flatMap(([name, shape]): [string, string][] =>
    name === 'weight' && packed.length > 0
      ? packed.map((field) => [field.name, field.name])
      : [[name, shape]],
  );
  const lengths = packed.map(({ name, rows, columns }) => [name, `${length} ${rows} ${columns}`]);
  const bf16 = spec.products && length === 'packedLength' ? { bf16: 'flag' as const } : {};
  return {
    ...spec,
    in: Object.fromEntries(inputs),
    sizes: { ...spec.sizes, ...Object.fromEntries(lengths) },
    options: { ...spec.options, ...bf16 },
  };
}

export const COMPILED_KERNELS = Object.fromEntries<KernelSpec>([
  ...Object.entries<KernelSpec>(KERNELS).map(
    ([name, spec]) => [name, overPacked(name, spec, 'packedLength')] as const,
  ),
  ...WITH_INT8.map((name) => [`${name}Int8`, overPacked(name, KERNELS[name], 'packedInt8Length')] as const),
  ...Object.entries<KernelSpec>(OWN),
]) as Record<CompiledKernel, KernelSpec>;
