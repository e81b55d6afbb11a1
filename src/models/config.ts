/** A model's configuration: parses its fields, and checks them against each other and the depth. */
import { ConfigError } from '../errors.js';
import { parseFields } from '../fields.js';
import { DEPTH_NAMES, DEPTHS, depthOf } from './depth/kinds.js';
import { headsOf, type ModelConfig, modelFields } from './model-fields.js';

export { headsOf, initialStd, innerWidth, type ModelConfig, modelFields } from './model-fields.js';

const SET_SHARING = 'set kvSharing to first-loop or last-loop';

/**
 * Throws ConfigError when a user sets kvLoops though loops share no keys; a parsed configuration always has the field.
 */
export function requireSharing({ kvSharing, kvLoops }: ModelConfig, where = 'model'): void {
  if (kvSharing !== 'per-application') return;
  const rule = 'must not be given where kvSharing is per-application';
  throw new ConfigError(`${where}.kvLoops`, rule, kvLoops, SET_SHARING);
}

/** Parses and checks a model's configuration. Throws ConfigError naming the field. */
export function parseModelConfig(input: unknown, where = 'model'): ModelConfig {
  const parsed = parseFields(modelFields, input, where);
  const given = input as Partial<ModelConfig>;
  const config =
    given.activation === undefined ? { ...parsed, activation: depthOf(parsed).activation } : parsed;
  if (config.nEmbd % config.nHead !== 0) {
    throw new ConfigError(`${where}.nEmbd`, `must be a multiple of nHead = ${config.nHead}`, config.nEmbd);
  }
  requireHeads(config, where);
  requireMeaning(config, given, where);
  return config;
}

/** Throws ConfigError when the numbers of heads do not fit together, or do not fit rotary positions. */
function requireHeads(config: ModelConfig, where: string): void {
  const { nHead, nKvHead, positions } = config;
  const { KV, HS } = headsOf(config);
  if (nHead % KV !== 0) throw new ConfigError(`${where}.nKvHead`, `must divide nHead = ${nHead}`, nKvHead);
  if (positions === 'rotary' && HS % 2 !== 0) {
    const rule = 'must be even where positions is rotary, which turns pairs of channels';
    throw new ConfigError(`${where}.nEmbd / nHead`, rule, HS);
  }
}

/**
 * Fields that only some depths read, with those depths. (The fields of gates and of the update may change in any
 * depth.)
 */
const READ_BY = Object.entries(modelFields).flatMap(([name, { default: usual }]) => {
  const depths = DEPTH_NAMES.filter((depth) => (DEPTHS[depth].reads as readonly string[]).includes(name));
  return depths.length === 0 ? [] : [{ name: name as keyof ModelConfig, usual, depths }];
});

/** Throws ConfigError when valid fields do not fit together. */
function requireMeaning(config: ModelConfig, input: Partial<ModelConfig>, where: string): void {
  for (const { name, usual, depths } of READ_BY) {
    if (config[name] === usual || depths.includes(config.depth)) continue;
    const rule = `must be ${usual} where depth is ${config.depth}`;
    throw new ConfigError(`${where}.${name}`, rule, config[name], `set depth to ${depths.join(' or ')}`);
  }
  depthOf(config).check(config, input, where);
  if (config.halting !== 'none' && exitCount(config) < 2) {
    const rule = 'must be none where there is a single exit';
    throw new ConfigError(`${where}.halting`, rule, config.halting, 'raise nLoop, or nLayer of adaptive');
  }
  if (config.exitHead === 'separate' && exitCount(config) < 2) {
    throw new ConfigError(
      `${where}.exitHead`,
      'must be shared where there is a single exit',
      config.exitHead,
      'raise nLoop, or nLayer of adaptive',
    );
  }
  if (averagesExits(config) && config.exitHead === 'separate') {
    throw new ConfigError(
      `${where}.exitHead`,
      'must be shared where halting is act, which averages the states',
      config.exitHead,
    );
  }
  if (config.halting === 'confidence' && config.nCoda > 0) {
    const rule = 'must be 0 where halting is confidence, which reads a state before the coda';
    throw new ConfigError(`${where}.nCoda`, rule, config.nCoda);
  }
  const { kvSharing, kvLoops, nLoop } = config;
  if (kvSharing !== 'per-application' && kvLoops >= nLoop) {
    const rule = `must be below nLoop = ${nLoop} where kvSharing is ${kvSharing}, or nothing is shared`;
    throw new ConfigError(`${where}.kvLoops`, rule, kvLoops);
  }
  if (kvSharing === 'per-application' && kvLoops !== 1) {
    const rule = 'must be 1 where kvSharing is per-application';
    throw new ConfigError(`${where}.kvLoops`, rule, kvLoops, SET_SHARING);
  }
}

/**
 * Number of a model's exits: the states that its head can read, including the last; 1 for a depth without early exits.
 */
export function exitCount(config: ModelConfig): number {
  return depthOf(config).exits(config);
}

/** Block applications in one forward pass, with `loops` loops or steps if the depth allows a choice. */
export function applicationCount(config: ModelConfig, loops?: number): number {
  return depthOf(config).applications(config, loops);
}

/** Channels of the state that passes from exit to exit, over all its streams. */
export function stateWidth({ nEmbd, hyperConnections, nStream }: ModelConfig): number {
  return hyperConnections === 'none' ? nEmbd : nStream * nEmbd;
}

/** Whether the output averages the exits up to the one at which a row halts, so that no single exit equals it. */
export function averagesExits({ halting }: ModelConfig): boolean {
  return halting === 'act';
}
