/**
 * Tasks distributed over processes: rank 0 gives the next task to any free process, including itself, and receives the
 * news of all tasks. Tasks and news are the caller's.
 */
import { EventQueue } from '../generate/event-queue.js';
import { othersOf, type Peers, receiveText, sendText } from './peers.js';

export interface SharedWork<Task, News> {
  /**
   * Called on rank 0 after all news of ended tasks is read: the next task that may begin, or null while there is none.
   */
  next(): Task | null;
  /** Runs a task, which is a JSON value, on any process; ends early if the signal is aborted. */
  run(task: Task, signal: AbortSignal): AsyncIterable<News>;
  /** News as a non-empty text for rank 0; null if rank 0 does not need it. */
  write(news: News): string | null;
  /** Parses what `write` wrote on another process. */
  read(text: string, task: Task, rank: number): News;
}

/** Instead of a task: there are no more. Instead of news: the task has ended. */
const NOTHING = '';

/**
 * Runs all tasks, until there are none or the signal is aborted on rank 0, which ends the tasks of all processes. Every
 * process yields the news of its own tasks, and rank 0 those of all. An error of a task is thrown on the process that
 * ran it.
 */
export async function* shareOut<Task, News>(
  peers: Peers,
  work: SharedWork<Task, News>,
  signal: AbortSignal,
): AsyncGenerator<{ readonly task: Task; readonly news: News }> {
  if (peers.size === 1) yield* doAll(work, signal);
  else if (peers.rank === 0) yield* handOut(peers, work, signal);
  else yield* doGiven(peers, work, signal);
}

async function* doAll<Task, News>(work: SharedWork<Task, News>, signal: AbortSignal) {
  while (!signal.aborted) {
    const task = work.next();
    if (task === null) return;
    for await (const news of work.run(task, signal)) yield { task, news };
  }
}

async function* handOut<Task, News>(peers: Peers, work: SharedWork<Task, News>, signal: AbortSignal) {
  const free = [peers.rank, ...othersOf(peers)];
  /** News, and ranks that are free. */
  const inbox = new EventQueue<{ readonly task: Task; readonly news: News } | number>();
  const here = async (task: Task) => {
    for await (const news of work.run(task, signal)) inbox.push({ task, news });
  };
  const elsewhere = async (task: Task, rank: number) => {
    await sendText(peers, rank, JSON.stringify(task));
    for (let text = await receiveText(peers, rank); text !== NOTHING; text = await receiveText(peers, rank)) {
      inbox.push({ task, news: work.read(text, task, rank) });
    }
  };
  let told: Promise<unknown> | undefined;
  const tellEnd = () => {
    told ??= Promise.all(othersOf(peers).map((rank) => sendText(peers, rank, NOTHING)));
  };
  signal.addEventListener('abort', tellEnd);
  try {
    while (true) {
      while (free.length > 0 && !signal.aborted) {
        const task = work.next();
        if (task === null) break;
        const rank = free.shift()!;
        const done = rank === peers.rank ? here(task) : elsewhere(task, rank);
        done.then(
          () => inbox.push(rank),
          (error) => inbox.fail(error),
        );
      }
      if (free.length === peers.size) break;
      const message = await inbox.next();
      if (typeof message === 'number') free.push(message);
      else yield message;
    }
    tellEnd();
    await told;
  } finally {
    signal.removeEventListener('abort', tellEnd);
  }
}

async function* doGiven<Task, News>(peers: Peers, work: SharedWork<Task, News>, signal: AbortSignal) {
  const ended = new AbortController();
  const either = AbortSignal.any([signal, ended.signal]);
  // The next order is awaited already during a task: it may be to end everything.
  const listen = async () => {
    const order = await receiveText(peers, 0);
    if (order === NOTHING) ended.abort();
    return order;
  };
  let next = listen();
  while (true) {
    const order = await next;
    if (order === NOTHING) return;
    next = listen();
    const task = JSON.parse(order) as Task;
    let sent = Promise.resolve();
    const send = (text: string) => {
      sent = sent.then(() => sendText(peers, 0, text));
    };
    for await (const news of work.run(task, either)) {
      const text = work.write(news);
      if (text !== null) send(text);
      yield { task, news };
    }
    send(NOTHING);
    await sent;
  }
}
