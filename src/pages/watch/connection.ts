/**
 * Receives the server's messages. When the server is gone, the page connects again until it is back; each connection
 * begins with all existing data.
 */
import { EVENTS_PATH, type Message } from '../../watch/messages.js';
import { canTravel, storedKey, storeKey } from '../shared/key.js';
import { serverSentData } from '../shared/server-sent.js';

export type Connection =
  | { readonly kind: 'connecting' | 'live' }
  /** The server does not answer; the page shows its last data. */
  | { readonly kind: 'away'; readonly why: string }
  /** The server needs a key, or a different one. */
  | { readonly kind: 'key'; readonly wrong: boolean };

const SHORTEST_MS = 500;
const LONGEST_MS = 5000;
/** A running server sends something every ten seconds; after this silence it is gone, as after a laptop's sleep. */
const SILENCE_MS = 30_000;

export function connect(onMessage: (message: Message) => void, onState: (state: Connection) => void) {
  let key = storedKey();
  let wait = SHORTEST_MS;
  let timer = 0;
  const open = async () => {
    if (!canTravel(key)) return onState({ kind: 'key', wrong: true });
    let why = 'the server has ended the connection';
    const silence = new AbortController();
    let alarm = 0;
    const heard = () => {
      clearTimeout(alarm);
      alarm = setTimeout(() => silence.abort(), SILENCE_MS);
    };
    try {
      heard();
      const headers = key === '' ? {} : { authorization: `Bearer ${key}` };
      const response = await fetch(EVENTS_PATH, { headers, cache: 'no-store', signal: silence.signal });
      if (response.status === 401) return onState({ kind: 'key', wrong: key !== '' });
      if (!response.ok || !response.body) throw new Error(`the server answers ${response.status}`);
      storeKey(key);
      for await (const events of serverSentData(response.body)) {
        heard();
        for (const event of events) {
          wait = SHORTEST_MS;
          onState({ kind: 'live' });
          onMessage(JSON.parse(event) as Message);
        }
      }
    } catch (error) {
      const gone = error instanceof TypeError || silence.signal.aborted;
      why = gone ? 'nobody answers' : (error as Error).message;
    } finally {
      clearTimeout(alarm);
    }
    onState({ kind: 'away', why });
    timer = setTimeout(open, wait);
    wait = Math.min(LONGEST_MS, 2 * wait);
  };
  onState({ kind: 'connecting' });
  void open();
  return {
    /** Tries again with a key. */
    useKey(given: string) {
      key = given;
      clearTimeout(timer);
      void open();
    },
  };
}
