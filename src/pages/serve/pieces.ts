/** The pieces of an answer, each a text with its tokens, and their shades. */

export interface Candidate {
  readonly name: string;
  /** In the model's own distribution, before any sampling. */
  readonly probability: number;
}

export interface Token extends Candidate {
  readonly loops: number;
  /** The most probable tokens in its place, in falling order. */
  readonly top: readonly Candidate[];
}

/** A text that can be shown, with its tokens: a character may take several tokens, the end of an answer none. */
export interface Piece {
  readonly text: string;
  readonly tokens: readonly Token[];
}

export type Coloring = 'loops' | 'probability';

export function probabilityOf(logprob: number): number {
  return Math.exp(logprob);
}

/** Appends pieces to others: tokens without text of their own join the next piece that has text. */
export function joined(before: readonly Piece[], more: readonly Piece[]): Piece[] {
  const pieces = [...before];
  for (const piece of more) {
    const last = pieces.at(-1);
    if (last?.text === '')
      pieces[pieces.length - 1] = { ...piece, tokens: [...last.tokens, ...piece.tokens] };
    else pieces.push(piece);
  }
  return pieces;
}

/** The most loops that a token of the piece took; 0 for a piece without tokens. */
export function loopsOf({ tokens }: Piece): number {
  return Math.max(0, ...tokens.map(({ loops }) => loops));
}

/** The probability of all tokens of a piece together. */
export function likelihood({ tokens }: Piece): number {
  return tokens.reduce((product, { probability }) => product * probability, 1);
}

/** The value that distinguishes pieces: loops if they differ, otherwise probability. */
export function tellingColoring(pieces: readonly Piece[]): Coloring {
  const taken = new Set(pieces.filter(({ tokens }) => tokens.length > 0).map(loopsOf));
  return taken.size > 1 ? 'loops' : 'probability';
}

/** The strongest colour on which text stays readable, in percent. */
const DEEPEST = 45;
/** A token of this probability, or a lower one, has the deepest shade. */
const LEAST = 0.01;

/** Percent of the colour behind a token of a probability: the less expected, the deeper. */
export function shadeOfProbability(probability: number): number {
  const surprise = Math.log(Math.max(LEAST, probability)) / Math.log(LEAST);
  return Math.round(DEEPEST * surprise);
}

/** Percent of the colour behind a token that took `loops` of `most` loops. */
export function shadeOfLoops(loops: number, most: number): number {
  return most < 2 ? 0 : Math.round((DEEPEST * Math.max(0, loops - 1)) / (most - 1));
}
