/**
 * Reproducible random numbers: pure functions of a seed and a counter, the same on every machine. Knows no model: what
 * is drawn where is the business of those who draw.
 */

/** Bijective 32-bit mixing function ("lowbias32" constants by C. Wellons); every bit of x reaches every bit. */
export function mix32(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

/**
 * One 32-bit word out of several safe integers, each bit of which depends on all of their bits: one outside [0, 2³²)
 * counts as two words.
 */
export function hashWords(...words: number[]): number {
  let h = 0x6a09e667;
  const add = (word: number) => {
    h = mix32((h ^ mix32(word >>> 0)) + 0x9e3779b9);
  };
  for (const word of words) {
    add(word);
    const high = Math.floor(word / 2 ** 32);
    if (high !== 0) add(high);
  }
  return h;
}

/** Names what is drawn in one micro-step: dropout is a function of these and of the place. */
export interface DropoutKey {
  readonly seed: number;
  readonly step: number;
  readonly microStep: number;
}

/** The two words that name the mask of one place in one micro-step, for `Dropout.key`. */
export function maskKey(
  { seed, step, microStep }: DropoutKey,
  application: number,
  site: number,
): [number, number] {
  return [hashWords(seed, step, microStep), hashWords(application, site)];
}

/** The 32-bit words of a text, for hashing names. */
export function hashText(text: string): number {
  return hashWords(...Array.from(text, (c) => c.codePointAt(0)!));
}

/** A uniform number in (0, 1) for counter `i` of stream (a, b). */
export function uniform(a: number, b: number, i: number): number {
  return (mix32((mix32((i + a) >>> 0) ^ b) >>> 0) + 0.5) / 2 ** 32;
}

/**
 * `length` normal numbers with mean 0 and the given standard deviation (Box & Muller 1958), from number `first` on,
 * which must be even: they come in pairs.
 */
export function normal(seed: number, name: string, length: number, std: number, first = 0): Float64Array {
  const a = hashWords(seed, hashText(name), 1);
  const b = hashWords(seed, hashText(name), 2);
  const values = new Float64Array(length);
  for (let i = 0; i < length; i += 2) {
    const radius = std * Math.sqrt(-2 * Math.log(uniform(a, b, first + i)));
    const angle = 2 * Math.PI * uniform(a, b, first + i + 1);
    values[i] = radius * Math.cos(angle);
    if (i + 1 < length) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}
