/** Numbers and errors in words, as all pages say them. */

/** A probability or share in percent, to two digits. */
export function percent(share: number): string {
  if (share >= 0.1) return `${(100 * share).toFixed(0)} %`;
  return share >= 0.001 || share <= 0 ? `${(100 * share).toPrecision(2)} %` : '< 0.1 %';
}

/** What went wrong, in the words of whoever threw it. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
