/** Shared by commands that load a model: the backend, a run's store, a configuration from flags. */
import { type Command, Option } from 'commander';
import { BACKENDS, WEIGHTS } from '../node/backend.js';
import { type ModelConfig, modelFields } from '../models/config.js';
import { EXIT_CRITERIA, type ExitCriterion, type ExitOptions } from '../models/exits/options.js';
import { type RunConfig, trainFields } from '../train/config.js';
import type { LoadedModel, Run } from '../train/run.js';
import type { Runtime } from '../tensor/tensor.js';
import { chooseConfig } from '../operations/config.js';
import {
  noticeLoops as noticeMoreLoops,
  openModel as openRunModel,
  type OpenOptions,
} from '../operations/open.js';
import { openRuntime as openNoticed, type RuntimeOptions } from '../operations/runtime.js';
import { addFields, anyNumber, givenFields, wholeNumber } from './flags.js';
import { notice } from './output.js';

/**
 * A runtime on the fastest backend that works here; a fallback, and bf16 that costs time, are reported once, on stderr.
 */
export function openRuntime(options: RuntimeOptions): Promise<Runtime> {
  return openNoticed(options, notice);
}

/** `--backend` for all commands that compute. */
export function backendOption(): Option {
  const help =
    'what computes: auto is the processor, webgpu a GPU through the npm package webgpu; LOOPNN_BACKEND, or auto, by default';
  return new Option('--backend <name>', help).choices(BACKENDS);
}

/** `--precision` for commands that work on trained runs. */
export function precisionOption(): Option {
  const { choices } = trainFields.precision;
  const help = 'operands of matrix products; auto is the precision that the run was trained with';
  return new Option('--precision <name>', help).choices(choices).default('auto');
}

/** `--weights` for commands that only read a model. */
export function weightsOption(): Option {
  const help =
    'how products read the weights: float in --precision; int8 rounded to 8 bits, half the bytes of bf16, a quarter of f32';
  return new Option('--weights <name>', help).choices(WEIGHTS).default('float');
}

/** The flags of commands that decode. */
export function addOpenFlags(command: Command): Command {
  const { kvSharing, kvLoops } = modelFields;
  const help = 'whose keys and values the loops share; by default as in training';
  return command
    .addOption(backendOption())
    .addOption(precisionOption())
    .addOption(weightsOption())
    .addOption(new Option('--kv-sharing <name>', help).choices(kvSharing.choices))
    .option('--kv-loops <n>', kvLoops.help, wholeNumber(1));
}

/** `--exit-criterion` for commands with early exit. */
export function exitCriterionOption(): Option {
  const help = 'what lets a token exit before the last loop; the model’s own halting rule by default';
  return new Option('--exit-criterion <name>', help).choices(EXIT_CRITERIA);
}

/** `--exit-threshold`, beside it. */
export function exitThresholdOption(): Option {
  const help = 'threshold of the criterion; loopnn exits measures what thresholds do';
  return new Option('--exit-threshold <x>', help).argParser(anyNumber);
}

export interface ExitFlags {
  readonly exitCriterion?: ExitCriterion;
  readonly exitThreshold?: number;
}

/** The exits that those flags request; empty without them. */
export function exitOptions({ exitCriterion: criterion, exitThreshold: threshold }: ExitFlags): {
  readonly exit?: ExitOptions;
} {
  if (criterion === undefined && threshold === undefined) return {};
  return {
    exit: {
      ...(criterion === undefined ? {} : { criterion }),
      ...(threshold === undefined ? {} : { threshold }),
    },
  };
}

/** The flags that say how a run is opened. */
export type OpenFlags = OpenOptions;

/** Loads a run's best weights; `auto` is the precision that it was trained with. */
export function openModel(run: Run, flags: OpenFlags): Promise<LoadedModel> {
  return openRunModel(run, flags, notice);
}

/** Says once, on stderr, that loops beyond the trained count reuse the last gate. */
export function noticeLoops(config: ModelConfig, loops?: number): void {
  noticeMoreLoops(config, loops, notice);
}

/** Adds the flags that choose a configuration: a preset or a file, and every field. */
export function addConfigFlags(command: Command): Command {
  command.option('--preset <name>', 'start from a preset; loopnn params lists them');
  command.option('--config <file>', 'start from a configuration file, such as an edited copy of a preset');
  addFields(command, modelFields, 'Model:');
  return addFields(command, trainFields, 'Training:');
}

/**
 * The configuration that flags choose: preset or file, overridden by fields given one by one. `defaults` has model
 * fields that none of these sets.
 */
export function configFromFlags(
  options: Record<string, unknown>,
  defaults: Partial<ModelConfig> = {},
): RunConfig {
  const { preset, config } = options as { preset?: string; config?: string };
  const [model, train] = [givenFields(options, modelFields), givenFields(options, trainFields)];
  return chooseConfig({ preset, config, model, train }, defaults);
}
