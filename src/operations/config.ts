/** Configurations from a preset or a file, and fields that override it. */
import { ConfigError } from '../errors.js';
import { type OptionNames, requireOptionNames } from '../fields.js';
import { readConfigFile, readPreset } from '../node/presets.js';
import { type ModelConfig, requireSharing } from '../models/config.js';
import {
  type GivenFields,
  overrideTrain,
  parseRunConfig,
  requireEffect,
  type RunConfig,
  type TrainConfig,
} from '../train/config.js';

/** The configuration of a run: a preset, or a configuration file, and fields that override it. */
export interface ConfigOptions {
  /** Name of a preset: `loopnn params` lists them. */
  readonly preset?: string | undefined;
  /** Path of a configuration file; a copy of a preset is one. */
  readonly config?: string | undefined;
  readonly model?: Partial<ModelConfig>;
  /** `minLr` follows `lr`, and `warmupSteps` a small `maxSteps`, unless they are given. */
  readonly train?: Partial<TrainConfig>;
}

const CONFIG_OPTIONS: OptionNames<ConfigOptions> = { preset: true, config: true, model: true, train: true };

/**
 * The configuration that the options choose. `defaults` has model fields that neither the preset nor the fields set.
 * Throws ConfigError naming the field, also if a given field has no effect.
 *
 * @example
 * const { model } = chooseConfig({ preset: 'mini-1x2', model: { nLoop: 4 } });
 * console.log(model.nLayer, model.nLoop); // 1 4
 */
export function chooseConfig(options: ConfigOptions, defaults: Partial<ModelConfig> = {}): RunConfig {
  requireOptionNames('chooseConfig', options, CONFIG_OPTIONS);
  const { preset, config, model: modelFields = {}, train: trainFields = {} } = options;
  if (preset !== undefined && config !== undefined) {
    throw new ConfigError('--config', 'must not be given together with --preset', config);
  }
  const base =
    preset === undefined ? (config === undefined ? {} : readConfigFile(config)) : readPreset(preset);
  const where = preset === undefined ? (config ?? 'flags') : `preset ${preset}`;
  // The first parse checks the file alone, so that its errors are reported as the file's.
  const alone = parseRunConfig(base, where);
  const { model, train } = base as GivenFields;
  requireEffect({ model, train }, [alone], where);
  const parsed = parseRunConfig(
    { model: { ...defaults, ...model, ...modelFields }, train: overrideTrain(train ?? {}, trainFields) },
    where,
  );
  requireEffect({ model: modelFields, train: trainFields }, [parsed], where);
  if (modelFields.kvLoops !== undefined) requireSharing(parsed.model, `${where}: model`);
  return parsed;
}
