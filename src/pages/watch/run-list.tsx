/** The list of runs: the state of each run, and a switch that shows it. */
import { duration, grouped } from '../../printable.js';
import { short } from '../shared/words.js';
import { colorOf } from './curves.js';
import type { Run } from './runs.js';

interface RunListProps {
  readonly runs: readonly Run[];
  readonly off: ReadonlySet<string>;
  readonly onOff: (off: ReadonlySet<string>) => void;
}

export function RunList({ runs, off, onOff }: RunListProps) {
  const toggle = (id: string) => {
    const next = new Set(off);
    if (!next.delete(id)) next.add(id);
    onOff(next);
  };
  return (
    <section class="runs" aria-label="Runs">
      <div class="controls">
        <button type="button" onClick={() => onOff(new Set())}>
          All on
        </button>
        <button type="button" onClick={() => onOff(new Set(runs.map(({ info }) => info.id)))}>
          All off
        </button>
      </div>
      <ul class="run-list" aria-label="Runs, each with a switch">
        {runs.map((run) => (
          <li key={run.info.id}>
            <label>
              <input type="checkbox" checked={!off.has(run.info.id)} onChange={() => toggle(run.info.id)} />
              <span class="swatch" style={{ background: colorOf(run) }} />
              <span class="run-name">{run.info.name}</span>
              <span class={`state ${run.info.state}`}>{run.info.state}</span>
            </label>
            <div class="soft facts">{factsOf(run).join(' · ')}</div>
            {run.info.failure !== undefined && <div class="bad facts">{run.info.failure}</div>}
          </li>
        ))}
      </ul>
    </section>
  );
}

function factsOf({ info, columns, evals, secondsLeft }: Run): string[] {
  const last = evals.at(-1);
  const speed = columns.tokensPerSecond.last();
  const of = info.maxSteps === null ? '' : ` of ${grouped(info.maxSteps)}`;
  return [
    `step ${grouped(info.step)}${of}`,
    ...(secondsLeft === null ? [] : [`${duration(secondsLeft)} left`]),
    ...(columns.loss.length === 0 ? [] : [`loss ${short(columns.loss.last())}`]),
    ...(last ? [`validation ${short(last.valLoss)}`] : []),
    ...(Number.isNaN(speed) ? [] : [`${grouped(speed)} tokens/s`]),
    ...(info.result ? [`held-out text ${short(info.result.valLoss)}`] : []),
    ...(info.stepsPerRow > 1 ? [`a point is the mean of ${info.stepsPerRow} steps`] : []),
    ...(info.damaged > 0 ? [`${info.damaged} damaged or repeated lines skipped`] : []),
  ];
}
