/**
 * Generates the structs of arguments of the kernels in C++, and the table of functions that an instruction set fills
 * in; `native/kernels.h` declares the types that they use. The build scripts write them beside the objects.
 */
import type { OptionTypes } from '../kernel-table.js';
import { type Signature, signaturesOf } from '../signature.js';
import { COMPILED_KERNELS } from './kernels.js';

export const SIGNATURES: readonly Signature[] = Object.values(signaturesOf(COMPILED_KERNELS));
/** Lengths that depend on the instruction set, with their arguments. */
export const LENGTHS = /^(packedLength|packedInt8Length|cachePageLength)/;

/** The struct of a kernel's arguments. */
export const typeOf = (kernel: string): string => `${kernel[0].toUpperCase()}${kernel.slice(1)}Args`;

/** `kernels.generated.h`. */
export function generateHeader(): string {
  const lines = [
    '// Made from src/backend/kernel-table.ts: edit that file.',
    '#pragma once',
    '',
    'namespace loopnn {',
    '',
  ];
  for (const signature of SIGNATURES) {
    lines.push(`struct ${typeOf(signature.kernel)} {`);
    for (const field of signature.arrays) {
      const written = field.role === 'in' ? 'const ' : '';
      lines.push(`  ${written}${field.integers ? 'int32_t' : 'float'}* ${field.name};`);
    }
    const dims = dimensionsOf(signature);
    if (dims.length > 0) lines.push(`  int64_t ${dims.join(', ')};`);
    for (const [name, kind] of signature.options) lines.push(`  ${OPTION_TYPES[kind]} ${name};`);
    lines.push('};', '');
  }
  lines.push('/** Each kernel of the table. */', 'struct KernelTable {');
  for (const { kernel } of SIGNATURES) lines.push(`  void (*${kernel})(const ${typeOf(kernel)}&);`);
  lines.push('};', '', '}  // namespace loopnn', '');
  return lines.join('\n');
}

export const OPTION_TYPES: Readonly<Record<keyof OptionTypes, string>> = {
  flag: 'bool',
  float: 'double',
  number: 'double',
  nonNegative: 'double',
  fraction: 'double',
  count: 'int64_t',
  index: 'int64_t',
  activation: 'Activation',
  loopForm: 'LoopForm',
  dropout: 'const Dropout*',
  'dropout?': 'const Dropout*',
};

/** The dimensions of a kernel: the given ones, those that follow from them, and those of its arrays. */
export function dimensionsOf({ arrays, dims, sizes }: Signature): string[] {
  const derived = Object.keys(sizes).filter((name) => !LENGTHS.test(sizes[name]));
  const told = arrays.flatMap(({ shape }) =>
    shape.filter((d): d is string => typeof d === 'string' && !(d in sizes)),
  );
  return [...new Set([...dims, ...derived, ...told])];
}
