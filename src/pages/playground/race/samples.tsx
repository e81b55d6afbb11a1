/** What each model writes at its last evaluation, after the same words of the held-out text. */
import { grouped } from '../../../printable.js';
import { ENTRANTS } from './entrants.js';
import { Swatch } from './entrants-table.js';
import type { EntrantState } from './state.js';

export function Samples({ entrants }: { readonly entrants: readonly EntrantState[] }) {
  if (!entrants.some(({ sample }) => sample)) return null;
  return (
    <>
      <h3>What they write</h3>
      <p class="soft">The grey words come from the held-out text; the model continues them.</p>
      <div class="samples">
        {entrants.map(({ sample }, i) => (
          <div class="card" key={ENTRANTS[i].id}>
            <p>
              <Swatch color={ENTRANTS[i].color} /> {ENTRANTS[i].label}
              {sample && <span class="soft">, step {grouped(sample.step)}</span>}
            </p>
            {sample && (
              <p class="written">
                <span class="soft">{sample.prompt}</span>
                {sample.text.replace(/\n\s*\n/g, '\n')}
              </p>
            )}
          </div>
        ))}
      </div>
    </>
  );
}
