/** Server-sent events over `fetch`, which can send a key; EventSource cannot. */

/** The data of each event; events that arrive together come in one list. */
export async function* serverSentData(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<string[], void> {
  // Not every browser can iterate over a stream.
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let rest = ''; ; ) {
      const { value, done } = await reader.read();
      if (done) return;
      const events = (rest + value).split('\n\n');
      rest = events.pop()!;
      yield events.filter((event) => event.startsWith('data: ')).map((event) => event.slice('data: '.length));
    }
  } finally {
    await reader.cancel();
  }
}
