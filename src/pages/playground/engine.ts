/** The engine's name on the page. */
import type { Backend } from '../../backend/backend.js';
import type { Engine } from './messages.js';

export function engineOf({ name, description }: Backend): Engine {
  if (name === 'webgpu') return { gpu: /\((.*), [^,]*\)$/.exec(description)![1] };
  return { threads: Number(/(\d+) threads?/.exec(description)?.[1] ?? 1) };
}

export function engineInWords(engine: Engine): string {
  if ('gpu' in engine) return `the GPU, ${engine.gpu}`;
  return engine.threads > 1 ? `${engine.threads} threads` : 'one thread';
}
