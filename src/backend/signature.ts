/** A parsed entry of the kernel table: its fields in order, and their rules. It must not import an engine. */
import type { KernelSpec, OptionTypes } from './kernel-table.js';

/** One array among the arguments of a kernel. */
export interface ArrayField {
  readonly name: string;
  /** Whether the kernel writes it, and whether it also reads it. */
  readonly role: 'out' | 'inout' | 'in';
  readonly optional: boolean;
  readonly integers: boolean;
  /** A weight that an engine may keep packed. */
  readonly matrix: boolean;
  readonly shape: readonly (string | number)[];
  /** For whole numbers: the dimension that bounds them, their minimum, and whether they must ascend. */
  readonly below: string | null;
  readonly least: number;
  readonly ascending: boolean;
}

export interface Signature {
  readonly kernel: string;
  /** The arrays of `out`, `inout` and `in`, in this order. */
  readonly arrays: readonly ArrayField[];
  readonly dims: readonly string[];
  readonly sizes: Readonly<Record<string, string>>;
  readonly options: readonly (readonly [name: string, kind: keyof OptionTypes])[];
}

/** The minimum of a dimension: there may be no rows, and a cache's table has two numbers before its pages. */
export function leastOf(dim: string): number {
  if (dim === 'width') return 2;
  return ['R', 'B', 'S', 'first', 'past'].includes(dim) ? 0 : 1;
}

export function signatureOf(kernel: string, spec: KernelSpec): Signature {
  const arrays = (['out', 'inout', 'in'] as const).flatMap((role) =>
    Object.entries(spec[role] ?? {}).map(([field, text]) => arrayField(role, field, text)),
  );
  return {
    kernel,
    arrays,
    dims: spec.dims ?? [],
    sizes: spec.sizes ?? {},
    options: Object.entries(spec.options ?? {}),
  };
}

export function signaturesOf<Table extends Record<string, KernelSpec>>(
  table: Table,
): Record<keyof Table & string, Signature> {
  const entries = Object.entries(table).map(([kernel, spec]) => [kernel, signatureOf(kernel, spec)]);
  return Object.fromEntries(entries) as Record<keyof Table & string, Signature>;
}

function arrayField(role: ArrayField['role'], field: string, text: string): ArrayField {
  const [, kind, shape, ascending, least, below] =
    /^(?:(i32|matrix) )?(.*?)( ascending)?(?: from (-?\d+))?(?: < (\w+))?$/.exec(text)!;
  return {
    name: field.replace('?', ''),
    role,
    optional: field.endsWith('?'),
    integers: kind === 'i32',
    matrix: kind === 'matrix',
    shape: shape.split(' ').map((dim) => (/^\d+$/.test(dim) ? Number(dim) : dim)),
    below: below ?? null,
    least: Number(least ?? 0),
    ascending: ascending !== undefined,
  };
}
