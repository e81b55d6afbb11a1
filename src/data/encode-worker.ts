/**
 * The thread that `encoder.ts` starts. It makes the tokenizer once, then answers each batch of texts with its ids,
 * until it receives null.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { makeRoomToEnd } from '../node/ending.js';
import { tokenizerFromJSON } from '../tokenizer/load.js';
import { type EncodeReply, type EncodeRequest, type EncodeTokenizer, encodeTexts } from './encoder.js';
import { sentError } from '../node/thread-errors.js';

const port = parentPort!;
const { json, token }: EncodeTokenizer = workerData;
const tokenizer = tokenizerFromJSON(json, undefined, { token: token ?? undefined });
// Each batch reports the error.
tokenizer.catch(() => {});

port.on('message', async (request: EncodeRequest | null) => {
  if (request === null) {
    makeRoomToEnd();
    port.close();
    return;
  }
  const { batch, texts } = request;
  try {
    const encoded = encodeTexts(await tokenizer, texts);
    port.postMessage({ batch, encoded } satisfies EncodeReply, [encoded.ids.buffer as ArrayBuffer]);
  } catch (error) {
    port.postMessage({ batch, error: sentError(error) } satisfies EncodeReply);
  }
});
