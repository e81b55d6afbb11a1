/** An answer, shaded token by token. Details show the token under the pointer, or chosen by the arrow keys. */
import { useState } from 'preact/hooks';
import { counted, visible } from '../../printable.js';
import { percent } from '../shared/words.js';
import {
  type Coloring,
  likelihood,
  loopsOf,
  type Piece,
  shadeOfLoops,
  shadeOfProbability,
  tellingColoring,
} from './pieces.js';

/** A prompt and its answer. */
export interface Turn {
  readonly prompt: string;
  readonly pieces: readonly Piece[];
  /** How the answer ended; null while it is made. */
  readonly end: string | null;
}

export interface AnswerProps {
  readonly turns: readonly Turn[];
  /** Whether the turns are a dialogue. */
  readonly chat: boolean;
}

export function Answer({ turns, chat }: AnswerProps) {
  const [wanted, setColoring] = useState<Coloring | null>(null);
  const [chosen, setChosen] = useState<readonly [turn: number, piece: number] | null>(null);
  const pieces = turns.flatMap((turn) => turn.pieces);
  const coloring = wanted ?? tellingColoring(pieces);
  const most = Math.max(1, ...pieces.map(loopsOf));
  const shade = (piece: Piece) => {
    if (piece.tokens.length === 0) return 0;
    return coloring === 'loops' ? shadeOfLoops(loopsOf(piece), most) : shadeOfProbability(likelihood(piece));
  };
  const [turn, at] = chosen ?? [turns.length - 1, -1];
  const piece = turns[turn]?.pieces[at];
  const move = (event: KeyboardEvent, own: number) => {
    const { length } = turns[own].pieces;
    const from = turn === own ? at : -1;
    const to = { ArrowRight: from + 1, ArrowLeft: from - 1, Home: 0, End: length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    setChosen([own, Math.min(length - 1, Math.max(0, to))]);
  };
  return (
    <>
      <div class="controls">
        <label>
          Shade by
          <select
            value={coloring}
            onChange={({ currentTarget }) => setColoring(currentTarget.value as Coloring)}
          >
            <option value="loops">loops</option>
            <option value="probability">probability</option>
          </select>
        </label>
        <Legend coloring={coloring} most={most} />
      </div>
      {turns.map(({ prompt, pieces: own, end }, t) => (
        <div key={t}>
          {chat && <h3>You</h3>}
          {chat && <p class="text">{prompt}</p>}
          {chat && <h3>Model</h3>}
          <section
            class="text answer"
            aria-label="answer: the arrow keys go from token to token"
            // biome-ignore lint/a11y/noNoninteractiveTabindex: the arrow keys choose a token inside
            tabIndex={0}
            onKeyDown={(event) => move(event, t)}
          >
            {!chat && <span class="soft">{prompt}</span>}
            {own.map((one, i) => (
              <span
                key={i}
                class={t === turn && i === at ? 'piece chosen' : 'piece'}
                style={`--shade:${shade(one)}%`}
                onPointerEnter={() => setChosen([t, i])}
              >
                {one.text}
              </span>
            ))}
            {end === null && <span class="soft"> …</span>}
          </section>
          {end !== null && <p class="soft end">{end}</p>}
        </div>
      ))}
      <div class="details" aria-live="polite">
        {piece ? (
          <Details piece={piece} />
        ) : (
          <p class="soft">
            Point at a word of the answer, or go there with the arrow keys, to see how it was chosen.
          </p>
        )}
      </div>
    </>
  );
}

/** The probability and loops of a piece's tokens, with their most probable alternatives. */
function Details({ piece }: { readonly piece: Piece }) {
  if (piece.tokens.length === 0) return <p class="soft">Text that was held back until the answer ended.</p>;
  return (
    <>
      {piece.tokens.map(({ name, probability, loops, top }, i) => (
        <div key={i}>
          <p>
            <code class="named">{visible(name)}</code> probability {percent(probability)},{' '}
            {counted(loops, 'loop')}
          </p>
          <ul>
            {top.map((other) => (
              <li key={other.name}>
                <code>{visible(other.name)}</code>
                <span>{percent(other.probability)}</span>
                <span class="bar" style={`width:${(8 * other.probability).toFixed(2)}rem`} />
              </li>
            ))}
          </ul>
        </div>
      ))}
    </>
  );
}

function Legend({ coloring, most }: { readonly coloring: Coloring; readonly most: number }) {
  const counts = Array.from({ length: most }, (_, i) => i + 1);
  const shown = most <= 8 ? counts : [1, Math.round(most / 2), most];
  const swatches =
    coloring === 'loops'
      ? shown.map((loops) => [String(loops), shadeOfLoops(loops, most)] as const)
      : [1, 0.3, 0.1, 0.03, 0.01].map((p) => [`${100 * p} %`, shadeOfProbability(p)] as const);
  const says =
    coloring === 'loops' ? 'deeper: more loops for the token' : 'deeper: less expected by the model';
  return (
    <span class="legend">
      {swatches.map(([name, percentage]) => (
        <span key={name} class="piece" style={`--shade:${percentage}%`}>
          {name}
        </span>
      ))}
      <span class="soft">{says}</span>
    </span>
  );
}
