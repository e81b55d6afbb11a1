/** The texts of a race: those that come with the page, and a visitor's own. */
import { grouped } from '../../../printable.js';
import mobyDick from './texts/moby-dick.txt';
import stateOfTheUnion from './texts/state-of-the-union.txt';
import type { RaceText } from './messages.js';

export interface ShippedText {
  readonly name: string;
  readonly url: string;
}

export const TEXTS = {
  'moby-dick': { name: 'Moby-Dick, chapters 1 to 12 (Melville, 1851)', url: mobyDick },
  'state-of-the-union': { name: 'State of the Union (Kennedy, 1961 to 1963)', url: stateOfTheUnion },
} as const satisfies Record<string, ShippedText>;

export type TextName = keyof typeof TEXTS;

/** About a page, since its last tenth must hold a sequence. */
export const LEAST_CHARACTERS = 2000;
const MOST_BYTES = 8e6;

export async function shippedText(name: TextName): Promise<RaceText> {
  const { name: title, url } = TEXTS[name];
  const response = await fetch(new URL(url, document.baseURI));
  if (!response.ok)
    throw new Error(`The text did not load (status ${response.status}). Try again, or paste one.`);
  return { name: title, text: await response.text() };
}

/** A file's text. Throws Error with a message for the visitor if the file is too large or not text. */
export async function fileText(file: File): Promise<RaceText> {
  if (file.size > MOST_BYTES) {
    const size = `${(file.size / 1e6).toFixed(1)} MB`;
    throw new Error(
      `“${file.name}” has ${size}; a race on this page accepts at most ${MOST_BYTES / 1e6} MB.`,
    );
  }
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer());
    return { name: file.name, text };
  } catch {
    throw new Error(`“${file.name}” is not a text file: its bytes are not UTF-8.`);
  }
}

/** Why a text is too short, in words; null if it is long enough. */
export function tooShort({ text }: RaceText): string | null {
  const { length } = text.trim();
  if (length >= LEAST_CHARACTERS) return null;
  const has = length === 0 ? 'There is no text yet' : `The text has ${grouped(length)} characters`;
  return (
    `${has}; a race needs at least ${grouped(LEAST_CHARACTERS)} characters (about a page), ` +
    'since its last tenth is held out.'
  );
}
