/** The text that a run generates, from evaluation to evaluation. */
import { useState } from 'preact/hooks';
import { counted, grouped } from '../../printable.js';
import { short } from '../shared/words.js';
import type { Run } from './runs.js';

export function Samples({ run }: { readonly run: Run }) {
  const [place, setPlace] = useState<number | null>(null);
  const found = run.evals.filter(({ sample }) => sample !== undefined);
  if (found.length === 0)
    return (
      <p class="soft">
        No sample of its text yet: one comes with each evaluation, if the data has a tokenizer.
      </p>
    );
  const at = place === null ? found.length - 1 : Math.min(place, found.length - 1);
  const { step, valLoss, sample, loops } = found[at];
  return (
    <div class="card">
      <label class="history">
        Sample at step {grouped(step)} (validation loss {short(valLoss)}
        {loops === undefined ? '' : `, ${counted(loops, 'loop')}`})
        <input
          type="range"
          min={0}
          max={found.length - 1}
          value={at}
          disabled={found.length === 1}
          aria-valuetext={`step ${step}`}
          onInput={(event) => {
            const next = Number(event.currentTarget.value);
            setPlace(next === found.length - 1 ? null : next);
          }}
        />
      </label>
      <blockquote class="sample">{sample}</blockquote>
    </div>
  );
}
