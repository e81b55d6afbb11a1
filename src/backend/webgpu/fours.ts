/** Programs over elements of which the same code takes four at a time where they divide the work. Knows no kernel. */
import type { Program } from './program.js';

/** `elements` and `fours`: the program for each type of element that its text can be of. */
export function byFours(make: (type: 'f32' | 'vec4f') => Program) {
  const fours = make('vec4f');
  return { elements: make('f32'), fours: { ...fours, name: `${fours.name} by fours` } };
}
