/** The controls for how all charts are drawn. */
import { AXIS_NAMES } from './charts.js';
import { AXES, type Axis } from './runs.js';
import type { View } from './view.js';

interface ControlsProps {
  readonly view: View;
  readonly onChange: (changed: Partial<View>) => void;
}

/** Weights by position of the slider: finer towards 1, where small differences matter. */
const WEIGHTS = [0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998];

export function Controls({ view, onChange }: ControlsProps) {
  const { axis, logX, logY, smoothing, zoom } = view;
  const place = WEIGHTS.findLastIndex((weight) => weight <= smoothing);
  return (
    <section class="controls card" aria-label="How charts are drawn">
      <label>
        Against
        <select
          value={axis}
          onChange={(event) => onChange({ axis: event.currentTarget.value as Axis, zoom: null })}
        >
          {AXES.map((name) => (
            <option key={name} value={name}>
              {AXIS_NAMES[name]}
            </option>
          ))}
        </select>
      </label>
      <label>
        <input
          type="checkbox"
          checked={logX}
          onChange={(event) => onChange({ logX: event.currentTarget.checked, zoom: null })}
        />
        log x axis
      </label>
      <label>
        <input
          type="checkbox"
          checked={logY}
          onChange={(event) => onChange({ logY: event.currentTarget.checked })}
        />
        log y axis
      </label>
      <label class="smoothing">
        Smoothing
        <input
          type="range"
          min={0}
          max={WEIGHTS.length - 1}
          value={place}
          aria-valuetext={smoothing === 0 ? 'none' : String(smoothing)}
          onInput={(event) => onChange({ smoothing: WEIGHTS[Number(event.currentTarget.value)] })}
        />
        <output>{smoothing === 0 ? 'none' : smoothing}</output>
      </label>
      <button type="button" disabled={zoom === null} onClick={() => onChange({ zoom: null })}>
        Show all
      </button>
      <p class="soft hint">
        Drag across a chart to zoom, with Shift to move; double-click shows all. One finger moves, two fingers
        zoom. All charts move together.
      </p>
    </section>
  );
}
