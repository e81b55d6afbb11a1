/** What each model writes by now, after the same words of the text that is held out. */
import { grouped } from '../../../printable.js';
import { ENTRANTS } from './entrants.js';
import { Swatch } from './entrants-table.js';
import type { EntrantState } from './state.js';

export function Samples({ entrants }: { readonly entrants: readonly EntrantState[] }) {
  if (!entrants.some(({ sample }) => sample)) return null;
  return (
    <>
      <h3>What they write</h3>
      <p class="soft">The grey words are from the text that is held out; the model goes on from there.</p>
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
