/** Commands that many processes carry out together, where an MPI's launcher has started them: rank 0 speaks for all. */
import { type LaunchedPeers, launchedPeers } from '../node/mpi.js';
import { report } from './failure.js';
import { silence } from './output.js';

/** Does `work` with the other processes, null where this one is alone. A failure is told with the rank, and ends all. */
export async function together(work: (peers: LaunchedPeers | null) => Promise<void>): Promise<void> {
  const peers = await launchedPeers();
  if (!peers) return work(null);
  const unmute = peers.rank > 0 ? silence() : () => {};
  try {
    await work(peers);
  } catch (error) {
    unmute();
    peers.abort(report(error, `loopnn: rank ${peers.rank}`));
  }
  await peers.finish();
}
