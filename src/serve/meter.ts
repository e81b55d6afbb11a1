/** Adds a request's events to the counters, and to its line in the log. It must not import HTTP. */
import type { RunEvent } from './engine-thread.js';
import type { Exchange } from './exchange.js';
import type { Metrics } from './metrics.js';
import type { CompletionRequest } from './requests.js';

/** The events of a request, counted as they pass: tokens, loops, times to and between tokens, and of the answer. */
export async function* metered(
  events: AsyncIterable<RunEvent>,
  { tasks, n }: CompletionRequest,
  exchange: Exchange,
  metrics: Metrics,
): AsyncGenerator<RunEvent, void> {
  const last = tasks.map(() => exchange.startedAt);
  for await (const event of events) {
    const { index, at, token, end } = event;
    if (token?.echoed) {
      yield event;
      continue;
    }
    if (token) {
      const times = last[index] === exchange.startedAt ? metrics.firstToken : metrics.betweenTokens;
      times.observe((at - last[index]) / 1000);
      last[index] = at;
      exchange.tokens++;
      metrics.tokens.add(1);
      metrics.loops.add(token.steps);
    } else if (index % n === 0) {
      // The choices of a prompt share it.
      exchange.promptTokens += end.promptTokens;
      metrics.promptTokens.add(end.promptTokens);
    }
    yield event;
  }
  metrics.answers.observe((performance.now() - exchange.startedAt) / 1000);
}
