/**
 * Colours from few to many, which people with red-green colour blindness can distinguish too (after cividis: Nuñez et
 * al. 2018).
 */

const ANCHORS: readonly (readonly [number, number, number])[] = [
  [255, 234, 70],
  [202, 185, 105],
  [149, 143, 120],
  [102, 105, 112],
  [49, 68, 107],
  [0, 32, 77],
];

export interface Shade {
  readonly background: string;
  /** Black or white, whichever is more legible on the background. */
  readonly color: string;
}

/** The red, green and blue, each 0 to 255, of a share from 0, few and bright, to 1, many and dark. */
export function rgbOf(share: number): [number, number, number] {
  const at = Math.min(1, Math.max(0, share)) * (ANCHORS.length - 1);
  const low = Math.min(ANCHORS.length - 2, Math.floor(at));
  const mix = at - low;
  return [0, 1, 2].map((i) => Math.round(ANCHORS[low][i] * (1 - mix) + ANCHORS[low + 1][i] * mix)) as [
    number,
    number,
    number,
  ];
}

export function shadeOf(share: number): Shade {
  const rgb = rgbOf(share);
  return { background: `rgb(${rgb.join(' ')})`, color: luminance(rgb) > 0.179 ? '#000' : '#fff' };
}

/** Relative luminance by WCAG; black and white are equally legible on 0.179. */
function luminance(rgb: readonly number[]): number {
  const [r, g, b] = rgb.map((value) => {
    const x = value / 255;
    return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
