/** Parcae's stable injection (arXiv 2604.12946) of the reference backend. */
import type { KERNELS } from '../kernel-table.js';
import type { HostKernels } from '../memory/arguments.js';

/** One channel's carry-over exp(−ΔA) and gain, and their derivatives with respect to a and b. */
interface Channel {
  readonly keep: number;
  readonly gain: number;
  readonly keepBy: { readonly a: number; readonly b: number };
  readonly gainBy: { readonly a: number; readonly b: number };
}

/** A = exp(a), Δ = softplus(b), so that dA/da = A and dΔ/db = σ(b). */
export function injectionChannel(a: number, b: number, exact: boolean): Channel {
  const A = Math.exp(a);
  const delta = Math.max(b, 0) + Math.log1p(Math.exp(-Math.abs(b)));
  const sigma = 1 / (1 + Math.exp(-b));
  const keep = Math.exp(-delta * A);
  const gain = exact ? -Math.expm1(-delta * A) / A : delta;
  return {
    keep,
    gain,
    keepBy: { a: -delta * A * keep, b: -A * keep * sigma },
    gainBy: exact ? { a: delta * keep - gain, b: keep * sigma } : { a: 0, b: sigma },
  };
}

export const injection = {
  stableInjectionForward({ out, x, u, a, b, R, C, exact }) {
    for (let c = 0; c < C; c++) {
      const { keep, gain } = injectionChannel(a[c], b[c], exact);
      for (let i = c; i < R * C; i += C) out[i] = keep * x[i] + gain * u[i];
    }
  },

  // In the forward pass this was out = exp(−Δ·A) ⊙ x + gain ⊙ u.
  stableInjectionBackward({ dx, du, da, db, dout, x, u, a, b, R, C, exact, accumulateX, accumulateU }) {
    for (let c = 0; c < C; c++) {
      const { keep, gain, keepBy, gainBy } = injectionChannel(a[c], b[c], exact);
      let [byKeep, byGain] = [0, 0];
      for (let i = c; i < R * C; i += C) {
        const d = dout[i];
        dx[i] = (accumulateX ? dx[i] : 0) + keep * d;
        du[i] = (accumulateU ? du[i] : 0) + gain * d;
        byKeep += d * x[i];
        byGain += d * u[i];
      }
      da[c] += byKeep * keepBy.a + byGain * gainBy.a;
      db[c] += byKeep * keepBy.b + byGain * gainBy.b;
    }
  },
} satisfies Partial<HostKernels<typeof KERNELS>>;
