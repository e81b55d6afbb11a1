/** Commands that several processes run together if an MPI's launcher has started them: rank 0 prints for all. */
import { type LaunchedPeers, launchedPeers } from '../node/mpi.js';
import { report } from './failure.js';
import { notice, silence } from './output.js';

/**
 * Does `work` with the other processes, null if this one is alone. A failure is reported with the rank, and ends all.
 */
export async function together(work: (peers: LaunchedPeers | null) => Promise<void>): Promise<void> {
  const peers = await launchedPeers();
  if (!peers) return work(null);
  const unmute = peers.rank > 0 ? silence() : () => {};
  // A launcher that loses a machine names the machine.
  for (const line of placesOf(peers.hosts)) notice(line);
  try {
    await work(peers);
  } catch (error) {
    unmute();
    peers.abort(report(error, `loopnn: rank ${peers.rank}`));
  }
  await peers.finish();
}

/** The ranks of each machine, one line per machine; none if all are on one. */
export function placesOf(hosts: readonly string[]): string[] {
  const places = new Map<string, number[][]>();
  for (const [rank, host] of hosts.entries()) {
    const runs = places.get(host) ?? [];
    const last = runs.at(-1);
    if (last?.at(-1) === rank - 1) last.push(rank);
    else runs.push([rank]);
    places.set(host, runs);
  }
  if (places.size < 2) return [];
  return [...places].map(([host, runs]) => {
    const ranks = runs.map((run) => (run.length === 1 ? `${run[0]}` : `${run[0]} to ${run.at(-1)}`));
    return `${host}: ${runs.flat().length === 1 ? 'rank' : 'ranks'} ${ranks.join(', ')}`;
  });
}
