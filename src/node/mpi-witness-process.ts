/**
 * The witness of one machine's processes of a job (`mpi-witness.ts`): says which was the first to end before its work
 * was done. Connections that have closed are reported in the order in which they did, however late this process runs.
 */
import { createServer } from 'node:net';
import { witnessPlace } from './mpi-witness.js';

/**
 * Milliseconds in which the first process must come: they retry. If all were lost before that, the launcher waits for
 * this process, which holds its standard error.
 */
const PATIENCE = 5000;

const [job, host] = process.argv.slice(2);
let known = 0;
const server = createServer((socket) => {
  known++;
  let said = '';
  socket.setEncoding('utf8').on('data', (text) => {
    said += text;
    if (said.endsWith('told')) process.exit();
  });
  socket.on('error', () => {});
  socket.on('end', () => {
    const [rank, pid, last] = said.split(' ');
    if (last !== 'done') {
      const who = `on ${host}, ${pid ? `rank ${rank} (process ${pid})` : 'a process that had just started'}`;
      process.stderr.write(`loopnn: ${who} was the first to end before all was done\n`);
      process.exit();
    }
    if (--known === 0) process.exit();
  });
});
server.on('error', () => process.exit());
server.listen(witnessPlace(job));
setTimeout(() => known === 0 && process.exit(), PATIENCE).unref();
