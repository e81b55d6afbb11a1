/** All charts of the page: of runs side by side, and of one run. */
import { useMemo } from 'preact/hooks';
import { byteSize, grouped } from '../../printable.js';
import { ZoomableChart } from '../shared/plot/zoomable-chart.js';
import { short } from '../shared/words.js';
import {
  colorOf,
  columnCurves,
  evalCurve,
  gateCurves,
  loopCurves,
  partCurves,
  stateCurves,
  withValidation,
} from './curves.js';
import { extentX } from '../shared/plot/plot.js';
import type { Axis, Run } from './runs.js';
import type { View } from './view.js';

export const AXIS_NAMES: Readonly<Record<Axis, string>> = {
  tokens: 'tokens',
  steps: 'steps',
  flops: 'FLOPs',
  time: 'minutes in updates',
};

interface ChartsProps {
  readonly runs: readonly Run[];
  /** Changes with the runs' data. */
  readonly version: number;
  readonly view: View;
  readonly onZoom: (zoom: View['zoom']) => void;
}

export function SideBySide({ runs, version, view, onZoom }: ChartsProps) {
  const { axis, smoothing, logX, logY, zoom } = view;
  const curves = useMemo(() => {
    const look = { axis, smoothing };
    const raw = { axis, smoothing: 0 };
    return {
      loss: withValidation(runs, 'loss', look, ({ valLoss }) => valLoss),
      lr: columnCurves(runs, 'lr', raw),
      norm: columnCurves(runs, 'gradNorm', look),
      speed: columnCurves(runs, 'tokensPerSecond', look),
      steps: withValidation(runs, 'meanSteps', look, ({ meanSteps }) => meanSteps),
      loops: runs.flatMap((run) => evalCurve(run, look, run.info.name, colorOf(run), (found) => found.loops)),
      memory: runs.flatMap((run) =>
        evalCurve(run, look, run.info.name, colorOf(run), (found) => found.memoryBytes),
      ),
    };
  }, [runs, version, axis, smoothing]);
  const whole = useMemo(() => extentX(curves.loss, logX), [curves, logX]);
  const common = { xLabel: AXIS_NAMES[axis], logX, zoom, whole, onZoom };
  return (
    <div class="charts">
      <ZoomableChart
        {...common}
        title="Loss"
        unit="nats per token"
        curves={curves.loss}
        logY={logY}
        says="Full lines: the loss of the training batches. Dashed: of fixed validation batches, which the training never sees. Nats are natural units: with one nat less, the right token is 2.7 times as probable."
      />
      <ZoomableChart
        {...common}
        title="Norm of the gradient"
        curves={curves.norm}
        logY={logY}
        says="Before it is clipped. Peaks come from unusual batches, or from a learning rate that is too high."
      />
      <ZoomableChart {...common} title="Learning rate" curves={curves.lr} logY={logY} />
      <ZoomableChart
        {...common}
        title="Speed"
        unit="tokens per second"
        curves={curves.speed}
        logY={logY}
        value={grouped}
        says="Of updates alone; evaluations and checkpoints are not counted."
      />
      {curves.steps.length > 0 && (
        <ZoomableChart
          {...common}
          title="Mean steps of a token"
          curves={curves.steps}
          logY={false}
          says="How often the block ran before a token halted: these models choose it for each token. Dashed: on validation batches."
        />
      )}
      {curves.loops.length > 0 && (
        <ZoomableChart
          {...common}
          title="Loops"
          curves={curves.loops}
          logY={false}
          says="Loops of the schedule at each evaluation. Its losses are measured with these loops, and jump where the loops change."
        />
      )}
      {curves.memory.length > 0 && (
        <ZoomableChart
          {...common}
          title="Memory of the process"
          unit="GiB"
          curves={inGiB(curves.memory)}
          logY={false}
          value={(y) => byteSize(y * 2 ** 30)}
          says="Resident memory at each evaluation."
        />
      )}
    </div>
  );
}

