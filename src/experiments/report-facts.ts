/** The conditions of a comparison's numbers: text, training, measures, machine. */
import type { ComparisonData } from './compare.js';
import { PILOT_SHARE, pilotSteps } from './entrants.js';
import { grouped } from '../printable.js';
import type { Measurements } from './model-results.js';
import type { Outcome } from './outcome.js';
import type { RunResult } from './result.js';
import { describeFields } from './suites.js';
import type { RunConfig } from '../train/config.js';
import { evaluatedLoops } from '../train/loops.js';

export interface ReportedComparison extends Measurements {
  /** The command that makes the comparison. */
  readonly command: string;
  /** The text by its name or folder. */
  readonly corpus: string;
  /** What was held out of it; undefined if unknown. */
  readonly heldOut: keyof typeof HELD_OUT | undefined;
  readonly data: ComparisonData;
  readonly outcome: Outcome;
}

const HELD_OUT = {
  sources: ', another source held out',
  documents: ', whole documents held out',
  tail: ', the end of a document held out',
} as const;

/** The facts by name, in the order of the report. */
export function reportFacts({
  command,
  suite,
  corpus,
  heldOut,
  data,
  outcome,
  timings,
}: ReportedComparison): [name: string, value: string][] {
  const { results, tuned } = outcome;
  const distinct = (values: readonly string[]) => [...new Set(values)].join('; ');
  const where = [...results, ...timings].map(({ provenance }) => provenance);
  const chosen = tuned.map(({ label, fields }) => `${label}: ${describeFields(fields)}`).join('; ');
  const share = `${100 * PILOT_SHARE} %`;
  const tokens = `${grouped(data.train.length)} training and ${grouped(data.val.length)} held-out tokens`;
  const scheduled = results.some(({ config }) => config.train.loopSchedule !== 'constant');
  const byLoops = scheduled ? ', with all loops, and by FLOPs from there to a schedule’s loops' : '';
  const facts: [string, string][] = [
    ['command', command],
    ['text', `${corpus}, ${tokens}${(heldOut && HELD_OUT[heldOut]) ?? ''}`],
    ['tokenizer', data.tokenizer?.name ?? 'unknown'],
  ];
  const [first] = results;
  if (first) {
    const { maxSteps, lr, seed } = first.config.train;
    const batch = grouped(first.tokensSeen / maxSteps);
    facts.push([
      'training',
      `${grouped(first.tokensSeen)} tokens a run in ${grouped(maxSteps)} steps of ${batch}, AdamW, ` +
        `cosine to a tenth of the peak, seeds from ${seed} on`,
    ]);
    facts.push(...recipeFacts(results));
    const grid = Object.entries(suite.grid).map(([name, values]) => `${name} of ${values.join(', ')}`);
    if (chosen === '') facts.push(['learning rate', `${lr} for all`]);
    else
      facts.push(['grid', `${grid.join('; ')}: the best after ${share} of the first seed’s run; ${chosen}`]);
    facts.push(...earlyChoices(outcome));
  }
  if (suite.models.some(({ paper }) => paper)) {
    facts.push([
      'paper',
      'nats per GPT-2 token on OpenWebText, not comparable with other tokenizers and texts; ' +
        'its 3.12 is OpenAI’s released model, which was not trained on that text',
    ]);
  }
  facts.push(
    [
      'val loss',
      'nats per token on all held-out tokens; curves use fixed batches, loops, exits and halting the first 32,768',
    ],
    [
      'step time',
      timings.length > 0
        ? `steps of all models in turns, median${byLoops}; ratios to the baseline`
        : 'of the trainings themselves, beside whatever else ran',
    ],
    [
      'FLOPs',
      'blocks, attention and the heads that are trained, forward and backward; no token halting early',
    ],
    ['spread', '± one standard deviation over seeds; batches of the train loss differ with the seed'],
    ['machine', distinct(where.map((p) => p.machine))],
    ['backend', distinct(where.map((p) => p.backend))],
    ['commit', distinct(where.map((p) => p.commit))],
  );
  return facts;
}

/** Whose pilots, which choose between several candidates, end before all loops of a schedule have come on. */
function earlyChoices({ results, tuned }: Outcome): [string, string][] {
  const early = tuned.flatMap(({ name, label, pilots }) => {
    const config = results.find((result) => result.name === name)?.config;
    if (!config || pilots.length < 2) return [];
    const { nLoop } = config.model;
    const { loops = nLoop } = evaluatedLoops(pilotSteps(config.train), config.train, nLoop);
    return loops === nLoop ? [] : [`${label} (${loops} of ${nLoop} loops)`];
  });
  if (early.length === 0) return [];
  return [['pilots', `learning rates of ${early.join(', ')} were chosen before all their loops came on`]];
}

/** Which models have recipes for training, and which: see docs/recipes.md. */
export function recipeFacts(results: readonly RunResult[]): [string, string][] {
  const fact = (name: string, of: (config: RunConfig) => string | null): [string, string][] => {
    const told = results.flatMap(({ label, config }) => {
      const text = of(config);
      return text === null ? [] : [`${label}: ${text}`];
    });
    return told.length === 0 ? [] : [[name, [...new Set(told)].join('; ')]];
  };
  return [
    ...fact('Muon for the blocks', ({ train: { optimizer, muonLr } }) =>
      optimizer === 'muon' ? `learning rate ${muonLr}` : null,
    ),
    ...fact('loops', ({ model: { nLoop }, train: { loopSchedule, loopStart } }) => {
      if (loopSchedule === 'constant') return null;
      const then = loopSchedule === 'switch' ? `${nLoop}` : `evenly more up to ${nLoop}`;
      return `1, from ${Number((100 * loopStart).toFixed(2))} % of the steps on ${then}`;
    }),
    ...fact('averaged weights', ({ train: { emaDecay } }) => (emaDecay > 0 ? `decay ${emaDecay}` : null)),
  ];
}
