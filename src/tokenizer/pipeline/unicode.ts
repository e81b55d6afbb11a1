/**
 * The sets of characters that Python's tokenizers uses, and those that its expressions name (`\w`, `\p{Lu}`,
 * `[:alpha:]`). JavaScript's own sets follow other versions of Unicode, which also change with the engine; ids would
 * change with them.
 */
import { CodePoints } from './code-points.js';
import { CLASSES } from './unicode-table.js';

type ClassName = keyof typeof CLASSES;

const known = new Map<string, CodePoints>();

function once(name: string, make: () => CodePoints): CodePoints {
  const set = known.get(name) ?? make();
  known.set(name, set);
  return set;
}

/** A set of `unicode-table.ts`. */
export function classOf(name: ClassName): CodePoints {
  return once(name, () => CodePoints.parse(CLASSES[name]));
}

/** Joiners are word characters in the crate `regex`, but not in Oniguruma. */
const expressionWord = () => once('\\w', () => classOf('word').without(CodePoints.range(0x200c, 0x200d)));
/** Numbers that are word characters too, but only outside brackets. */
const NUMBERS = CodePoints.of('²³¹¼½¾');

/** The set of `\d`, `\s`, `\w` or `\h` in an expression; undefined for another letter. */
export function shorthand(letter: string, inBrackets: boolean): CodePoints | undefined {
  if (letter === 'd') return classOf('digit');
  if (letter === 's') return classOf('space');
  if (letter === 'h') return CodePoints.of('0123456789ABCDEFabcdef');
  if (letter !== 'w') return undefined;
  return inBrackets ? expressionWord() : expressionWord().or(NUMBERS);
}

/** The set of `[:name:]` in an expression; undefined for an unknown name. */
export function posixSet(name: string): CodePoints | undefined {
  if (name === 'alpha') return property('Alphabetic');
  if (name === 'alnum') return property('Alphabetic')!.or(classOf('digit'));
  if (name === 'ascii') return CodePoints.range(0, 0x7f);
  if (name === 'blank') return property('Zs')!.or(CodePoints.range(9));
  if (name === 'cntrl') return property('Cc');
  if (name === 'digit') return classOf('digit');
  if (name === 'lower') return property('Lowercase');
  if (name === 'punct') return property('P')!.or(property('S')!);
  if (name === 'space') return classOf('space');
  if (name === 'upper') return property('Uppercase');
  if (name === 'word') return expressionWord();
  return name === 'xdigit' ? shorthand('h', true) : undefined;
}

/** Properties that are neither a category nor a script. */
const BINARY: readonly string[] = [
  'Alphabetic',
  'Any',
  'Emoji',
  'Emoji_Component',
  'Emoji_Modifier',
  'Emoji_Modifier_Base',
  'Emoji_Presentation',
  'Ideographic',
  'Lowercase',
  'Uppercase',
  'White_Space',
];
const UNASSIGNED: readonly string[] = ['Any', 'C', 'Other', 'Cn', 'Unassigned'];
/** ʕ is a lower-case letter in Oniguruma's tables. */
const GLOTTAL = CodePoints.of('ʕ');
const WITH_GLOTTAL: readonly string[] = ['Ll', 'Lowercase_Letter', 'Cased_Letter', 'Lowercase'];
const WITHOUT_GLOTTAL: readonly string[] = ['Lo', 'Other_Letter'];

/**
 * The set of `\p{name}` in an expression: a category, a script, or one of a few others; undefined for an unknown name.
 */
export function property(name: string): CodePoints | undefined {
  const words = name
    .split(/[ _-]+/)
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1).toLowerCase());
  const spelled = words.join('_');
  if (spelled === 'L' || spelled === 'Letter') return classOf('letter');
  if (spelled === 'N' || spelled === 'Number') return classOf('number');
  if (spelled === 'Nd' || spelled === 'Decimal_Number') return classOf('digit');
  if (spelled === 'Lc') return property('Cased_Letter');
  const candidates = [`gc=${spelled}`, `sc=${spelled}`, ...(BINARY.includes(spelled) ? [spelled] : [])];
  const found = /^\w+$/.test(spelled) ? candidates.map(expressionOf).find((one) => one !== null) : null;
  if (!found) return undefined;
  return once(spelled, () => {
    const set = matchedBy(found);
    if (UNASSIGNED.includes(spelled)) return set.or(classOf('newer'));
    const assigned = set.without(classOf('newer'));
    if (WITH_GLOTTAL.includes(spelled)) return assigned.or(GLOTTAL);
    return WITHOUT_GLOTTAL.includes(spelled) ? assigned.without(GLOTTAL) : assigned;
  });
}

function expressionOf(name: string): RegExp | null {
  try {
    return new RegExp(`\\p{${name}}+`, 'gu');
  } catch {
    return null;
  }
}

/** The code points that an expression for runs matches, without surrogates. */
function matchedBy(expression: RegExp): CodePoints {
  const sets: CodePoints[] = [];
  for (let plane = 0; plane <= 0x10_0000; plane += 0x1_0000) {
    const width = plane === 0 ? 1 : 2;
    if (plane >= 0x4_0000 && plane < 0xe_0000) {
      // Nothing is assigned in these planes, so the first character decides for all.
      if (String.fromCodePoint(plane).search(expression) === 0)
        sets.push(CodePoints.range(plane, plane + 0xffff));
      continue;
    }
    for (const { 0: run, index } of textOfPlane(plane).matchAll(expression)) {
      const first = plane + index / width;
      sets.push(CodePoints.range(first, first + run.length / width - 1));
    }
  }
  return CodePoints.union(sets);
}

/** All characters of a plane in a row, with NUL for surrogates. */
function textOfPlane(plane: number): string {
  const width = plane === 0 ? 1 : 2;
  const units = new Uint16Array(width * 0x1_0000);
  for (let i = 0; i < 0x1_0000; i++) {
    if (width === 1) units[i] = i >= 0xd800 && i < 0xe000 ? 0 : i;
    else {
      units[2 * i] = 0xd800 + ((plane + i - 0x1_0000) >> 10);
      units[2 * i + 1] = 0xdc00 + (i & 0x3ff);
    }
  }
  let text = '';
  for (let at = 0; at < units.length; at += 0x2000) {
    text += String.fromCharCode(...units.subarray(at, at + 0x2000));
  }
  return text;
}
