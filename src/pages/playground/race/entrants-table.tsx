/** The race in numbers: each model's name, cost, speed and losses. */
import { grouped } from '../../../printable.js';
import { Scroll } from '../../shared/scroll.js';
import { ENTRANTS } from './entrants.js';
import { type EntrantState, speedOf } from './state.js';

export function EntrantsTable({ entrants }: { readonly entrants: readonly EntrantState[] }) {
  return (
    <Scroll label="The models in numbers">
      <table class="entrants">
        <thead>
          <tr>
            <th scope="col">Model</th>
            <th scope="col">Parameters</th>
            <th scope="col">FLOPs per token</th>
            <th scope="col">Tokens/s</th>
            <th scope="col">Step</th>
            <th scope="col">Training loss</th>
            <th scope="col">Held-out loss</th>
          </tr>
        </thead>
        <tbody>
          {entrants.map((entrant, i) => {
            const { cost, step, train, val } = entrant;
            const speed = speedOf(entrant);
            return (
              <tr key={ENTRANTS[i].id}>
                <th scope="row">
                  <Swatch color={ENTRANTS[i].color} /> {ENTRANTS[i].label}
                </th>
                <td>{grouped(cost.parameters)}</td>
                <td>{grouped(cost.flopsPerToken)}</td>
                <td>{speed === null ? '–' : grouped(speed)}</td>
                <td>{grouped(step)}</td>
                <td>{lossOf(train.y)}</td>
                <td>{lossOf(val.y)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Scroll>
  );
}

export function Swatch({ color }: { readonly color: string }) {
  return <span class="swatch" style={{ background: color }} aria-hidden="true" />;
}

const lossOf = (losses: readonly number[]) => losses.at(-1)?.toFixed(3) ?? '–';
