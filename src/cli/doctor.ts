/** `loopnn doctor`: what this machine offers, which backend runs, and, where the addon does not, why. */
import type { Command } from 'commander';
import { createBackend } from '../backend/create.js';
import { nativeInfo } from '../backend/native.js';
import { machine } from '../data/machine.js';
import { LoopnnError } from '../errors.js';
import { printResult } from './output.js';

export function doctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('this machine, its instruction sets and threads, and the backend that runs')
    .option('--json', 'print one JSON document')
    .action(({ json }: { json?: true }) => {
      const host = machine();
      const native = addon();
      const warnings: string[] = [];
      const backend = createBackend({ name: 'auto', onWarning: (warning) => warnings.push(warning) });
      const document = {
        machine: host,
        native,
        backend: { name: backend.name, description: backend.description },
        warnings,
      };
      printResult(json === true, document, () =>
        [
          `processor   ${host.processor}, ${host.processors} processors, ${host.memoryGiB} GiB`,
          `system      ${host.system}, Node ${host.node}`,
          `commit      ${host.commit ?? 'not a checkout'}`,
          ...('error' in native
            ? [`addon       not loaded: ${native.error}`]
            : [
                `addon       loaded, built with ${native.compiler}`,
                `instruction sets  ${native.isas.join(', ')}; in use: ${native.isa}`,
                `threads     ${native.threads}`,
                `precision   ${backend.precision} by default: the instruction set ${native.bf16 ? 'multiplies' : 'does not multiply'} bfloat16`,
              ]),
          `backend     ${backend.description}`,
          ...warnings.map((warning) => `warning     ${warning}`),
        ].join('\n'),
      );
    });
}

function addon(): ReturnType<typeof nativeInfo> | { readonly error: string } {
  try {
    return nativeInfo();
  } catch (error) {
    if (error instanceof LoopnnError) return { error: error.message };
    throw error;
  }
}
