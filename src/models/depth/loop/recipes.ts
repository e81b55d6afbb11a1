/** The fields of recipes for loops, and which of them fit together. Each recipe is described in its own file. */
import { ConfigError } from '../../../errors.js';
import { type ModelConfig, modelFields } from '../../model-fields.js';

export const RECIPES = [
  'inputInjection',
  'initialState',
  'loopNorm',
  'loopEmbedding',
  'hyperConnections',
  'nStream',
] as const satisfies readonly (keyof ModelConfig)[];

/** Throws ConfigError when recipes do not fit together or do not fit the rest of the configuration. */
export function requireRecipes(config: ModelConfig, where: string): void {
  const refuse = (field: keyof ModelConfig, rule: string, hint?: string): never => {
    throw new ConfigError(`${where}.${field}`, rule, config[field], hint);
  };
  const { nLoop, inputInjection, initialState, hyperConnections, nStream, halting } = config;
  if (nLoop === 1 && inputInjection !== 'none') {
    refuse('inputInjection', 'must be none where nLoop is 1, which has no second loop to inject into');
  }
  for (const field of RECIPES) {
    const { default: usual } = modelFields[field];
    if (nLoop === 1 && config[field] !== usual)
      refuse(field, `must be ${usual} where nLoop is 1`, 'raise nLoop');
  }
  if (initialState === 'random' && inputInjection === 'none') {
    const rule = 'must be input where inputInjection is none, since no loop would then meet the input';
    refuse('initialState', rule, 'set inputInjection');
  }
  if (hyperConnections === 'none' && nStream !== modelFields.nStream.default) {
    refuse(
      'nStream',
      'must not be given where hyperConnections is none',
      'set hyperConnections to static or dynamic',
    );
  }
  if (hyperConnections !== 'none' && halting !== 'none') {
    refuse(
      'halting',
      `must be none where hyperConnections is ${hyperConnections}, whose state no halting rule reads`,
    );
  }
}
