/**
 * Draws docs/pictures/speed.svg, the README's chart, from the table after `<!-- chart -->` in docs/performance.md:
 *
 *   node scripts/speed-chart.mjs [--print]
 *
 * A bar is the mean of its rounds, drawn as a share of the longest bar of its processor. `--print` prints the picture
 * and writes no file.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const PAGE = new URL('../docs/performance.md', import.meta.url);
const PICTURE = new URL('../docs/pictures/speed.svg', import.meta.url);

const WIDTH = 640;
const LEFT = 124;
const LONGEST = 400;
const BAR = 16;
const PITCH = 19;
const GROUP = 32;
const TOP = 52;
const COLORS = ['#2a5da8', '#b9bec7', '#7d8696'];

/** The rates of a cell, as `441, 491` or `895, 1,050`: a comma and a blank separate two rates. */
const ratesOf = (cell) => cell.split(', ').map((rate) => Number(rate.replaceAll(',', '')));
const cellsOf = (line) =>
  line
    .slice(1, -1)
    .split('|')
    .map((cell) => cell.trim());

function readTable() {
  const [, after = ''] = readFileSync(PAGE, 'utf8').split('<!-- chart -->');
  const [table] = after.trim().split('\n\n');
  const [header, , ...rows] = table.split('\n').map(cellsOf);
  return rows.map(([processor, products, ...cells]) => ({
    title: `${processor}, ${products}`,
    bars: cells
      .slice(0, COLORS.length)
      .map((cell, i) => ({ name: header[i + 2], color: COLORS[i], rates: cell === '' ? [] : ratesOf(cell) }))
      .filter(({ rates }) => rates.length > 0)
      .map(({ rates, ...bar }) => ({ ...bar, rate: rates.reduce((sum, x) => sum + x, 0) / rates.length })),
  }));
}

function draw(groups) {
  const lines = [];
  let y = TOP;
  for (const { title, bars } of groups) {
    lines.push(`<text class="group" x="0" y="${y + 12}">${title}</text>`);
    y += PITCH;
    const longest = Math.max(...bars.map(({ rate }) => rate));
    for (const { name, color, rate } of bars) {
      const length = ((LONGEST * rate) / longest).toFixed(1);
      const middle = y + BAR / 2;
      lines.push(
        `<text x="${LEFT - 8}" y="${middle}" dy="0.35em" text-anchor="end">${name}</text>`,
        `<rect x="${LEFT}" y="${y}" width="${length}" height="${BAR}" fill="${color}"/>`,
        `<text x="${LEFT + Number(length) + 6}" y="${middle}" dy="0.35em">${Math.round(rate).toLocaleString('en-US')}</text>`,
      );
      y += PITCH;
    }
    y += GROUP - PITCH;
  }
  const said = groups.map(
    ({ title, bars }) =>
      `${title}: ${bars.map(({ name, rate }) => `${name} ${Math.round(rate)}`).join(', ')}`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="-10 -4 ${WIDTH} ${y}" role="img" aria-label="Tokens per second. ${said.join('. ')}">
<style>text{font:12px system-ui,sans-serif;fill:#222}.title{font-size:14px;font-weight:600}.group{font-weight:600}</style>
<rect x="-10" y="-4" width="${WIDTH}" height="${y}" fill="#fff"/>
<text class="title" x="0" y="16">Training GPT2-45M on two processors of each kind, tokens per second</text>
<text x="0" y="34">B = 4, T = 1024, in turns with nanoGPT on PyTorch 2.15; lengths compare within a kind</text>
${lines.join('\n')}
</svg>
`;
}

const picture = draw(readTable());
if (process.argv.includes('--print')) process.stdout.write(picture);
else writeFileSync(fileURLToPath(PICTURE), picture);
