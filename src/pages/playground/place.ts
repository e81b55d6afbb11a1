/** Where a visitor is: a part's name and its state in the address's fragment, such as `#slider?text=Peace&loops=3`. */
import { PARTS } from './part.js';

export interface Place {
  readonly part: string;
  readonly state: URLSearchParams;
}

/** The place that a fragment names; the first part if it names none. */
export function placeOf(fragment: string): Place {
  const [name, state] = fragment.replace(/^#/, '').split(/\?(.*)/s);
  const part = PARTS.find((known) => known.name === name) ?? PARTS[0];
  return { part: part.name, state: new URLSearchParams(state ?? '') };
}

export function fragmentOf({ part, state }: Place): string {
  const said = state.toString();
  return said === '' ? `#${part}` : `#${part}?${said}`;
}
