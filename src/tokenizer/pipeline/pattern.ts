/** The patterns of a tokenizer.json: `{"String": …}`, which is found literally, or `{"Regex": …}`. */
import { fromOniguruma } from './oniguruma.js';
import type { Settings } from './settings.js';

/** Reads the field `pattern`, as an expression with the flag g; throws DataError if it is damaged or not supported. */
export function readPattern(settings: Settings): RegExp {
  const pattern = settings.part('pattern');
  if (pattern.value('Regex') !== null) return fromOniguruma(pattern.text('Regex'), `${pattern.where}.Regex`);
  return literal(pattern.text('String'));
}

/** An expression that matches a text literally. */
export function literal(text: string): RegExp {
  return new RegExp(text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'), 'gu');
}
