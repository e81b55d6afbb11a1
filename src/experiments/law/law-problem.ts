/**
 * The law as a problem of least squares on log losses. Its parameters are E, log A, α, φ and, where tokens
 * vary, log B and β, with effective parameters and tokens as shares of the largest, so that all are of one
 * size.
 */
import type { Law, LawPoint } from './law.js';
import { tokensVary } from './law.js';
import type { Problem } from './least-squares.js';

/** Residuals of log losses beyond this count by their size: twice what the losses of two seeds usually differ by. */
const HUBER = 0.005;

export const PHI_BOUNDS = { low: -1, high: 2 };
const EXPONENTS = [0.05, 5] as const;
const LOG_SHARES = [-12, 3] as const;
const PHI = 3;

/** The losses of each model's seeds, as logs. */
export type LogLosses = readonly (readonly number[])[];

export class LawProblem {
  /** How many parameters are fitted. */
  readonly size: number;
  private readonly points: readonly LawPoint[];
  private readonly largest: Pick<LawPoint, 'once' | 'tokens'>;
  private readonly limits: readonly (readonly [low: number, high: number])[];
  private readonly least: number;

  constructor(points: readonly LawPoint[], logs: LogLosses) {
    const once = Math.max(...points.map((point) => point.once + point.looped));
    const tokens = Math.max(...points.map((point) => point.tokens));
    this.largest = { once, tokens };
    this.points = points.map((point) => ({
      once: point.once / once,
      looped: point.looped / once,
      loops: point.loops,
      tokens: point.tokens / tokens,
    }));
    this.least = Math.exp(Math.min(...logs.flat()));
    const phi = [PHI_BOUNDS.low, PHI_BOUNDS.high] as const;
    const ofData = tokensVary(points) ? [LOG_SHARES, EXPONENTS] : [];
    this.limits = [[0, this.least], LOG_SHARES, EXPONENTS, phi, ...ofData];
    this.size = this.limits.length;
  }

  phi(params: Float64Array): number {
    return params[PHI];
  }

  law([E, a, alpha, phi, b, beta]: Float64Array): Law {
    const { once, tokens } = this.largest;
    const data = this.size > 4 ? { B: Math.exp(b) * tokens ** beta, beta } : null;
    return { E, A: Math.exp(a) * once ** alpha, alpha, phi, data };
  }

  /** Where descents begin: E a larger or smaller share of the least loss, exponents small and large. */
  starts(): number[][] {
    const starts: number[][] = [];
    for (const share of [0.7, 0.9, 0.98]) {
      const rest = Math.log((1 - share) * this.least);
      for (const alpha of [0.3, 1, 2]) {
        for (const phi of [0, 0.5, 1]) {
          starts.push([share * this.least, rest, alpha, phi, rest, 0.5].slice(0, this.size));
        }
      }
    }
    return starts;
  }

  /** The log losses that the law foretells of each model. */
  foretold(params: Float64Array): Float64Array {
    const values = new Float64Array(this.points.length);
    this.evaluate(params, values, new Float64Array(values.length * this.size));
    return values;
  }

  /** Residuals of these log losses. */
  problem(logs: LogLosses): Problem {
    const P = this.size;
    const values = new Float64Array(this.points.length);
    const rows = new Float64Array(values.length * P);
    return {
      length: logs.reduce((sum, own) => sum + own.length, 0),
      lower: this.limits.map(([low]) => low),
      upper: this.limits.map(([, high]) => high),
      huber: HUBER,
      evaluate: (params, residuals, jacobian) => {
        this.evaluate(params, values, rows);
        let run = 0;
        for (const [i, own] of logs.entries()) {
          for (const log of own) {
            residuals[run] = values[i] - log;
            for (let p = 0; p < P; p++) jacobian[run * P + p] = rows[i * P + p];
            run++;
          }
        }
      },
    };
  }

  /** The log losses `values` (models), and their derivatives `rows` (models, parameters). */
  private evaluate(params: Float64Array, values: Float64Array, rows: Float64Array): void {
    const [E, a, alpha, phi, b, beta] = params;
    const P = this.size;
    for (const [i, { once, looped, loops, tokens }] of this.points.entries()) {
      const recurrent = loops ** phi * looped;
      const effective = once + recurrent;
      const ofModel = Math.exp(a - alpha * Math.log(effective));
      const ofData = P > 4 ? Math.exp(b - beta * Math.log(tokens)) : 0;
      const loss = E + ofModel + ofData;
      values[i] = Math.log(loss);
      const row = i * P;
      rows[row] = 1 / loss;
      rows[row + 1] = ofModel / loss;
      rows[row + 2] = (-ofModel * Math.log(effective)) / loss;
      rows[row + PHI] = (-alpha * ofModel * recurrent * Math.log(loops)) / (effective * loss);
      if (P > 4) {
        rows[row + 4] = ofData / loss;
        rows[row + 5] = (-ofData * Math.log(tokens)) / loss;
      }
    }
  }
}
