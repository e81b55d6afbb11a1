/**
 * Generates the addon's boundary in C++ from the kernel table: the code that reads and checks the arguments of a call.
 * `scripts/build-native.mjs` writes it beside the objects; checks that a table cannot express are in native/checks.h.
 */
import type { OptionTypes } from '../kernel-table.js';
import { LENGTHS, OPTION_TYPES, SIGNATURES, typeOf } from '../compiled/header.js';
import { type ArrayField, leastOf, type Signature } from '../signature.js';

const product = (factors: readonly (string | number)[]): string =>
  factors.map((f) => (typeof f === 'number' ? f : `k.${f}`)).join(' * ') || '1';

const sum = (terms: readonly string[]): string =>
  terms.map((term) => (/^\d+$/.test(term) ? term : `k.${term}`)).join(' + ');

/** `bindings.generated.cc`. */
export function generateBindings(): string {
  const lines = [
    '// Made from src/backend/kernel-table.ts: edit that file.',
    '#include "bindings.h"',
    '#include "checks.h"',
    '',
    'namespace loopnn {',
    'namespace {',
    '',
  ];
  for (const signature of SIGNATURES) lines.push(...binding(signature), '');
  lines.push('}  // namespace', '', 'const Binding kKernelBindings[] = {');
  for (const { kernel, arrays, dims, options } of SIGNATURES) {
    const words = options.reduce((sum, [, kind]) => sum + (kind.startsWith('dropout') ? 4 : 1), 0);
    lines.push(`    {"${kernel}", ${arrays.length + dims.length + words}, ${kernel}},`);
  }
  lines.push('    {nullptr, 0, nullptr},', '};', '', '}  // namespace loopnn', '');
  return lines.join('\n');
}

/** A function that reads the arguments of one kernel: numbers first, then arrays, then the values of arrays. */
function binding({ kernel, arrays, dims, sizes, options }: Signature): string[] {
  const lines = [`napi_value ${kernel}(Call& call) {`, `  ${typeOf(kernel)} k{};`];
  let at = arrays.length;
  for (const name of dims) lines.push(`  k.${name} = call.dim(${at++}, "${name}", ${leastOf(name)});`);
  for (const [name, kind] of options) {
    if (kind.startsWith('dropout')) {
      lines.push('  Dropout mask;', `  k.${name} = readDropout(call, ${at}, mask, ${kind.endsWith('?')});`);
      at += 4;
    } else lines.push(`  k.${name} = ${readOption(kind, at++, name)};`);
  }
  const known = new Set<string | number>(dims);
  for (const [name, rule] of Object.entries(sizes)) {
    lines.push(`  ${LENGTHS.test(rule) ? 'const int64_t ' : 'k.'}${name} = ${size(rule, arrays)};`);
    known.add(name);
  }
  arrays.forEach((field, i) => {
    const unknown = field.shape.filter((dim) => typeof dim === 'string' && !known.has(dim));
    for (const dim of unknown) {
      const rest = field.shape.filter((d) => d !== dim);
      const found =
        rest.length > 0
          ? `call.rows(${i}, "${field.name}", ${lengths(rest, sizes)})`
          : `call.elements(${i}, "${field.name}")`;
      lines.push(`  k.${dim} = ${field.optional ? `call.isNull(${i}) ? 0 : ` : ''}${found};`);
      known.add(dim);
    }
    lines.push(`  k.${field.name} = ${readArray(field, i, sizes)};`);
  });
  lines.push('  call.noOverlap();');
  for (const { name, below, least, ascending, optional, shape } of arrays) {
    if (below === null) continue;
    const guard = optional
      ? `if (k.${name}) `
      : dims.includes(below) || below in sizes
        ? ''
        : `if (k.${below}) `;
    lines.push(`  ${guard}call.ids(k.${name}, ${product(shape)}, "${name}", ${least}, k.${below});`);
    if (ascending) lines.push(`  ${guard}call.ascending(k.${name}, ${product(shape)}, "${name}");`);
  }
  lines.push('  check(call, k);', `  kernels().${kernel}(k);`, '  return nullptr;', '}');
  return lines;
}

function readOption(kind: keyof OptionTypes, at: number, name: string): string {
  switch (kind) {
    case 'flag':
      return `call.flag(${at}, "${name}")`;
    case 'activation':
    case 'loopForm':
      return `static_cast<${OPTION_TYPES[kind]}>(call.choice(${at}, "${name}", ${OPTION_TYPES[kind]}::kCount))`;
    case 'count':
    case 'index':
      return `call.dim(${at}, "${name}", ${kind === 'count' ? 1 : 0})`;
    case 'float':
      return `call.anyNumber(${at}, "${name}")`;
    case 'number':
      return `call.number(${at}, "${name}", -kHuge, kHuge)`;
    default:
      return `call.number(${at}, "${name}", 0, ${kind === 'fraction' ? 1 : 'kHuge'})`;
  }
}

function size(rule: string, arrays: readonly ArrayField[]): string {
  if (rule === 'cachePageLength') return 'kernels().cachePageLength(k.KV, k.HS, k.bf16)';
  const [length, K, N] = rule.split(' ');
  if (N) return `kernels().${length}(k.${K}, k.${N}${length === 'packedLength' ? ', k.bf16' : ''})`;
  if (rule.includes('*')) return product(rule.split('*'));
  if (rule.includes('+')) return sum(rule.split('+'));
  const [field, otherwise] = rule.split('|');
  const i = arrays.findIndex(({ name }) => name === field);
  const elements = `call.elements(${i}, "${field}")`;
  return otherwise ? `call.isNull(${i}) ? k.${otherwise} : ${elements}` : elements;
}

/** A product of dimensions; lengths are separate variables. */
function lengths(shape: ArrayField['shape'], sizes: Signature['sizes']): string {
  return shape.map((dim) => dimension(dim, sizes)).join(' * ');
}

function dimension(dim: string | number, sizes: Signature['sizes']): string {
  return typeof dim === 'number' || LENGTHS.test(sizes[dim] ?? '') ? String(dim) : `k.${dim}`;
}

function readArray(field: ArrayField, i: number, sizes: Signature['sizes']): string {
  const read = `${field.role === 'in' ? 'in' : 'out'}${field.integers ? 'Ints' : ''}`;
  const shape = field.shape.map((dim) => dimension(dim, sizes)).join(', ');
  const array = `call.${read}(${i}, "${field.name}", {${shape}})`;
  return field.optional ? `call.isNull(${i}) ? nullptr : ${array}` : array;
}
