/** The conditions of a measurement in this process. */
import type { Backend } from '../backend/backend.js';
import type { Provenance } from '../experiments/result.js';
import { machine } from '../node/machine.js';

export function provenanceOf(backend: Backend): Provenance {
  const host = machine();
  return {
    machine: `${host.processor}, ${host.processors} processors, Node ${host.node}, ${host.system}`,
    backend: backend.description,
    commit: host.commit ?? 'not a checkout',
  };
}
