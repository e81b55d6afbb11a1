/**
 * OpenAI's own client against `loopnn serve`: the same question with fewer and more loops.
 *
 *     npx loopnn serve --model runs/mine
 *     npm install openai
 *     node dist/examples/openai-client.js [URL] [PROMPT]
 *
 * The URL is http://127.0.0.1:8080 by default; a key is taken from LOOPNN_API_KEY.
 */
import OpenAI from 'openai';

const [url = 'http://127.0.0.1:8080', prompt = 'Once upon a time'] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: process.env.LOOPNN_API_KEY ?? 'none' });

const { data } = await client.models.list();
const model = data[0].id;
console.log(`${model} at ${url}`);

for (const loops of [1, 2]) {
  // `loops` is a field of ours, which the client passes on as it is.
  const options = { model, prompt, max_tokens: 60, seed: 1, loops };
  const stream = await client.completions.create({
    ...options,
    stream: true,
    stream_options: { include_usage: true },
  });
  process.stdout.write(`\nloops ${loops}: ${prompt}`);
  for await (const { choices, usage } of stream) {
    process.stdout.write(choices[0]?.text ?? '');
    if (usage) process.stdout.write(`\n(${usage.completion_tokens} tokens)\n`);
  }
}
