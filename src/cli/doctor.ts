/** `loopnn doctor`: the machine's facts, the backend that runs, and why the addon does not, if so. */
import type { Command } from 'commander';
import type { Backend } from '../backend/backend.js';
import { createBackend } from '../node/backend.js';
import { nativeInfo } from '../backend/native/addon.js';
import { wasmIsas } from '../backend/wasm/module.js';
import { findMpi, type FoundMpi } from '../node/build-mpi.js';
import { machine } from '../node/machine.js';
import { type ProbedGpu, probeGpu } from '../node/probe-gpu.js';
import { LoopnnError } from '../errors.js';
import { examples } from './help.js';
import { byteSize, paragraph, printResult, terminalWidth } from './output.js';

/** Columns before what a line says. */
const LABEL = 18;

export function doctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('describe this machine: its instruction sets, threads and GPU, and the backend that runs')
    .option('--json', 'print one JSON document')
    .addHelpText('after', examples('npx loopnn doctor', 'npx loopnn doctor --json'))
    .action(async ({ json }: { json?: true }) => {
      const host = machine();
      const native = addon();
      const wish = process.env.LOOPNN_BACKEND;
      const asked = wish ? `, chosen by LOOPNN_BACKEND=${wish}` : '';
      const warnings: string[] = [];
      const warn = (warning: string) => warnings.push(warning);
      const backend = await chosenBackend(warn);
      const [mpi, gpu] = await Promise.all([findMpi(), probeGpu()]);
      const document = {
        machine: host,
        native,
        wasm: wasmIsas(),
        gpu,
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
              ...labelled('precision', precisionText(native, backend)),
            ]),
        `WebAssembly       ${wasmIsas().join(', ') || 'lacks SIMD'}`,
        ...gpuLines(gpu),
        ...mpiLine(mpi),
        `backend           ${backend ? `${backend.description}${asked}` : 'none'}`,
        ...warnings.map((warning) => `warning           ${warning}`),
      ]);
    });
}

/** How matrix products read numbers by default: `bf16` and `fastBf16` are the native addon's. */
export function precisionText(
  { bf16, fastBf16 }: { readonly bf16: boolean; readonly fastBf16: boolean },
  backend: Pick<Backend, 'name' | 'precision'> | null,
): string {
  if (!bf16) return '32 bits (f32): the instruction set in use has no products of 16 bits (bf16)';
  if (backend?.name !== 'native') return '32 bits (f32) on this backend';
  return fastBf16
    ? 'training multiplies numbers of 16 bits (bf16), which is faster here than 32 (f32); --precision f32 or bf16 chooses'
    : 'training multiplies numbers of 32 bits (f32), since 16 (bf16) are no faster here; --precision f32 or bf16 chooses';
}

/** The GPU, and what its features and limits mean for `--backend webgpu`. */
function gpuLines(gpu: ProbedGpu): string[] {
  if ('error' in gpu) return labelled('GPU', `none: ${gpu.error}`);
  const { name, vendor, architecture, processor, features, subgroups, limits } = gpu;
  const { maxStorageBufferBindingSize = 0, maxBufferSize = 0, maxComputeWorkgroupStorageSize = 0 } = limits;
  const from = [vendor, architecture].filter(Boolean).join(' ');
  const lanes = subgroups && [...new Set(subgroups)].join(' to ');
  const has = (feature: string) => features.includes(feature);
  return [
    ...labelled('GPU', `${name}${from && ` (${from})`}: --backend webgpu runs on it`),
    ...(processor
      ? labelled('', 'emulated on the processor: for tests, far slower than the native backend')
      : []),
    ...labelled(
      '  shader-f16',
      has('shader-f16') ? 'available: --precision f16 works' : 'missing: --precision f16 is refused',
    ),
    ...labelled('  subgroups', lanes ? `${lanes} lanes exchange values without memory` : 'missing'),
    ...labelled('  timestamps', has('timestamp-query') ? 'available: bench times kernels' : 'missing'),
    ...labelled(
      '  one buffer',
      `${byteSize(Math.min(maxStorageBufferBindingSize, maxBufferSize))} at most; larger tensors take several`,
    ),
    ...labelled('  workgroups', `share ${byteSize(maxComputeWorkgroupStorageSize)} of memory each`),
    ...labelled('  memory', 'WebGPU does not report it; a refused allocation reports its bytes'),
  ];
}

/** Lines of a label and a text that is cut between words. */
function labelled(label: string, text: string): string[] {
  const width = terminalWidth() - LABEL;
  return paragraph(text, width).map((line, i) => (i === 0 ? label : '').padEnd(LABEL) + line);
}

/** Empty without MPI. */
function mpiLine({ built, compiler }: FoundMpi): string[] {
  if (built) return [`MPI               loopnn's part is built for ${built}`];
  return compiler ? ['MPI               mpicc is found: `loopnn mpi` builds what mpirun needs'] : [];
}

/** The backend that commands would use; null, with a warning, if the environment's variables are invalid. */
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
