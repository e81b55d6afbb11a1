/** The page's worker: answers questions one after another with the model in its memory. */
import { messageOf } from '../shared/words.js';
import { OpenModel } from './open-model.js';
import type { Cancel, Reply, Request } from './messages.js';

const port = globalThis as unknown as {
  onmessage: (message: { readonly data: Request | Cancel }) => void;
  postMessage(reply: Reply): void;
};

let model: OpenModel | null = null;
let former: Promise<void> = Promise.resolve();
const open = new Map<number, AbortController>();

port.onmessage = ({ data }) => {
  if ('cancel' in data) {
    open.get(data.cancel)?.abort();
    return;
  }
  const controller = new AbortController();
  open.set(data.id, controller);
  former = former.then(() => reply(data, controller.signal));
};

async function reply(request: Request, signal: AbortSignal): Promise<void> {
  const { id } = request;
  try {
    signal.throwIfAborted();
    port.postMessage({ id, answer: await answer(request, signal) });
  } catch (error) {
    // No reply is expected to a cancelled question.
    if (!signal.aborted) port.postMessage({ id, error: messageOf(error) });
  } finally {
    open.delete(id);
  }
}

async function answer(request: Request, signal: AbortSignal): Promise<unknown> {
  if (request.kind === 'load') {
    const next = await OpenModel.load(request.question);
    await model?.dispose();
    model = next;
    return model.facts();
  }
  if (!model) throw new Error('there is no model yet');
  switch (request.kind) {
    case 'inspect':
      return model.inspect(request.question.text);
    case 'attention':
      return model.attention(request.question);
    case 'exits':
      return model.exits(request.question, signal);
    case 'generate':
      return model.generate(request.question, signal, (part) => port.postMessage({ id: request.id, part }));
  }
}
