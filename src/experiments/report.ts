/** The report of a comparison: one HTML page that needs nothing else, with the table, the curves and the samples. */
import type { Result } from './compare.js';
import { escapeText, lineChart } from './plot.js';

export interface ReportContext {
  readonly title: string;
  /** What the numbers hold for: corpus, machine, commit … */
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly prompt: string;
}

const COLORS = ['#3b6fb6', '#d1495b', '#2e8b57', '#b8860b', '#7b4fa6', '#4a9fa8'];

/** The page's HTML. */
export function renderReport(results: readonly Result[], { title, facts, prompt }: ReportContext): string {
  const chart = lineChart({
    title: 'Validation loss (solid) and training loss (dashed), on fixed batches',
    xLabel: 'tokens seen',
    yLabel: 'nats per token',
    series: results.flatMap((result, i) => {
      const color = COLORS[i % COLORS.length];
      // The steep beginning would flatten everything after it.
      const curve = result.curve.filter((point) => point.step >= result.curve.at(-1)!.step / 10);
      return [
        { label: result.label, color, points: curve.map((p) => [p.tokensSeen, p.valLoss] as const) },
        {
          label: result.label,
          color,
          points: curve.map((p) => [p.tokensSeen, p.trainLoss] as const),
          secondary: true,
        },
      ];
    }),
  });
  const { header, rows } = comparisonTable(results);
  const cells = (tag: string, row: readonly string[]) =>
    row.map((c) => `<${tag}>${escapeText(c)}</${tag}>`).join('');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeText(title)}</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 0.8rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.1rem 1rem; } dt { color: #888; } dd { margin: 0; }
blockquote { margin: 0.4rem 0 1rem; padding: 0.5rem 1rem; border-left: 3px solid #8886; white-space: pre-wrap; }
.scroll { overflow-x: auto; }
</style>
</head>
<body>
<h1>${escapeText(title)}</h1>
<div class="scroll"><table>
<thead><tr>${cells('th', header)}</tr></thead>
<tbody>
${rows.map((row) => `<tr>${cells('td', row)}</tr>`).join('\n')}
</tbody>
</table></div>
<h2>Learning curves</h2>
${chart}
<h2>Samples</h2>
${results
  .map(
    (r) =>
      `<h3>${escapeText(r.label)}</h3><blockquote><b>${escapeText(prompt)}</b>${escapeText(r.sample)}</blockquote>`,
  )
  .join('\n')}
<h2>How it was measured</h2>
<dl>
${facts.map(([name, value]) => `<dt>${escapeText(name)}</dt><dd>${escapeText(value)}</dd>`).join('\n')}
</dl>
</body>
</html>
`;
}

/** The comparison as a table, for the page and for the terminal. */
export function comparisonTable(results: readonly Result[]): { header: string[]; rows: string[][] } {
  const grouped = (n: number) => Math.round(n).toLocaleString('en-US');
  return {
    header: [
      'model',
      'parameters',
      'applications',
      'MFLOPs/token',
      'train loss',
      'val loss',
      'bits/byte',
      'tokens/s',
      'ms/step',
    ],
    rows: results.map((r) => [
      r.label,
      grouped(r.cost.parameters.total),
      String(r.cost.applications),
      ((r.cost.flopsPerToken.forward + r.cost.flopsPerToken.backward) / 1e6).toFixed(2),
      r.trainLoss.toFixed(3),
      r.valLoss.toFixed(3),
      r.bpb === null ? '–' : r.bpb.toFixed(3),
      grouped(r.tokensPerSecond),
      r.stepMs.toFixed(1),
    ]),
  };
}
