/**
 * The slider: what a model predicts for a text after one loop, two loops, and so on. All loops are computed when the
 * text changes.
 */
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { Inspection } from '../../../experiments/inspect.js';
import { seriesColor } from '../../../experiments/style.js';
import { counted } from '../../../printable.js';
import { Chart } from '../../shared/chart.js';
import { useAnswer, useModel } from '../model-client.js';
import { ModelBar } from '../model-bar.js';
import type { PartProps } from '../part.js';
import { Attention } from './attention.js';
import { Continuation } from './continuation.js';
import { GateMap } from './gates.js';
import { LoopTable, TopTokens } from './predictions.js';
import { TokenPicker } from './token-picker.js';

const TEXT = 'Let us ask not what our country can do for us, but what we can do for';
/** Milliseconds without a change before a text is read. */
const SETTLE = 120;
/** Nats at which a token's colour is strongest. */
const STRONGEST = 8;

export function Slider({ state, onState }: PartProps) {
  const model = useModel();
  const [text, setText] = useState(state.get('text') ?? TEXT);
  const [wanted, setWanted] = useState(wholeOf(state.get('loops')) ?? Number.POSITIVE_INFINITY);
  const [chosen, setChosen] = useState(wholeOf(state.get('token')));
  const { answer, error, to } = useAnswer('inspect', { text }, SETTLE);
  useEffect(() => {
    const said = new URLSearchParams();
    if (text !== TEXT) said.set('text', text);
    if (Number.isFinite(wanted)) said.set('loops', String(wanted));
    if (chosen !== null) said.set('token', String(chosen));
    onState(said);
  }, [text, wanted, chosen]);

  const change = (value: string) => {
    setText(value);
    setChosen(null);
  };
  return (
    <>
      <p>
        Move the slider to see what the model expects next after one loop, two loops, and so on, and how the
        hidden state, the numbers that it carries from loop to loop, moves.
      </p>
      <ModelBar {...model} />
      <label class="field">
        Text that the model reads
        <textarea
          id="slider-text"
          rows={2}
          value={text}
          spellcheck={false}
          onInput={({ currentTarget }) => change(currentTarget.value)}
        />
      </label>
      {error && <p role="alert">{error}</p>}
      {answer && (
        <Inspected
          inspection={answer}
          text={to!.text}
          wanted={wanted}
          onLoops={setWanted}
          chosen={chosen}
          onToken={setChosen}
        />
      )}
    </>
  );
}

interface InspectedProps {
  readonly inspection: Inspection;
  readonly text: string;
  readonly wanted: number;
  readonly onLoops: (loops: number) => void;
  /** Null for the last token. */
  readonly chosen: number | null;
  readonly onToken: (token: number) => void;
}

function Inspected({ inspection, text, wanted, onLoops, chosen, onToken }: InspectedProps) {
  const { facts } = useModel();
  const { tokens } = inspection;
  const count = tokens[0].exits.length;
  const loops = Math.min(count, Math.max(1, wanted));
  const picked = Math.min(tokens.length - 1, Math.max(0, chosen ?? tokens.length - 1));
  const token = tokens[picked];
  const next = tokens[picked + 1]?.text ?? null;
  const byLoop = useMemo(() => meansByLoop(inspection), [inspection]);
  const shades = tokens.map(({ text }, t) => {
    const before = t === 0 ? null : tokens[t - 1].exits[loops - 1];
    const loss = before?.loss ?? null;
    return {
      text,
      weight: loss === null ? 0 : Math.min(1, loss / STRONGEST),
      title: loss === null ? 'the first token' : `loss ${loss.toFixed(2)} nats`,
      underlined: before?.top[0].id === tokens[t].id,
    };
  });
  return (
    <>
      <div class="sticky">
        <label class="field" for="loops">
          Loops: <output>{loops}</output> of {count}
        </label>
        <input
          id="loops"
          type="range"
          min={1}
          max={count}
          value={loops}
          disabled={count === 1}
          aria-valuetext={`${counted(loops, 'loop')} of ${count}`}
          onInput={({ currentTarget }) => onLoops(currentTarget.valueAsNumber)}
        />
      </div>
      {count === 1 && <p class="soft">This model does not loop: it reads its state once, at the end.</p>}
      <TokenPicker label="Tokens of the text" tokens={shades} picked={picked} onPick={onToken} />
      <p class="soft">
        Pick a token to see what the model expects after it. The stronger a token’s colour, the less the model
        expected it after {counted(loops, 'loop')}, up to {STRONGEST} nats of loss. Underlined tokens were the
        best guess.
      </p>
      <div class="columns">
        <div class="stack">
          <TopTokens token={token} next={next} loops={loops} />
          {byLoop.losses.length > 1 && tokens.length > 1 && (
            <Chart
              title="Loss of this text by loop"
              xLabel="loops"
              unit="nats per token"
              height={220}
              curves={[
                { label: 'loss', color: seriesColor(0), dots: true, ...byLoop.curve },
                {
                  label: 'now',
                  color: seriesColor(1),
                  dots: true,
                  x: [loops],
                  y: [byLoop.losses[loops - 1]],
                },
              ]}
              says={`After ${counted(loops, 'loop')}: ${byLoop.losses[loops - 1].toFixed(3)} nats per token, over the ${tokens.length - 1} tokens after the first.`}
            />
          )}
          <Attention tokens={tokens} text={text} loops={loops} picked={picked} />
          <Continuation text={text} loops={loops} count={count} />
        </div>
        <div class="stack">
          <LoopTable token={token} next={next} loops={loops} onLoops={onLoops} />
          {facts && <GateMap gates={facts.gates} form={facts.config.loopForm} loops={loops} />}
        </div>
      </div>
    </>
  );
}

/** The mean loss of the text's tokens after each loop. */
function meansByLoop({ tokens }: Inspection) {
  const losses = tokens[0].exits.map((_, n) => {
    const known = tokens.flatMap(({ exits }) => exits[n].loss ?? []);
    return known.reduce((sum, loss) => sum + loss, 0) / known.length;
  });
  return { losses, curve: { x: losses.map((_, n) => n + 1), y: losses } };
}

function wholeOf(said: string | null): number | null {
  return said !== null && /^\d+$/.test(said) ? Number(said) : null;
}
