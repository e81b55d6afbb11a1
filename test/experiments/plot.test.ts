/**
 * Charts as SVG: what leaves them is marked, their text is in lines that fit, and their colours can be seen in both
 * schemes.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Chart, lineChart } from '../../src/experiments/plot.js';
import { wrapped } from '../../src/experiments/plot-text.js';
import { SERIES, seriesColor, STYLE, withoutVariables } from '../../src/experiments/style.js';

const chart: Chart = {
  title: 'Loss',
  xLabel: 'loops',
  yLabel: 'nats',
  series: [
    {
      label: 'near',
      color: seriesColor(0),
      points: [
        [1, 2],
        [2, 1],
      ],
    },
    {
      label: 'far & wide',
      color: seriesColor(1),
      points: [
        [1, 5],
        [2, 1.5],
        [3, 9],
      ],
    },
  ],
};

test('a curve that leaves the plot is marked where it does, and the legend says how far it goes', () => {
  const whole = lineChart(chart);
  assert.ok(!whole.includes('↑') && whole.includes('far &amp; wide: 9.000'));
  const cut = lineChart({ ...chart, top: 2.5 });
  assert.match(cut, /far &amp; wide: 9\.000 \(↑ to 9\.00\)/);
  assert.match(cut, /near: 1\.000<.*leaves the plot/s);
  const color = withoutVariables(seriesColor(1));
  assert.equal(withoutVariables(cut).split(`<path fill="${color}" d="M`).length - 1, 2, 'down and up again');
  const [above] = chart.series;
  const beyond = { ...above, label: 'gone', points: [[1, 7] as const, [2, 8] as const] };
  assert.match(lineChart({ ...chart, series: [above, beyond], top: 2.5 }), /gone: 8\.000 \(↑ to 8\.00\)/);
});

test('points that are not finite, none at all, and 0 on a logarithmic axis are refused', () => {
  assert.throws(() => lineChart({ ...chart, series: [] }), /Loss: points must be finite/);
  const [{ points: _, ...one }] = chart.series;
  assert.throws(() => lineChart({ ...chart, series: [{ ...one, points: [[1, Number.NaN]] }] }), /finite/);
  assert.throws(
    () => lineChart({ ...chart, logY: true, series: [{ ...one, points: [[1, 0]] }] }),
    /no place for 0/,
  );
});

test('text is broken between words, and inside words longer than a line', () => {
  assert.deepEqual(wrapped('one two three', 60, 12), ['one two', 'three']);
  assert.deepEqual(wrapped('abcdefghijklm no', 60, 12), ['abcdefgh', 'ijklm no']);
  assert.deepEqual(wrapped('', 60), ['']);
});

test('each colour of a series stands out from the paper of its scheme', () => {
  const papers = [...STYLE.matchAll(/--paper: (#\w{6})/g)].map(([, paper]) => paper);
  assert.equal(papers.length, 2);
  for (const pair of SERIES) {
    for (const [scheme, color] of pair.entries()) {
      const [dark, light] = [luminance(color), luminance(papers[scheme])].sort((a, b) => a - b);
      const contrast = (light + 0.05) / (dark + 0.05);
      assert.ok(contrast >= 4, `${color} on ${papers[scheme]}: ${contrast.toFixed(2)}`);
    }
  }
  assert.equal(seriesColor(SERIES.length), seriesColor(0));
});

/** WCAG's relative luminance of #rrggbb. */
function luminance(color: string): number {
  const linear = [1, 3, 5].map((at) => {
    const c = Number.parseInt(color.slice(at, at + 2), 16) / 255;
    return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}
