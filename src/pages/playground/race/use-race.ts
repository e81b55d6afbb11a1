/** The race’s worker as a hook: its state, and a way to send it commands. */
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import type { RaceEvent, RaceCommand } from './messages.js';
import { NO_RACE, type RaceState, reduce } from './state.js';

export interface RaceClient {
  readonly state: RaceState;
  readonly send: (command: RaceCommand) => void;
}

export function useRace(): RaceClient {
  const [state, setState] = useState(NO_RACE);
  const worker = useRef<Worker | null>(null);

  const send = useCallback((command: RaceCommand) => {
    worker.current ??= startWorker(
      (event) => {
        if (event.kind === 'saved') download(new Blob([event.zip], { type: 'application/zip' }), 'race.zip');
        setState((former) => reduce(former, event));
      },
      () => {
        worker.current = null;
      },
    );
    worker.current.postMessage(command);
  }, []);

  useEffect(() => {
    send({ kind: 'look' });
    return () => worker.current?.terminate();
  }, [send]);
  return { state, send };
}

/** Starts a worker. A worker that fails is terminated, and the next command starts another. */
function startWorker(tell: (event: RaceEvent) => void, gone: () => void): Worker {
  const worker = new Worker(new URL('./race-worker.js', import.meta.url), { type: 'module' });
  worker.onmessage = ({ data }: MessageEvent<RaceEvent>) => tell(data);
  worker.onerror = (event) => {
    event.preventDefault();
    worker.terminate();
    gone();
    const why = event.message || 'its script did not load';
    const message = `The race’s worker has stopped (${why}). The kept race is intact: reload the page to resume it.`;
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
