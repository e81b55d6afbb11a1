/** `loopnn doctor`: what this machine offers, which backend runs, and, where the addon does not, why. */
import type { Command } from 'commander';
import type { Backend } from '../backend/backend.js';
import { createBackend } from '../node/backend.js';
import { nativeInfo } from '../backend/native/addon.js';
import { wasmIsas } from '../backend/wasm/module.js';
import { findMpi, type FoundMpi } from '../node/build-mpi.js';
import { machine } from '../node/machine.js';
import { slowInBf16 } from '../operations/runtime.js';
import { LoopnnError } from '../errors.js';
import { printResult } from './output.js';

export function doctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('this machine, its instruction sets and threads, and the backend that runs')
    .option('--json', 'print one JSON document')
    .action(async ({ json }: { json?: true }) => {
      const host = machine();
      const native = addon();
      const wish = process.env.LOOPNN_BACKEND;
      const asked = wish ? `, as LOOPNN_BACKEND=${wish} asks` : '';
      const warnings: string[] = [];
      const warn = (warning: string) => warnings.push(warning);
      const backend = await chosenBackend(warn);
      const mpi = await findMpi();
      const document = {
        machine: host,
        native,
        wasm: wasmIsas(),
        mpi,
        backend: backend && { name: backend.name, description: backend.description },
        warnings,
      };
      printResult(json === true, document, () => [
        `processor         ${host.processor}, ${host.processors} processors, ${host.memoryGiB} GiB`,
        `system            ${host.system}, Node ${host.node}`,
        `commit            ${host.commit ?? 'not a checkout'}`,
        ...('error' in native
          ? [`addon             not loaded: ${native.error}`]
          : [
              `addon             ${native.origin}, by ${native.compiler}`,
              ...native.refused.map((refusal) => `refused           ${refusal}`),
              `instruction sets  ${native.isas.join(', ')}; in use: ${native.isa}`,
              `threads           ${native.threads}`,
              `precision         ${precisionLine(native.bf16, backend)}`,
            ]),
        `WebAssembly       ${wasmIsas().join(', ') || 'lacks SIMD'}`,
        ...mpiLine(mpi),
        `backend           ${backend ? `${backend.description}${asked}` : 'none'}`,
        ...warnings.map((warning) => `warning           ${warning}`),
      ]);
    });
}

/** The precision of products by default, and of training where that differs. */
function precisionLine(bf16: boolean, backend: Backend | null): string {
  if (!bf16) return 'f32 by default: the instruction set does not multiply bfloat16';
  const trains =
    backend && slowInBf16(backend) ? '; training takes f32, which is as fast here or faster' : '';
  return `bf16 by default: the instruction set multiplies bfloat16${trains}`;
}

/** Nothing where there is no MPI. */
function mpiLine({ built, compiler }: FoundMpi): string[] {
  if (built) return [`MPI               loopnn's part is built for ${built}`];
  return compiler ? ['MPI               mpicc is here: `loopnn mpi` builds what mpirun needs'] : [];
}

/** The backend that commands would use; null, and a warning, where the environment asks for the impossible. */
async function chosenBackend(onWarning: (warning: string) => void): Promise<Backend | null> {
  try {
    return await createBackend({ onWarning });
  } catch (error) {
    if (!(error instanceof LoopnnError)) throw error;
    onWarning(error.message);
    return null;
  }
}

function addon(): ReturnType<typeof nativeInfo> | { readonly error: string } {
  try {
    return nativeInfo();
  } catch (error) {
    if (error instanceof LoopnnError) return { error: error.message };
    throw error;
  }
}
