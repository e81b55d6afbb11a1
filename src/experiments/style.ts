/**
 * The style of everything that is looked at in a browser, as CSS text: colours of both schemes, type, tables, two
 * columns
 * where there is room. Reports carry it inside them, and the pages' bundler imports it.
 */

/** Colours of series, on light and on dark paper; neighbours differ most. */
export const SERIES: readonly (readonly [light: string, dark: string])[] = [
  ['#2a5da8', '#8db4f2'],
  ['#c13a4d', '#f2919c'],
  ['#1f7a45', '#6fce98'],
  ['#97690a', '#e0b64a'],
  ['#7b4fa6', '#c3a2ee'],
  ['#1f7f89', '#7fcdd6'],
  ['#418a28', '#a2e28d'],
  ['#3630a6', '#918de2'],
  ['#a65730', '#e2a98d'],
  ['#288a66', '#8de2c3'],
  ['#9c30a6', '#db8de2'],
  ['#6e8226', '#d0e28d'],
  ['#306ba6', '#8db8e2'],
  ['#a63048', '#e28d9e'],
  ['#298e32', '#8de294'],
  ['#5d30a6', '#ae8de2'],
  ['#9a762d', '#e2c68d'],
  ['#288a87', '#8de2e0'],
];

/**
 * A colour for the i-th of many series, in either scheme: a CSS value that only the style below knows, with the light
 * one in its place.
 */
export function seriesColor(i: number): string {
  const at = i % SERIES.length;
  return `var(--series-${at + 1}, ${SERIES[at][0]})`;
}

/** A CSS value with each variable replaced by what stands for it where there is no style. */
export function withoutVariables(css: string): string {
  return css.replace(/var\(--[\w-]+, ([^)]+)\)/g, '$1');
}

function seriesVariables(scheme: 0 | 1): string {
  return SERIES.map((colors, i) => `--series-${i + 1}: ${colors[scheme]};`).join(' ');
}

export const STYLE = `:root {
  color-scheme: light dark;
  --paper: #fcfcfa;
  --raised: #ffffff;
  --ink: #1d2126;
  --soft: #5a626c;
  --rule: #d9dcd7;
  --accent: #2a5da8;
  --accent-ink: #ffffff;
  --good: #1f7a45;
  --bad: #b3303f;
  --mark: #fff0b8;
  ${seriesVariables(0)}
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181c;
    --raised: #1d2126;
    --ink: #e6e8ea;
    --soft: #a3abb5;
    --rule: #363c44;
    --accent: #8db4f2;
    --accent-ink: #10151c;
    --good: #6fce98;
    --bad: #f08a94;
    --mark: #4a3f14;
    ${seriesVariables(1)}
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px / 1.5 system-ui, sans-serif; }
main, header.page, footer.page { max-width: 84rem; margin-inline: auto; padding-inline: 1rem; }
header.page { padding-block: 1rem 0.25rem; }
footer.page { padding-block: 1.5rem 2rem; color: var(--soft); font-size: 0.875rem; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: 0 0 0.4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 0.5rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 0.3rem; }
p { max-width: 44rem; margin: 0.4rem 0; }
a { color: var(--accent); }
.soft { color: var(--soft); }
.good { color: var(--good); }
.bad { color: var(--bad); }
.columns { display: grid; gap: 1rem 2rem; grid-template-columns: minmax(0, 1fr); }
@media (min-width: 1000px) {
  .columns { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
.card { background: var(--raised); border: 1px solid var(--rule); border-radius: 0.5rem; padding: 0.75rem 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.5rem; text-align: right; border-bottom: 1px solid var(--rule); }
th { font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
code, .token { font-family: ui-monospace, monospace; font-size: 0.9em; white-space: pre-wrap; }
figure { margin: 0.5rem 0; min-width: 0; }
figure.plot > svg { display: block; width: 100%; max-width: 40rem; height: auto; }
figure > p { font-size: 0.875rem; color: var(--soft); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
`;
