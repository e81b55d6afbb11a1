/** The learned gates: a strip of colours for each loop, channel after channel. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { LoopForm } from '../../../backend/options.js';
import type { Gates } from '../messages.js';
import { rgbOf, shadeOf } from '../palette.js';

export interface GateMapProps {
  readonly gates: readonly Gates[];
  readonly form: LoopForm;
  readonly loops: number;
}

export function GateMap({ gates, form, loops }: GateMapProps) {
  const [sorted, setSorted] = useState(false);
  if (gates.length === 0) return null;
  return (
    <div class="card">
      <h3>Gates by loop and channel</h3>
      <p class="soft">
        A gate is a learned number for a loop and a channel of the state. It says how much of{' '}
        {form === 'correction'
          ? 'the step from the old state to the layers’ result is taken: 0 keeps the state, 1 replaces it.'
          : 'the layers’ result is added to the state: 0 leaves the state as it is.'}
      </p>
      {gates.map((own) => (
        <Strips
          key={own.name}
          gates={own}
          sorted={sorted}
          now={Math.min(loops, own.loops)}
          named={gates.length > 1}
        />
      ))}
      {gates[0].width > 1 && (
        <div class="controls">
          <label>
            <input
              type="checkbox"
              checked={sorted}
              onChange={({ currentTarget }) => setSorted(currentTarget.checked)}
            />
            Sort the channels by their mean
          </label>
        </div>
      )}
    </div>
  );
}

interface StripsProps {
  readonly gates: Gates;
  readonly sorted: boolean;
  /** The current loop, counted from 1. */
  readonly now: number;
  readonly named: boolean;
}

function Strips({ gates: { name, loops, width, values }, sorted, now, named }: StripsProps) {
  const { low, high, rows, order } = useMemo(() => summaryOf(values, loops, width), [values]);
  const [at, setAt] = useState<{ readonly loop: number; readonly channel: number } | null>(null);
  const channels = sorted ? order : null;
  const share = (value: number) => (high === low ? 0.5 : (value - low) / (high - low));
  return (
    <div class="gates">
      {named && (
        <h4>
          <code>{name}</code>
        </h4>
      )}
      <table>
        <thead>
          <tr>
            <th scope="col">Loop</th>
            <th scope="col" class="wide">
              {width === 1 ? 'Gate' : `${width} channels`}
            </th>
            <th scope="col">Mean</th>
            <th scope="col">Norm</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ mean, norm }, n) => (
            <tr key={`${n + 1}`} aria-current={n + 1 === now ? 'true' : undefined}>
              <th scope="row">{n + 1}</th>
              <td class="wide">
                <Strip
                  label={`Loop ${n + 1}: gates around ${mean.toFixed(2)}`}
                  width={width}
                  valueAt={(x) => values[n * width + (channels ? channels[x] : x)]}
                  share={share}
                  key={sorted ? 'sorted' : 'in order'}
                  onAt={(x) => setAt(x === null ? null : { loop: n, channel: channels ? channels[x] : x })}
                />
              </td>
              <td>{mean.toFixed(3)}</td>
              <td>{norm.toFixed(3)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="scale">
        <span>{low.toFixed(2)}</span>
        <span class="ramp" style={{ background: RAMP }} aria-hidden="true" />
        <span>{high.toFixed(2)}</span>
        <span class="soft">
          {at
            ? `loop ${at.loop + 1}, channel ${at.channel}: ${values[at.loop * width + at.channel].toFixed(3)}`
            : 'Norm: divided by the root of the number of channels'}
        </span>
      </p>
    </div>
  );
}

const RAMP = `linear-gradient(to right, ${[0, 0.2, 0.4, 0.6, 0.8, 1].map((share) => shadeOf(share).background).join(', ')})`;

interface StripProps {
  readonly label: string;
  readonly width: number;
  readonly valueAt: (x: number) => number;
  readonly share: (value: number) => number;
  readonly onAt: (x: number | null) => void;
}

/** One pixel for each channel, stretched to the available width. */
function Strip({ label, width, valueAt, share, onAt }: StripProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (!context) return;
    const image = context.createImageData(width, 1);
    for (let x = 0; x < width; x++) image.data.set([...rgbOf(share(valueAt(x))), 255], 4 * x);
    context.putImageData(image, 0, 0);
  }, [valueAt, share]);
  return (
    <canvas
      ref={canvas}
      width={width}
      height={1}
      role="img"
      aria-label={label}
      onPointerMove={(event) => {
        const { left, width: wide } = event.currentTarget.getBoundingClientRect();
        onAt(Math.min(width - 1, Math.max(0, Math.floor(((event.clientX - left) / wide) * width))));
      }}
      onPointerLeave={() => onAt(null)}
    />
  );
}

/** The bounds of all values, the mean and norm of each loop, and the channels sorted by their mean over loops. */
function summaryOf(values: Float32Array, loops: number, width: number) {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const sums = new Float64Array(width);
  const rows = Array.from({ length: loops }, (_, n) => {
    let [sum, squares] = [0, 0];
    for (let x = 0; x < width; x++) {
      const value = values[n * width + x];
      sums[x] += value;
      sum += value;
      squares += value ** 2;
    }
    return { mean: sum / width, norm: Math.sqrt(squares / width) };
  });
  const order = Array.from(sums.keys()).sort((a, b) => sums[a] - sums[b]);
  return { low, high, rows, order };
}
