/** The tokens that a loop attends to from the picked token, computed on demand. */
import { useState } from 'preact/hooks';
import type { InspectedToken } from '../../../experiments/inspect.js';
import { visible } from '../../../printable.js';
import { percent } from '../../shared/words.js';
import { useAnswer } from '../model-client.js';

export interface AttentionProps {
  readonly tokens: readonly InspectedToken[];
  readonly text: string;
  readonly loops: number;
  readonly picked: number;
}

/** Stands for the mean over all heads. */
const ALL = -1;

export function Attention({ tokens, text, loops, picked }: AttentionProps) {
  const [open, setOpen] = useState(false);
  const [head, setHead] = useState(ALL);
  const { answer, error, waiting } = useAnswer('attention', open ? { text, loop: loops } : null, 0);
  const T = tokens.length;
  const heads = answer ? answer.length / (T * T) : 0;
  const fits = Number.isInteger(heads) && heads > 0;
  const weights = answer && fits ? rowOf(answer, T, picked, Math.min(head, heads - 1)) : null;
  return (
    <details class="card" onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>
        <h3>What it looks at</h3>
      </summary>
      {error && <p role="alert">{error}</p>}
      {weights && (
        <>
          <div class="controls">
            <label>
              Head
              <select
                value={String(head)}
                onChange={({ currentTarget }) => setHead(Number(currentTarget.value))}
              >
                <option value={String(ALL)}>mean of all {heads}</option>
                {Array.from({ length: heads }, (_, h) => (
                  <option key={`${h + 1}`} value={String(h)}>
                    {h + 1}
                  </option>
                ))}
              </select>
            </label>
          </div>
          <p class="tokens">
            {tokens.slice(0, picked + 1).map(({ text: token }, s) => (
              <span
                key={`${s} ${token}`}
                class="token"
                style={{ '--weight': `${Math.round(45 * Math.sqrt(weights[s]))}%` }}
                title={percent(weights[s])}
              >
                {visible(token)}
              </span>
            ))}
          </p>
          <p class="soft">
            Attention in loop {loops} at <code>{visible(tokens[picked].text)}</code>: how much it takes from
            each token, in a stronger colour for more. Most: {most(weights, tokens)}.
          </p>
        </>
      )}
      {open && !weights && !error && (
        <p class="soft">
          {waiting
            ? 'Computing …'
            : 'Nothing: the model’s own rule has stopped every token before this loop.'}
        </p>
      )}
    </details>
  );
}

/** The attention weights (T) at a token, of one head or as the mean of all heads. */
function rowOf(weights: Float32Array, T: number, token: number, head: number): Float32Array {
  const row = (h: number) => weights.subarray((h * T + token) * T, (h * T + token + 1) * T);
  if (head !== ALL) return row(head);
  const heads = weights.length / (T * T);
  return Float32Array.from({ length: T }, (_, s) => {
    let sum = 0;
    for (let h = 0; h < heads; h++) sum += row(h)[s];
    return sum / heads;
  });
}

function most(weights: Float32Array, tokens: readonly InspectedToken[]): string {
  return Array.from(weights.keys())
    .sort((a, b) => weights[b] - weights[a])
    .slice(0, 3)
    .filter((s) => weights[s] > 0)
    .map((s) => `‘${visible(tokens[s].text)}’ ${percent(weights[s])}`)
    .join(', ');
}
