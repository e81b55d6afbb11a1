/** What a threshold saves and costs, as numbers and as a point on the measured curve. */
import { useMemo } from 'preact/hooks';
import { signed } from '../../../printable.js';
import { seriesColor } from '../../../experiments/style.js';
import { Chart } from '../../shared/chart.js';
import type { ExitRun, ExitRuns } from '../messages.js';

export interface ExitNumbersProps {
  readonly run: ExitRun;
  readonly full: ExitRun;
  /** Number of the model's loops. */
  readonly count: number;
}

export function ExitNumbers({ run, full, count }: ExitNumbersProps) {
  const saved = 100 * (1 - run.meanLoops / count);
  const paid = run.loss - full.loss;
  return (
    <dl class="numbers" aria-live="polite">
      <div>
        <dt>Loops per token</dt>
        <dd>
          {run.meanLoops.toFixed(2)} <small>of {count}</small>
        </dd>
      </div>
      <div>
        <dt>Loops saved</dt>
        <dd>{saved.toFixed(0)} %</dd>
      </div>
      <div>
        <dt>Loss</dt>
        <dd>
          {run.loss.toFixed(3)} <small>nats</small>
        </dd>
      </div>
      <div>
        <dt>Against all loops</dt>
        <dd>
          {signed(paid)} <small>nats</small>
        </dd>
      </div>
    </dl>
  );
}

export interface ExitCurveProps {
  readonly measured: ExitRuns;
  readonly run: ExitRun;
}

export function ExitCurve({ measured: { runs, fixed, tokens }, run }: ExitCurveProps) {
  const curve = useMemo(() => {
    const rising = [...runs].sort((a, b) => a.meanLoops - b.meanLoops);
    return { x: rising.map(({ meanLoops }) => meanLoops), y: rising.map(({ loss }) => loss) };
  }, [runs]);
  return (
    <>
      <Chart
        title="Loss against loops, measured on this text"
        xLabel="mean loops per token"
        unit="nats per token"
        curves={[
          { label: 'early exits', color: seriesColor(0), dots: true, ...curve },
          {
            label: 'same loops for all',
            color: 'var(--soft)',
            dashed: true,
            x: fixed.map((_, n) => n + 1),
            y: fixed,
          },
          { label: 'now', color: seriesColor(1), dots: true, x: [run.meanLoops], y: [run.loss] },
        ]}
        says={
          `Each dot is a run of the model in this tab over the ${tokens.length - 1} predictions of this text, at a ` +
          'different threshold. Where the line lies below the dashed line, each token gains from its own number of loops.'
        }
      />
      <p class="soft">
        What is saved is runs of the looped layers. Criteria that look at guesses also run the output layer
        after each loop, and tokens that are still running still attend to a token that has exited.
      </p>
    </>
  );
}
