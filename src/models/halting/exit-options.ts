/** When rows leave before the last step, as a choice of whoever runs the model; see `criteria.ts` and `rules.ts` for what the names mean. */
import { ConfigError } from '../../errors.js';
import { exitCount, type ModelConfig } from '../config.js';

/** Criteria for any model with exits. */
export const CRITERIA = ['change', 'second-difference', 'kl', 'entropy', 'confidence'] as const;
export type Criterion = (typeof CRITERIA)[number];

/** Those, and the rules that a model may have learned. */
export const EXIT_CRITERIA = [...CRITERIA, 'geometric', 'multinomial', 'sequence'] as const;
export type ExitCriterion = (typeof EXIT_CRITERIA)[number];

export interface ExitOptions {
  /** The model's own halting rule where absent. */
  readonly criterion?: ExitCriterion;
  /** What the criterion's value must pass; for confidence and geometric, the rule's own where absent. */
  readonly threshold?: number;
}

/** Criteria that read a state as the head does. */
const READ_BY_HEAD: readonly ExitCriterion[] = ['kl', 'entropy', 'confidence'];
/** Rules whose threshold is a probability that must be exceeded, and may be absent. */
const PROBABILITIES: readonly ExitCriterion[] = ['confidence', 'geometric'];
/** Rules that choose among the exits, by no threshold. */
const CHOICES: readonly ExitCriterion[] = ['multinomial', 'sequence'];

/** Criteria that a model can leave by: any of CRITERIA, and its own rule; none where the model has no early exit to take. */
export function exitCriteria(config: ModelConfig): ExitCriterion[] {
  const { halting, nCoda } = config;
  if (exitCount(config) < 2 || halting === 'act') return [];
  return EXIT_CRITERIA.filter((criterion) => {
    if (nCoda > 0 && READ_BY_HEAD.includes(criterion)) return false;
    return criterion === halting || (CRITERIA as readonly string[]).includes(criterion);
  });
}

/**
 * Throws ConfigError for exits that a model does not have: early ones of a depth without, or of ACT, whose output is an
 * average; a criterion that is another model's; one that reads the head where a coda lies between; a threshold out of range.
 */
export function requireExit(config: ModelConfig, { criterion, threshold }: ExitOptions): void {
  const { halting, depth, nCoda } = config;
  if (exitCount(config) < 2) {
    const hint = `this model's depth is ${depth}`;
    throw new ConfigError('exit', 'must not be given where a model has a single exit', undefined, hint);
  }
  if (halting === 'act') {
    throw new ConfigError(
      'exit',
      'must not be given where halting is act, whose output is the average until it halts',
    );
  }
  const possible = exitCriteria(config);
  const rule = criterion ?? (halting === 'none' ? undefined : halting);
  if (rule === undefined) {
    const hint = `one of ${possible.join(', ')}`;
    throw new ConfigError(
      'exit.criterion',
      'must be given where the model has no halting rule',
      undefined,
      hint,
    );
  }
  if (nCoda > 0 && READ_BY_HEAD.includes(rule)) {
    const hint = 'change and second-difference read the state itself';
    throw new ConfigError('exit.criterion', 'must not read the head, which stands behind a coda', rule, hint);
  }
  if (!possible.includes(rule)) {
    throw new ConfigError('exit.criterion', `must be ${possible.join(', ')}`, rule);
  }
  requireThreshold(rule, threshold);
}

function requireThreshold(rule: ExitCriterion, threshold: number | undefined): void {
  if (CHOICES.includes(rule)) {
    if (threshold === undefined) return;
    throw new ConfigError('exit.threshold', `must not be given for ${rule}, which has none`, threshold);
  }
  if (PROBABILITIES.includes(rule)) {
    if (threshold === undefined || (threshold > 0 && threshold < 1)) return;
    throw new ConfigError('exit.threshold', `must lie in (0, 1) for ${rule}`, threshold);
  }
  if (threshold === undefined) {
    const hint = '`loopnn exits` shows what thresholds do';
    throw new ConfigError('exit.threshold', `must be given for ${rule}`, undefined, hint);
  }
  if (threshold > 0 && Number.isFinite(threshold)) return;
  throw new ConfigError('exit.threshold', `must be a number above 0 for ${rule}`, threshold);
}
