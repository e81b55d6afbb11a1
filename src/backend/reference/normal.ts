/** The normal distribution in double precision. */

/** From this |x| on, the series needs more terms than the fraction. */
const FAR = 3;
/** With this many terms, both are exact to the last bits of a double. */
const TERMS = 100;

/**
 * Φ(x) = ½·(1 + erf(x/√2)), the probability that a standard normal variable is at most x, with a relative error of
 * about 1e-13.
 *
 * Near 0: Φ(x) = ½ + φ(x)·(x + x³/3 + x⁵/(3·5) + …); far out: Φ(−x) = φ(x)/(x + 1/(x + 2/(x + 3/(x + …)))), where φ is
 * the density (Abramowitz & Stegun 26.2.11 and 26.2.14).
 *
 * @example
 * normalBelow(0); // 0.5
 */
export function normalBelow(x: number): number {
  const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
  const z = Math.abs(x);
  let above: number;
  if (z < FAR) {
    let sum = z;
    for (let n = 3, term = z; n < 2 * TERMS; n += 2) sum += term *= (z * z) / n;
    above = 0.5 - density * sum;
  } else {
    let fraction = z;
    for (let n = TERMS; n > 0; n--) fraction = z + n / fraction;
    above = density / fraction;
  }
  return x < 0 ? above : 1 - above;
}