export function OneRun({ run, version, view, onZoom }: Omit<ChartsProps, 'runs'> & { readonly run: Run }) {
  const { axis, logX, logY, zoom } = view;
  const curves = useMemo(
    () => ({
      loops: loopCurves(run, { axis, smoothing: 0 }),
      gates: gateCurves(run, { axis, smoothing: 0 }),
      state: stateCurves(run, { axis, smoothing: 0 }),
    }),
    [run, version, axis],
  );
  const parts = useMemo(() => partCurves(run, { axis, smoothing: 0 }), [run, version, axis]);
  const whole = extentX([...Object.values(curves), ...parts.map(([, own]) => own)].flat(), logX);
  const common = { xLabel: AXIS_NAMES[axis], logX, zoom, whole, onZoom, legend: true, value: short };
  return (
    <div class="charts">
      {curves.loops.length > 1 ? (
        <ZoomableChart
          {...common}
          title="Validation loss by number of loops"
          unit="nats per token"
          curves={curves.loops}
          logY={logY}
          says="The same weights, run with different numbers of loops. Where the lines separate, more loops help; a model trained with few loops may do badly with many."
        />
      ) : (
        <p class="soft card">
          {run.evals.some(({ lossByLoops }) => lossByLoops) ? (
            'This model runs its layers once: there is no other number of loops to try.'
          ) : (
            <>
              The loss by number of loops is measured if the training asks for it:{' '}
              <code>loopnn train … --eval-loops 1,2,4</code>
            </>
          )}
        </p>
      )}
      {curves.gates.length > 0 && (
        <ZoomableChart
          {...common}
          title="Gates"
          unit="mean over channels"
          curves={curves.gates}
          logY={false}
          says="A gate says how much of what a loop computes is added to the state: x + gate × f(x). At 0 the loop does nothing."
        />
      )}
      {parts.map(([name, own]) => (
        <ZoomableChart
          {...common}
          key={name}
          title={titleOf(name)}
          unit={PARTS[name]?.unit ?? 'by loop'}
          curves={own}
          logY={false}
          says={PARTS[name]?.says ?? ''}
        />
      ))}
      {curves.state.length > 0 && (
        <ZoomableChart
          {...common}
          title="State after each loop"
          unit="root mean square"
          curves={curves.state}
          logY={logY}
          says="How large the state is on a validation batch. A state that grows from loop to loop may lead to spikes of the loss."
        />
      )}
    </div>
  );
}

/** The explanation of each learned part of the loops, by its name in the log. */
const PARTS: Readonly<Record<string, { readonly unit: string; readonly says: string }>> = {
  'carry-over': {
    unit: 'share of the state',
    says: 'How much of the state a channel keeps before each loop. Dashed: the least and the largest channel.',
  },
  'scale of the state': {
    unit: 'λ of each loop',
    says: 'The factor by which a loop multiplies the state before its layers.',
  },
  'scale of the input': {
    unit: 'μ of each loop',
    says: 'How much of the looped layers’ first input a loop adds.',
  },
  'scale of the dynamic part': {
    unit: 'γ of each loop',
    says: 'How much a token itself changes how streams are read, written and mixed.',
  },
  'streams read': { unit: 'mean over streams', says: 'How much of each stream a loop reads.' },
  'streams written': {
    unit: 'mean over streams',
    says: 'How much of a loop’s change each stream takes.',
  },
  'streams kept': { unit: 'mean over streams', says: 'How much of itself a stream keeps in a loop.' },
  'streams mixed': {
    unit: 'mean over pairs',
    says: 'How much of each other stream a stream takes in a loop.',
  },
};

const titleOf = (name: string) => name[0].toUpperCase() + name.slice(1);

function inGiB<Curve extends { readonly y: ArrayLike<number> }>(curves: readonly Curve[]): Curve[] {
  return curves.map((curve) => ({ ...curve, y: Float64Array.from(curve.y, (bytes) => bytes / 2 ** 30) }));
}
