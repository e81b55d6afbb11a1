/** Long: thousands of pipelined requests, many of which leave, cost the process that serves them no memory. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { hashWords } from '../../src/random.js';
import { ENDLESS, metric, serveProcess, trainedRun, until } from './helpers.js';

const REQUESTS = 5000;
/** Requests after which memory has its working size. */
const WARM = 500;
/** Requests on a connection, sent at once, and connections at a time. */
const PIPELINED = 5;
const CONNECTIONS = 16;

const draw = (...words: number[]) => hashWords(...words) >>> 0;

/** Request number `i` as it goes over the wire: answers whole and streamed, lists of models, and mistakes. */
function request(i: number): string {
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`;
  const post = (path: string, body: unknown) => {
    const text = JSON.stringify(body);
    return `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`;
  };
  const asked = {
    model: 'tiny',
    max_tokens: 1 + (draw(i, 1) % 12),
    seed: i,
    stream: draw(i, 2) % 2 === 0,
    loops: 1 + (draw(i, 3) % 3),
    ...ENDLESS,
  };
  const prompt = `Line ${draw(i, 4) % 60} of document `.repeat(1 + (draw(i, 5) % 6));
  const kind = draw(i, 6) % 10;
  if (kind === 0) return get('/v1/models');
  if (kind === 1) return get(`/nothing/${i}`);
  if (kind === 2) return post('/v1/completions', { ...asked, prompt, max_tokens: -1 });
  if (kind < 5)
    return post('/v1/chat/completions', { ...asked, messages: [{ role: 'user', content: prompt }] });
  return post('/v1/completions', { ...asked, prompt, n: 1 + (draw(i, 7) % 2) });
}

/** Sends several requests on one connection; every third one leaves before its answers, or in their midst. */
function converse(url: string, first: number): Promise<number> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    const leaves = draw(first, 8) % 3 === 0 ? draw(first, 9) % 4000 : null;
    let answer = '';
    const statuses = () => answer.match(/HTTP\/1\.1 \d{3} /g)?.length ?? 0;
    // Each answer ends with a chunk of no bytes, or has as many as it says.
    const whole = () => statuses() === PIPELINED && /(\r\n0\r\n\r\n|[}\]]|not found)$/i.test(answer);
    socket.setEncoding('utf8').on('data', (text: string) => {
      answer += text;
      if (leaves !== null && answer.length > leaves) socket.destroy();
      else if (whole()) socket.end();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(statuses()));
    for (let i = 0; i < PIPELINED; i++) socket.write(request(first + i));
    if (leaves !== null && leaves < 1000) setTimeout(() => socket.destroy(), draw(first, 10) % 20);
  });
}

test(`resident memory after ${REQUESTS} requests is within 10 % of that after ${WARM}`, async (t) => {
  const { url, stop } = await serveProcess(await trainedRun(), '--max-queue', '1000');
  let [next, answered] = [0, 0];
  const send = async (end: number) => {
    while (next < end) {
      const first = next;
      next += PIPELINED;
      const statuses = await converse(url, first);
      answered += statuses;
    }
  };
  const sendUpTo = async (end: number) => {
    await Promise.all(Array.from({ length: CONNECTIONS }, () => send(end)));
    await until(async () => (await metric(url, 'loopnn_running_sequences')) === 0, 'an idle engine');
    return metric(url, 'process_resident_memory_bytes');
  };
  const resident = [await sendUpTo(WARM)];
  for (let end = 2 * WARM; end <= REQUESTS; end += WARM) resident.push(await sendUpTo(end));
  const log = await stop();
  const shown = resident.map((bytes) => bytes >> 20).join(', ');
  t.diagnostic(`${answered} of ${next} requests answered, ${shown} MiB`);
  assert.ok(answered > REQUESTS / 2 && answered < 0.95 * REQUESTS, `${answered} answers`);
  assert.doesNotMatch(log, / 5\d\d /, 'no failure in the log');
  assert.ok(resident.at(-1)! < 1.1 * resident[0], `${shown} MiB`);
});
