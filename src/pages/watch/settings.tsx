/** Configurations side by side, with the differences marked. */
import { grouped, metric } from '../../printable.js';
import { short } from '../shared/words.js';
import { Scroll } from '../shared/scroll.js';
import { colorOf } from './curves.js';
import type { Run } from './runs.js';

interface SettingsProps {
  readonly runs: readonly Run[];
  /** Whether settings in which all runs agree are shown too. */
  readonly same: boolean;
  readonly onSame: (same: boolean) => void;
}

export function Settings({ runs, same, onSame }: SettingsProps) {
  const rows = rowsOf(runs);
  const differ = rows.filter(({ differs }) => differs);
  const shown = same || runs.length === 1 ? rows : differ;
  return (
    <section>
      <h2>Settings</h2>
      {runs.length > 1 && (
        <label class="switch">
          <input type="checkbox" checked={same} onChange={(event) => onSame(event.currentTarget.checked)} />
          also the {rows.length - differ.length} settings in which all agree
        </label>
      )}
      {shown.length === 0 ? (
        <p class="soft">The runs that are on agree in all settings.</p>
      ) : (
        <div class="card">
          <Scroll label="Table of settings">
            <table>
              <thead>
                <tr>
                  <th scope="col">setting</th>
                  {runs.map((run) => (
                    <th scope="col" class="value" key={run.info.id}>
                      <span class="swatch" style={{ background: colorOf(run) }} /> {run.info.name}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {shown.map(({ name, values, differs }) => (
                  <tr key={name} class={differs && runs.length > 1 ? 'differs' : ''}>
                    <th scope="row" class="setting">
                      {name}
                      {differs && runs.length > 1 && <span class="soft"> ≠</span>}
                    </th>
                    {values.map((value, i) => (
                      <td class="value" key={runs[i].info.id}>
                        {value}
                      </td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </Scroll>
        </div>
      )}
    </section>
  );
}

interface Row {
  readonly name: string;
  readonly values: readonly string[];
  readonly differs: boolean;
}

function rowsOf(runs: readonly Run[]): Row[] {
  const names = (part: 'model' | 'train') => [
    ...new Set(runs.flatMap(({ info }) => Object.keys(info[part]))),
  ];
  const row = (name: string, value: (run: Run) => unknown): Row => {
    const values = runs.map((run) => textOf(value(run)));
    return { name, values, differs: new Set(values).size > 1 };
  };
  return [
    row('parameters', ({ info }) => info.parameters && grouped(info.parameters)),
    row('training FLOPs per token', ({ info }) => info.flopsPerToken && metric(info.flopsPerToken)),
    ...names('model').map((name) => row(name, ({ info }) => info.model[name])),
    ...names('train').map((name) => row(name, ({ info }) => info.train[name])),
    row('machine', ({ info }) => info.result?.machine),
    row('backend', ({ info }) => info.result?.backend),
    row('commit', ({ info }) => info.result?.commit),
    row('bits per byte, held-out', ({ info }) => info.result?.bpb && short(info.result.bpb)),
  ].filter(({ values }) => values.some((value) => value !== '–'));
}

function textOf(value: unknown): string {
  if (value === undefined || value === null) return '–';
  if (typeof value === 'number') return String(Number(value.toPrecision(12)));
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
