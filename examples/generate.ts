/**
 * Text from a trained run at several loop counts, two answers at a time.
 *
 *     node dist/examples/generate.js RUN [PROMPT]
 *
 * The run of examples/train.js, after its 300 steps, prints:
 *
 *     1 loops: The people of the United States
 *       ", Sthatheriprere Poy, Miof ithe aby Tht0 buen There Sthe Gof" (tokens)
 *       "thoors bes E� ipan d Che cef Mere Cheethe The Thee the whizu" (tokens)
 *     2 loops: The people of the United States
 *       ", Sthate here o wexy urs initithainthet0 be o anstanthe pre " (tokens)
 *       "toucos bes De ipad om ad cef ond icadethe ur there the won b" (tokens)
 */
import { loadModel } from 'loopnn';

const [run, prompt = 'The people of the United States'] = process.argv.slice(2);
if (run === undefined) throw new Error('usage: node dist/examples/generate.js RUN [PROMPT]');
const model = await loadModel(run);
const stop = new AbortController();
process.once('SIGINT', () => stop.abort());

/** One answer: its text, and how it ended. */
async function answer(loops: number, seed: number): Promise<string> {
  const options = { loops, seed, maxTokens: 60, temperature: 0.7, topK: 50, signal: stop.signal };
  const stream = model.generate(prompt, options);
  let text = '';
  for (;;) {
    const { done, value } = await stream.next();
    if (done) return `${JSON.stringify(text)} (${value.reason})`;
    text += value.text;
  }
}

for (const loops of [1, model.config.nLoop]) {
  // Both share each pass over the weights, and each comes out as if it were alone.
  const answers = await Promise.all([answer(loops, 1), answer(loops, 2)]);
  console.log(`${loops} loops: ${prompt}`);
  for (const text of answers) console.log(`  ${text}`);
}
await model.dispose();
