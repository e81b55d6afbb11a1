/** Graves's parity lesson: a network that may take several steps learns what a network with one step does not. */
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { grouped } from '../../../printable.js';
import { type ParityResult, QUICK_PARITY, type Score } from '../../../experiments/parity.js';
import { Chart } from '../../shared/chart.js';
import { Guesses } from './guesses.js';
import { NETWORKS, type ParityEvent } from './messages.js';

type Point = Score & { readonly step: number };

interface Lesson {
  readonly status: 'idle' | 'training' | 'done' | 'stopped' | 'failed';
  /** The points of each network. */
  readonly points: readonly (readonly Point[])[];
  readonly results: readonly ParityResult[] | null;
  readonly failure: string | null;
}

const NO_LESSON: Lesson = { status: 'idle', points: NETWORKS.map(() => []), results: null, failure: null };

export function Parity() {
  const { lesson, start, stop } = useLesson();
  const { status, points, results, failure } = lesson;
  const curves = useMemo(
    () =>
      NETWORKS.map(({ label, color }, i) => ({
        ...{ label, color },
        x: points[i].map(({ step }) => step),
        y: points[i].map(({ error }) => 100 * error),
      })),
    [points],
  );
  const { size, maxSteps, maxPonder, evalSamples } = QUICK_PARITY;
  return (
    <div class="parity">
      <p>
        Is the number of <strong>+</strong> odd? An input has {size} places, each <strong>+</strong>,{' '}
        <strong>−</strong> or empty. A small recurrent network sees all places at once. With a single step it
        must answer immediately; with <em>adaptive computation time</em> (ACT, Graves 2016) it may take up to{' '}
        {maxPonder} steps over the same input, with the same weights, and decides by itself when to stop.
      </p>
      <div class="controls">
        {status === 'training' ? (
          <button type="button" class="main" onClick={stop}>
            Stop
          </button>
        ) : (
          <button type="button" class="main" onClick={start}>
            {status === 'idle' ? 'Train both' : 'Train both again'}
          </button>
        )}
        <span role="status">{statusText(lesson)}</span>
      </div>
      {failure && <p role="alert">{failure}</p>}
      {points.some((of) => of.length > 0) && (
        <div class="columns">
          <div>
            <Chart
              title="Wrong answers while training"
              xLabel={`updates, of ${grouped(maxSteps)}`}
              unit="wrong, %"
              curves={curves}
              says="Guessing would be wrong in 50 % of cases. Each point is a mean over new inputs."
            />
          </div>
          <div>
            <ScoreTable points={points} results={results} />
            {results && (
              <p class="soft">
                Tested on {grouped(evalSamples)} new inputs for each number of filled places. ACT takes about
                the same number of steps for every input: here it learns to answer, not how long to think.
              </p>
            )}
          </div>
        </div>
      )}
      {results && <Guesses results={results} />}
    </div>
  );
}

function statusText({ status, points }: Lesson): string {
  switch (status) {
    case 'idle':
      return '';
    case 'training':
      return points[0].length === 0 ? 'Getting ready …' : 'Training';
    case 'done':
      return 'Trained';
    default:
      return 'Stopped';
  }
}

interface ScoreTableProps {
  readonly points: Lesson['points'];
  readonly results: Lesson['results'];
}

/** The networks' errors and mean steps: of the test, or else of the training so far. */
function ScoreTable({ points, results }: ScoreTableProps) {
  return (
    <table class="scores">
      <thead>
        <tr>
          <th scope="col">Steps it may take</th>
          <th scope="col">Wrong</th>
          <th scope="col">Mean steps</th>
        </tr>
      </thead>
      <tbody>
        {NETWORKS.map(({ label, color }, i) => {
          const score = results?.[i].overall ?? points[i].at(-1);
          return (
            <tr key={label}>
              <th scope="row">
                <span class="swatch" style={{ background: color }} aria-hidden="true" /> {label}
              </th>
              <td>{score ? `${(100 * score.error).toFixed(1)} %` : '–'}</td>
              <td>{score ? score.ponderSteps.toFixed(2) : '–'}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

/** One training at a time, in a worker that stops with it. */
function useLesson() {
  const [lesson, setLesson] = useState(NO_LESSON);
  const worker = useRef<Worker | null>(null);
  const end = useCallback(() => {
    worker.current?.terminate();
    worker.current = null;
  }, []);
  useEffect(() => end, [end]);

  const start = useCallback(() => {
    end();
    setLesson({ ...NO_LESSON, status: 'training' });
    const own = new Worker(new URL('./parity-worker.js', import.meta.url), { type: 'module' });
    worker.current = own;
    own.onmessage = ({ data }: MessageEvent<ParityEvent>) => {
      setLesson((former) => reduce(former, data));
      if (data.kind !== 'point') end();
    };
    own.onerror = (event) => {
      event.preventDefault();
      end();
      const why = event.message || 'its script did not load';
      setLesson((former) => reduce(former, { kind: 'failed', message: `The worker has stopped: ${why}.` }));
    };
  }, [end]);

  const stop = useCallback(() => {
    end();
    setLesson((former) => ({ ...former, status: 'stopped' }));
  }, [end]);
  return { lesson, start, stop };
}

function reduce(lesson: Lesson, event: ParityEvent): Lesson {
  switch (event.kind) {
    case 'point':
      return {
        ...lesson,
        points: lesson.points.map((of, i) => (i === event.network ? [...of, event.point] : of)),
      };
    case 'done':
      return { ...lesson, status: 'done', results: event.results };
    case 'failed':
      return { ...lesson, status: 'failed', failure: event.message };
  }
}
