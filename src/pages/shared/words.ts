/** Numbers and errors in words, for all pages. */
import { grouped } from '../../printable.js';

/** A number of four digits: 2.345, 1.235e-5, 123,456. */
export function short(y: number): string {
  if (!Number.isFinite(y)) return '–';
  if (Math.abs(y) >= 10_000) return y >= 1e9 ? y.toPrecision(4) : grouped(y);
  return String(Number(y.toPrecision(4)));
}

/** A probability or share in percent, to two digits. */
export function percent(share: number): string {
  if (share >= 0.1) return `${(100 * share).toFixed(0)} %`;
  return share >= 0.001 || share <= 0 ? `${(100 * share).toPrecision(2)} %` : '< 0.1 %';
}

/** The message of an error. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
