/** What the model expects after one token, loop by loop. */
import type { InspectedToken, Prediction } from '../../../experiments/inspect.js';
import { counted, visible } from '../../../printable.js';
import { percent } from '../../shared/words.js';

export interface PredictionsProps {
  readonly token: InspectedToken;
  /** The token that follows in the text; null at its end. */
  readonly next: string | null;
  /** The current loop, counted from 1. */
  readonly loops: number;
  readonly onLoops: (loops: number) => void;
}

/** The most probable tokens after `loops` loops. */
export function TopTokens({ token, next, loops }: Omit<PredictionsProps, 'onLoops'>) {
  const { top } = token.exits[loops - 1];
  return (
    <div class="card">
      <h3>
        After <code>{visible(token.text)}</code> and {counted(loops, 'loop')}
      </h3>
      <ol class="bars" aria-label="Most probable next tokens">
        {top.map((prediction) => (
          <li key={prediction.id}>
            <Bar prediction={prediction} right={prediction.text === next} />
          </li>
        ))}
      </ol>
      {next !== null && (
        <p class="soft">
          The text continues with <code>{visible(next)}</code>: {lossOf(token, loops)}.
        </p>
      )}
    </div>
  );
}

/** A row for each loop: the best guess, whether it has changed, and how far the state has moved. */
export function LoopTable({ token, next, loops, onLoops }: PredictionsProps) {
  const { exits } = token;
  return (
    <div class="card">
      <h3>
        Loop by loop after <code>{visible(token.text)}</code>
      </h3>
      <div class="scroll">
        <table class="loops">
          <thead>
            <tr>
              <th scope="col">Loops</th>
              <th scope="col">Best guess</th>
              {next !== null && <th scope="col">Loss</th>}
              <th scope="col">Moved</th>
            </tr>
          </thead>
          <tbody>
            {exits.map(({ top, loss, relative }, n) => {
              const changed = n > 0 && top[0].id !== exits[n - 1].top[0].id;
              return (
                <tr key={`${n + 1}`} aria-current={n + 1 === loops ? 'true' : undefined}>
                  <th scope="row">
                    <button
                      type="button"
                      aria-label={`Show ${counted(n + 1, 'loop')}`}
                      onClick={() => onLoops(n + 1)}
                    >
                      {n + 1}
                    </button>
                  </th>
                  <td>
                    <Bar prediction={top[0]} right={top[0].text === next} />
                    {changed && <span class="changed">the answer changes here</span>}
                  </td>
                  {next !== null && <td>{loss?.toFixed(3)}</td>}
                  <td>{relative === null ? '–' : relative.toFixed(2)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      <p class="soft">
        Loss: −ln of the probability of what follows, in nats; 0 is certainty. Moved: the length of the change
        that a loop makes to the hidden state, divided by the state’s length.
      </p>
    </div>
  );
}

function Bar({ prediction: { text, probability }, right }: { prediction: Prediction; right: boolean }) {
  return (
    <span class={right ? 'bar right' : 'bar'} style={{ '--share': `${(100 * probability).toFixed(1)}%` }}>
      <code>{visible(text)}</code>
      <span>{percent(probability)}</span>
    </span>
  );
}

function lossOf({ exits }: InspectedToken, loops: number): string {
  const { loss } = exits[loops - 1];
  return loss === null ? '' : `${percent(Math.exp(-loss))} probable, a loss of ${loss.toFixed(2)} nats`;
}
