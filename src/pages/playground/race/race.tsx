/** The race: three models learn the same text side by side, in turns. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { grouped } from '../../../printable.js';
import { Chart } from '../../shared/chart.js';
import { Scroll } from '../../shared/scroll.js';
import { messageOf } from '../../shared/words.js';
import type { PartProps } from '../part.js';
import { engineInWords } from '../engine.js';
import { commands } from './cli-commands.js';
import { SIZES, type SizeName } from './entrants.js';
import { EntrantsTable } from './entrants-table.js';
import { Samples } from './samples.js';
import { type Axis, curvesOf, type RaceState } from './state.js';
import { isSource, TextChoice, textOf, type TextSource } from './text-choice.js';
import { tooShort } from './texts.js';
import { useRace } from './use-race.js';

const AXES: Readonly<Record<Axis, string>> = {
  steps: 'training steps',
  flops: 'floating-point operations (FLOPs)',
  seconds: 'seconds of its own steps',
};

export function Race({ state: said, onState }: PartProps) {
  const { state, send } = useRace();
  const [source, setSource] = useState<TextSource>(() => {
    const name = said.get('text');
    return isSource(name) ? name : 'moby-dick';
  });
  const [size, setSize] = useState<SizeName>(() => (said.get('size') === 'medium' ? 'medium' : 'small'));
  const [steps, setSteps] = useState(() => stepsOf(said.get('steps')));
  const [axis, setAxis] = useState<Axis>(() => {
    const name = said.get('x');
    return name !== null && Object.hasOwn(AXES, name) ? (name as Axis) : 'steps';
  });
  const [file, setFile] = useState<File | null>(null);
  const [refused, setRefused] = useState<string | null>(null);
  const pasted = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    const chosen = { text: source, size, ...(steps === null ? {} : { steps: String(steps) }), x: axis };
    onState(new URLSearchParams(chosen));
  }, [source, size, steps, axis, onState]);

  const start = async () => {
    setRefused(null);
    try {
      const text = await textOf(source, pasted.current?.value ?? '', file);
      const short = tooShort(text);
      if (short) setRefused(short);
      else send({ kind: 'start', text, size, ...(steps === null ? {} : { maxSteps: steps }) });
    } catch (error) {
      setRefused(messageOf(error));
    }
  };
  const { entrants, heard } = state;
  const curves = useMemo(() => curvesOf(entrants, axis), [entrants, axis, heard]);

  return (
    <div class="race">
      <p>
        Three small language models learn the same text, in turns of one step: <strong>1 layer</strong>; the
        same layer run twice, <strong>1 layer × 2 loops</strong>, which has hardly more parameters and does
        the layer’s work twice; and <strong>2 layers</strong>, which does as much work, with twice the layer’s
        weights.
      </p>
      <TextChoice
        {...{ source, file, pasted }}
        onSource={setSource}
        onFile={(given) => {
          setFile(given);
          setSource('file');
        }}
      />
      <div class="controls">
        <label>
          Size
          <select value={size} onChange={(event) => setSize(event.currentTarget.value as SizeName)}>
            {Object.entries(SIZES).map(([name, { label }]) => (
              <option key={name} value={name}>
                {label}
              </option>
            ))}
          </select>
        </label>
        <label>
          Steps
          <input
            type="number"
            min={LEAST_STEPS}
            max={MOST_STEPS}
            placeholder={String(SIZES[size].maxSteps)}
            value={steps ?? ''}
            onChange={({ currentTarget }) => {
              const asked = stepsOf(currentTarget.value);
              currentTarget.value = String(asked ?? ''); // even if the state does not change
              setSteps(asked);
            }}
          />
        </label>
      </div>
      {state.found && state.status === 'idle' && (
        <p class="card kept">
          This browser keeps a race on {state.found.textName}, at step {grouped(state.found.step)} of{' '}
          {grouped(state.found.maxSteps)}. A new race replaces it.{' '}
          <button type="button" onClick={() => send({ kind: 'resume' })}>
            {state.found.step < state.found.maxSteps ? 'Resume it' : 'Show it'}
          </button>
        </p>
      )}
      <Buttons state={state} send={send} start={start} />
      {refused && <p role="alert">{refused}</p>}
      {state.failure && <p role="alert">{state.failure}</p>}
      {state.notes.map((note) => (
        <p key={note} class="soft">
          {note}
        </p>
      ))}
      {state.race && (
        <>
          <p class="soft">
            {state.race.textName}: {grouped(state.race.trainTokens)} tokens to learn,{' '}
            {grouped(state.race.valTokens)} held out, of a vocabulary of {grouped(state.race.vocabSize)}.
            Computed on {engineInWords(state.race.engine)}.
          </p>
          <EntrantsTable entrants={entrants} />
          <p class="soft">
            Parameters are what a model learns. FLOPs are the additions and multiplications of training on one
            token, forward and backward. Tokens/s are measured over a model’s last 20 steps.
          </p>
          <p class="controls">
            <label>
              Curves against
              <select value={axis} onChange={(event) => setAxis(event.currentTarget.value as Axis)}>
                {Object.entries(AXES).map(([name, label]) => (
                  <option key={name} value={name}>
                    {label}
                  </option>
                ))}
              </select>
            </label>
          </p>
          <Chart
            title="Loss of the three models"
            xLabel={AXES[axis]}
            unit="loss, nats per token"
            curves={curves}
            height={320}
            says="Lower is better. The loss is the mean surprise at the next token, −ln of the probability that the model gave it, in nats. Solid, with dots: the held-out text. Dashed: the text being learned, smoothed."
          />
          <Samples entrants={entrants} />
          <h3>Continue elsewhere</h3>
          <p>
            <em>Save</em> gives a zip file with the three runs and the text’s tokens. Unpack it, and the
            command line generates from them and trains them further:
          </p>
          <Scroll label="Commands">
            <pre>
              <code>{commands(state.race.maxSteps)}</code>
            </pre>
          </Scroll>
        </>
      )}
    </div>
  );
}

const LEAST_STEPS = 10;
const MOST_STEPS = 20_000;

/** The requested steps, within the limits; null for the steps of the size. */
function stepsOf(said: string | null): number | null {
  const steps = Math.round(Number(said));
  return !said || Number.isNaN(steps) ? null : Math.min(MOST_STEPS, Math.max(LEAST_STEPS, steps));
}

const STATUS: Readonly<Record<RaceState['status'], string>> = {
  idle: '',
  preparing: 'Getting ready …',
  running: 'Running',
  pausing: 'Pausing …',
  paused: 'Paused',
  done: 'Finished',
  failed: 'Stopped',
};

interface ButtonsProps extends Pick<ReturnType<typeof useRace>, 'state' | 'send'> {
  readonly start: () => void;
}

function Buttons({ state: { status, race }, send, start }: ButtonsProps) {
  const under = race !== null && ['running', 'pausing', 'paused', 'done'].includes(status);
  const preparing = status === 'preparing';
  return (
    <div class="controls">
      {status === 'running' && (
        <button type="button" class="main" onClick={() => send({ kind: 'pause' })}>
          Pause
        </button>
      )}
      {status === 'paused' && (
        <button type="button" class="main" onClick={() => send({ kind: 'continue' })}>
          Continue
        </button>
      )}
      <button type="button" class={under ? '' : 'main'} disabled={preparing} onClick={start}>
        {under ? 'Restart' : 'Start'}
      </button>
      {under && (
        <button type="button" disabled={status === 'pausing'} onClick={() => send({ kind: 'save' })}>
          Save
        </button>
      )}
      <span role="status">{STATUS[status]}</span>
    </div>
  );
}
