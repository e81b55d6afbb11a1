/** A text's tokens, coloured by the loops that each took, with their number beside them. */
import { counted, visible } from '../../../printable.js';
import type { ExitRun } from '../messages.js';
import { shadeOf } from '../palette.js';

export interface ExitTokensProps {
  readonly tokens: readonly string[];
  readonly run: ExitRun;
  /** Number of the model's loops. */
  readonly count: number;
}

export function ExitTokens({ tokens, run: { loops, losses }, count }: ExitTokensProps) {
  const shades = Array.from({ length: count }, (_, n) => shadeOf(count === 1 ? 1 : n / (count - 1)));
  const taken = shades.map((_, n) => loops.reduce((sum, own) => sum + (own === n + 1 ? 1 : 0), 0));
  return (
    <>
      <p class="legend">
        {shades.map((shade, n) => (
          <span key={`${n + 1}`} class="token" style={{ ...shade }}>
            {counted(n + 1, 'loop')}: {taken[n]}
          </span>
        ))}
      </p>
      <p class="tokens exits">
        {tokens.map((text, t) => (
          <span
            key={`${t} ${text}`}
            class="token"
            style={{ ...shades[loops[t] - 1] }}
            title={t + 1 < tokens.length ? `loss ${losses[t].toFixed(2)} nats` : 'nothing follows'}
          >
            {visible(text)}
            <sub>{loops[t]}</sub>
          </span>
        ))}
      </p>
    </>
  );
}
