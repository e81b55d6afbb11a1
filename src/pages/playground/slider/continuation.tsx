/** Continues the text with the chosen loops, token by token. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { counted } from '../../../printable.js';
import { modelClient } from '../model-client.js';

export interface ContinuationProps {
  readonly text: string;
  readonly loops: number;
  /** Number of the model's loops. */
  readonly count: number;
}

/** The reasons why a continuation ends, in words. */
const ENDS: Readonly<Record<string, string>> = {
  'end of text': 'The model ended the text.',
  'block size': 'The text is as long as the model can read.',
};

export function Continuation({ text, loops, count }: ContinuationProps) {
  const [made, setMade] = useState('');
  const [madeWith, setMadeWith] = useState(0);
  const [end, setEnd] = useState<string | null>(null);
  const [temperature, setTemperature] = useState(0.8);
  const [running, setRunning] = useState<AbortController | null>(null);
  const latest = useRef<AbortController | null>(null);
  const stop = () => {
    latest.current?.abort();
    latest.current = null;
    setRunning(null);
  };
  // A continuation does not fit another text.
  useEffect(() => {
    stop();
    setMade('');
    setEnd(null);
    return stop;
  }, [text]);
  const start = () => {
    stop();
    const controller = new AbortController();
    const { signal } = controller;
    latest.current = controller;
    setRunning(controller);
    setMade('');
    setMadeWith(loops);
    setEnd(null);
    const onPart = (part: string) => setMade((before) => before + part);
    modelClient
      .ask('generate', { text, loops, temperature }, { signal, onPart })
      .then(
        (reason) => setEnd(ENDS[reason] ?? null),
        (error: Error) => {
          if (!signal.aborted) setEnd(error.message);
        },
      )
      .finally(() => {
        if (latest.current === controller) setRunning(null);
      });
  };
  return (
    <div class="card">
      <h3>Continue the text</h3>
      <div class="controls">
        <button type="button" class="main" onClick={start} disabled={running !== null}>
          Continue with {counted(loops, 'loop')}
        </button>
        <button type="button" onClick={stop} disabled={running === null}>
          Stop
        </button>
        <label>
          Temperature
          <select
            value={String(temperature)}
            onChange={({ currentTarget }) => setTemperature(Number(currentTarget.value))}
          >
            <option value="0">0: always the most probable token</option>
            <option value="0.8">0.8</option>
            <option value="1">1: the model’s own probabilities</option>
          </select>
        </label>
      </div>
      <p class="made" aria-live="polite" aria-busy={running !== null}>
        {made !== '' && (
          <>
            <span class="soft">{text}</span>
            <span>{made}</span>
          </>
        )}
      </p>
      {made !== '' && (
        <p class="soft">
          Written with {madeWith} of {counted(count, 'loop')}. {end}
        </p>
      )}
      {made === '' && end && <p role="alert">{end}</p>}
    </div>
  );
}
