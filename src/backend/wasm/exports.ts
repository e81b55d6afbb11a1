/**
 * Generates the module's boundary: a function for each kernel in C++, which takes its arrays as addresses, then its
 * dimensions and options as numbers. `scripts/build-wasm.mjs` writes it to `exports.generated.cc`. The caller must
 * check the arguments.
 */
import { mix32 } from '../../random.js';
import { dimensionsOf, OPTION_TYPES, SIGNATURES, typeOf } from '../compiled/header.js';
import type { Signature } from '../signature.js';

/** A hash of every function's name and arguments: a module with a different hash has a different version. */
export function boundary(): number {
  const text = SIGNATURES.map((signature) => `${signature.kernel}(${parametersOf(signature)})`).join('\n');
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = mix32(hash ^ text.charCodeAt(i));
  return hash;
}

const isDropout = (kind: string): boolean => kind.startsWith('dropout');

function parametersOf(signature: Signature): string[] {
  const options = signature.options.flatMap(([name, kind]) =>
    isDropout(kind)
      ? ['double p', 'uint32_t key0', 'uint32_t key1', 'uint32_t firstSample']
      : [`${OPTION_TYPES[kind] === 'double' ? 'double' : 'int32_t'} ${name}`],
  );
  return [
    ...signature.arrays.map(
      ({ role, integers, name }) =>
        `${role === 'in' ? 'const ' : ''}${integers ? 'int32_t' : 'float'}* ${name}`,
    ),
    ...dimensionsOf(signature).map((name) => `int32_t ${name}`),
    ...options,
  ];
}

/** `exports.generated.cc`. */
export function generateExports(): string {
  const lines = [
    '// Made from src/backend/kernel-table.ts: edit that file.',
    '#include "dropout.h"',
    '#include "host.h"',
    '#include "kernels.h"',
    '',
    'namespace loopnn {',
    'namespace LOOPNN_ISA {',
    'const Kernels& kernels();',
    '}',
    '',
    `LOOPNN_EXPORT(boundary) uint32_t boundary() { return ${boundary()}u; }`,
    '',
  ];
  for (const signature of SIGNATURES) {
    const { kernel, arrays, options } = signature;
    const fields = [...arrays.map(({ name }) => name), ...dimensionsOf(signature)].map(
      (name) => `k.${name} = ${name};`,
    );
    const dropout = options.some(([, kind]) => isDropout(kind));
    lines.push(
      `LOOPNN_EXPORT(${kernel}) void call_${kernel}(${parametersOf(signature).join(', ')}) {`,
      `  ${typeOf(kernel)} k{};`,
      ...(dropout ? ['  const Dropout mask = dropoutOf(p, key0, key1, firstSample);'] : []),
      ...fields.map((field) => `  ${field}`),
      ...options.map(([name, kind]) =>
        isDropout(kind)
          ? `  k.${name} = p > 0 ? &mask : nullptr;`
          : `  k.${name} = static_cast<${OPTION_TYPES[kind]}>(${name});`,
      ),
      `  LOOPNN_ISA::kernels().${kernel}(k);`,
      '}',
      '',
    );
  }
  lines.push('}  // namespace loopnn', '');
  return lines.join('\n');
}
