/**
 * The exits: tokens exit early by a criterion, and a slider says how early. All thresholds are run in advance.
 */
import { useEffect, useState } from 'preact/hooks';
import type { ExitCriterion } from '../../../models/exits/options.js';
import { useAnswer, useModel } from '../model-client.js';
import type { ExitRuns } from '../messages.js';
import { ModelBar } from '../model-bar.js';
import type { PartProps } from '../part.js';
import { ExitCurve, ExitNumbers } from './measured.js';
import { ExitTokens } from './tokens.js';

// Not from a State of the Union address, so the model of this page has not been trained on it.
const TEXT =
  'Four score and seven years ago our fathers brought forth on this continent, a new nation, conceived in Liberty, and ' +
  'dedicated to the proposition that all men are created equal. Now we are engaged in a great civil war, testing whether ' +
  'that nation, or any nation so conceived and so dedicated, can long endure.';
/** Milliseconds without a change before a text is run. */
const SETTLE = 400;

/** What each criterion measures after a loop, in words. */
const CRITERIA: Readonly<Record<ExitCriterion, string>> = {
  confidence: 'confidence: the best guess is more probable than',
  entropy: 'entropy: the guesses are less spread out than (nats)',
  kl: 'KL: the guesses differ from the loop before’s by less than (nats)',
  change: 'change: the loop moved the state by less than (share of its length)',
  'second-difference': 'second difference: the move differs from the loop before’s by less than',
  geometric: 'the model’s own rule: it wants to stop with a probability above',
  multinomial: 'the model’s own rule, which chooses at the first loop',
  sequence: 'the model’s own rule, which chooses by the text so far',
};

export function Exits({ state, onState }: PartProps) {
  const model = useModel();
  const { facts } = model;
  const [text, setText] = useState(state.get('text') ?? TEXT);
  const [wanted, setWanted] = useState(state.get('by') ?? 'confidence');
  /** From 0, all loops, to 1, the most eager threshold. */
  const [eager, setEager] = useState(shareOf(state.get('eager')));
  const criteria = facts?.criteria ?? [];
  const criterion = criteria.find((known) => known === wanted) ?? criteria[0];
  const { answer, error, waiting } = useAnswer('exits', criterion ? { text, criterion } : null, SETTLE);
  useEffect(() => {
    const said = new URLSearchParams();
    if (text !== TEXT) said.set('text', text);
    if (wanted !== 'confidence') said.set('by', wanted);
    if (eager !== 0.5) said.set('eager', eager.toFixed(2));
    onState(said);
  }, [text, wanted, eager]);
  return (
    <>
      <p>
        Not every token needs every loop. An <em>exit</em> is a place after a loop where a token may stop: its
        state is read there, and the later loops are saved. A threshold says how soon.
      </p>
      <ModelBar {...model} />
      {facts?.noExits && <p role="alert">Tokens cannot exit this model early: {facts.noExits}.</p>}
      <label class="field">
        Text
        <textarea
          rows={4}
          value={text}
          spellcheck={false}
          onInput={({ currentTarget }) => setText(currentTarget.value)}
        />
      </label>
      <div class="controls">
        <label class="criterion">
          A token exits by
          <select value={criterion} onChange={({ currentTarget }) => setWanted(currentTarget.value)}>
            {criteria.map((name) => (
              <option key={name} value={name}>
                {CRITERIA[name]}
              </option>
            ))}
          </select>
        </label>
      </div>
      {error && <p role="alert">{error}</p>}
      {answer && <Measured measured={answer} eager={eager} onEager={setEager} waiting={waiting} />}
      {!answer && waiting && <p class="soft">Measuring …</p>}
    </>
  );
}

interface MeasuredProps {
  readonly measured: ExitRuns;
  readonly eager: number;
  readonly onEager: (eager: number) => void;
  readonly waiting: boolean;
}

function Measured({ measured, eager, onEager, waiting }: MeasuredProps) {
  const { runs, fixed, tokens, leftOut } = measured;
  const last = runs.length - 1;
  const at = Math.round(eager * last);
  const run = runs[at];
  const said = run.threshold === null ? 'none: all loops' : String(run.threshold);
  return (
    <div aria-busy={waiting}>
      <div class="sticky">
        <label class="field" for="threshold">
          Threshold: <output>{said}</output>
        </label>
        <input
          id="threshold"
          type="range"
          min={0}
          max={last}
          value={at}
          disabled={last === 0}
          aria-valuetext={`threshold ${said}, ${run.meanLoops.toFixed(2)} loops on average`}
          onInput={({ currentTarget }) => onEager(last === 0 ? 0 : currentTarget.valueAsNumber / last)}
        />
        <p class="ends soft" aria-hidden="true">
          <span>late: all loops</span>
          <span>early: few loops</span>
        </p>
      </div>
      {last === 0 && <p class="soft">No threshold lets a token of this text exit early by this criterion.</p>}
      <ExitNumbers run={run} full={runs[0]} count={fixed.length} />
      <ExitTokens tokens={tokens} run={run} count={fixed.length} />
      {leftOut > 0 && <p class="soft">The last {leftOut} tokens of the text are skipped.</p>}
      <ExitCurve measured={measured} run={run} />
    </div>
  );
}

function shareOf(said: string | null): number {
  const share = Number(said ?? 0.5);
  return share >= 0 && share <= 1 ? share : 0.5;
}
