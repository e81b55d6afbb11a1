/** Settings for answers: loops, sampling, early exits. */
import type { Model } from './api.js';

/** The values of the form's fields; '' for the server's default. */
export interface Settings {
  readonly loops: string;
  readonly temperature: string;
  readonly topK: string;
  readonly topP: string;
  readonly maxTokens: string;
  readonly seed: string;
  readonly criterion: string;
  readonly threshold: string;
}

export const DEFAULT_SETTINGS: Settings = {
  loops: '',
  temperature: '0.8',
  topK: '',
  topP: '',
  maxTokens: '100',
  seed: '',
  criterion: '',
  threshold: '',
};

/** The fields of a request. */
export function requested(settings: Settings): Record<string, unknown> {
  const { loops, temperature, topK, topP, maxTokens, seed, criterion, threshold } = settings;
  const exit = {
    ...(criterion === '' ? {} : { criterion }),
    ...(threshold === '' ? {} : { threshold: Number(threshold) }),
  };
  const numbers = { loops, temperature, top_k: topK, top_p: topP, max_tokens: maxTokens, seed };
  const given = Object.entries(numbers).filter(([, value]) => value !== '');
  return {
    ...Object.fromEntries(given.map(([name, value]) => [name, Number(value)])),
    ...(Object.keys(exit).length > 0 ? { exit } : {}),
  };
}

export interface SettingsProps {
  readonly model: Model | null;
  readonly settings: Settings;
  readonly onChange: (changed: Partial<Settings>) => void;
}

export function SettingsFields({ model, settings, onChange }: SettingsProps) {
  const number = (
    name: keyof Settings,
    label: string,
    limits: { min?: number; max?: number; step?: number | 'any'; placeholder?: string },
  ) => (
    <label>
      {label}
      <input
        type="number"
        value={settings[name]}
        onInput={({ currentTarget }) => onChange({ [name]: currentTarget.value })}
        {...limits}
      />
    </label>
  );
  const { default: all = 1, most = 1 } = model?.loops ?? {};
  return (
    <>
      <div class="settings">
        {all > 1 &&
          number('loops', 'Loops for each token', { min: 1, max: most, placeholder: `${all}, as trained` })}
        {number('temperature', 'Temperature', { min: 0, max: 2, step: 'any', placeholder: '1' })}
        {number('maxTokens', 'Maximum tokens', { min: 1 })}
        {number('topK', 'Top k', { min: 1, placeholder: 'off' })}
        {number('topP', 'Top p', { min: 0, max: 1, step: 'any', placeholder: 'off' })}
        {number('seed', 'Seed', { placeholder: 'random' })}
      </div>
      {model && model.exit_criteria.length > 0 && (
        <div class="settings wide">
          <label>
            Stop looping early by
            <select
              value={settings.criterion}
              onChange={({ currentTarget }) => onChange({ criterion: currentTarget.value })}
            >
              <option value="">the model’s default</option>
              {model.exit_criteria.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
          {settings.criterion !== '' && number('threshold', 'Threshold', { min: 0, step: 'any' })}
        </div>
      )}
    </>
  );
}
