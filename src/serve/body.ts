/** Reads a request's body as JSON, and keeps no more of it than allowed. */
import type { IncomingMessage } from 'node:http';
import { parseJSON } from '../formats/json.js';
import { ApiError } from './api-error.js';

/** Multiple of the limit that is read of a body: many clients read the answer only after they have sent everything. */
const DRAINED = 64;

/**
 * The JSON of a body. Throws the 415 for another type (a page elsewhere could send it from a browser unasked), the 413
 * for a body of more than `limit` bytes, the 400 for one that is not JSON.
 */
export async function readJSON(incoming: IncomingMessage, limit: number): Promise<unknown> {
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = incoming.headers;
  if (!/^application\/json\s*(;|$)/i.test(type)) {
    throw new ApiError(415, `content-type: must be application/json, got '${type}'`);
  }
  if (encoding !== 'identity') {
    throw new ApiError(415, `content-encoding: must be absent, got '${encoding}'`);
  }
  const bytes = await readBytes(incoming, limit);
  try {
    return parseJSON(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new ApiError(400, `body: must be JSON (${error instanceof Error ? error.message : error})`);
  }
}

/**
 * Reads to the end, and drops what is beyond the limit; at a multiple of the limit it stops, and the connection ends.
 */
function readBytes(incoming: IncomingMessage, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const tooLarge = (headers = {}) =>
      reject(new ApiError(413, `body: must have at most ${limit} bytes`, { headers }));
    const leaveOff = () => {
      incoming.pause();
      incoming.off('data', onData);
      tooLarge({ connection: 'close' });
    };
    const onData = (chunk: Buffer) => {
      size += chunk.length;
      if (size <= limit) chunks.push(chunk);
      else if (size > DRAINED * limit) leaveOff();
    };
    if (Number(incoming.headers['content-length']) > DRAINED * limit) return leaveOff();
    incoming.on('data', onData);
    incoming.once('end', () => (size > limit ? tooLarge() : resolve(Buffer.concat(chunks))));
    incoming.once('error', reject);
    incoming.once('close', () => reject(new ApiError(400, 'body: must be sent to its end')));
  });
}
