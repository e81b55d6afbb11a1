/** Times steps of one peer, or the first token of a model in the browser's own file system. */
const peers = {
  ours: () => import('./ours.js'),
  jax: () => import('./jax.js'),
  tfjs: () => import('./tfjs.js'),
};

/** `longest`: milliseconds after which a slow peer has no further rounds. */
async function stepsOf({ peer, rounds, longest = 15_000, ...shape }) {
  const { prepare } = await peers[peer]();
  const text = 'What goes round comes round; the wheel turns, and the loop turns with it.\n'.repeat(400);
  const ids = Uint16Array.from(text, (character) => character.charCodeAt(0));
  const { name, step, steps = 1 } = await prepare({ ...shape, ids, text });
  const [times, losses] = [[], []];
  const start = performance.now();
  for (let round = -3; round < rounds; round++) {
    const begun = performance.now();
    if (round < 0 && begun - start > longest) continue;
    losses.push(await step());
    if (round >= 0) times.push((performance.now() - begun) / steps); // the first rounds compile
    if (round >= 0 && performance.now() - start > longest) break;
  }
  return { name, times, losses: [losses[0], losses.at(-1)] };
}

async function firstToken({ url }) {
  const { loadModel } = await import('loopnn/browser');
  const begun = performance.now();
  const model = await loadModel(url, { cache: true });
  const loaded = performance.now() - begun;
  for await (const _ of model.generate('What ', { maxTokens: 1 })) break;
  return { loaded, first: performance.now() - begun };
}

self.onmessage = async ({ data }) => {
  try {
    postMessage(data.url ? await firstToken(data) : await stepsOf(data));
  } catch (error) {
    postMessage({ error: String(error?.stack ?? error) });
  }
};
