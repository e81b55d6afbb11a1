/** The race's worker as a hook: what it tells, and what it is told. */
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import type { News, Order } from './messages.js';
import { heard, NO_RACE, type RaceState } from './state.js';

export interface RaceDesk {
  readonly state: RaceState;
  readonly order: (order: Order) => void;
}

export function useRace(): RaceDesk {
  const [state, setState] = useState(NO_RACE);
  const worker = useRef<Worker | null>(null);

  const order = useCallback((wanted: Order) => {
    worker.current ??= hire(
      (news) => {
        if (news.kind === 'saved') download(new Blob([news.zip], { type: 'application/zip' }), 'race.zip');
        setState((former) => heard(former, news));
      },
      () => {
        worker.current = null;
      },
    );
    worker.current.postMessage(wanted);
  }, []);

  useEffect(() => {
    order({ kind: 'look' });
    return () => worker.current?.terminate();
  }, [order]);
  return { state, order };
}

/** A new worker; one that fails is let go, and the next order hires another. */
function hire(tell: (news: News) => void, gone: () => void): Worker {
  const worker = new Worker(new URL('./race-worker.js', import.meta.url), { type: 'module' });
  worker.onmessage = ({ data }: MessageEvent<News>) => tell(data);
  worker.onerror = (event) => {
    event.preventDefault();
    worker.terminate();
    gone();
    const why = event.message || 'its script did not load';
    const message = `The race’s worker has ended (${why}). What was kept is intact: reload the page to resume it.`;
    tell({ kind: 'failed', message });
  };
  return worker;
}

function download(content: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
