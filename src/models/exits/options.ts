/** The options of early exit when a model runs; `criteria.ts` and `learned.ts` define the names. */
import { ConfigError } from '../../errors.js';
import { averagesExits, exitCount, type ModelConfig } from '../config.js';

/** Criteria for any model with exits. */
export const CRITERIA = ['change', 'second-difference', 'kl', 'entropy', 'confidence'] as const;
export type Criterion = (typeof CRITERIA)[number];

/** CRITERIA, and the rules that a model may have learned. */
export const EXIT_CRITERIA = [...CRITERIA, 'geometric', 'multinomial', 'sequence'] as const;
export type ExitCriterion = (typeof EXIT_CRITERIA)[number];

export interface ExitOptions {
  /** The model's own halting rule by default. */
  readonly criterion?: ExitCriterion;
  /** The threshold of the criterion's value; for confidence and geometric, the rule's own by default. */
  readonly threshold?: number;
}

/** Criteria that read a state as the head does. */
const READ_BY_HEAD: readonly ExitCriterion[] = ['kl', 'entropy', 'confidence'];
/** Rules whose threshold is a probability that must be exceeded, and may be absent. */
const PROBABILITIES: readonly ExitCriterion[] = ['confidence', 'geometric'];
/** Rules that choose among the exits without a threshold. */
const CHOICES: readonly ExitCriterion[] = ['multinomial', 'sequence'];

/** Criteria that compare two loops, so that a row can exit after the second loop at the earliest. */
const COMPARE_LOOPS: readonly ExitCriterion[] = ['second-difference', 'kl'];

/**
 * Criteria by which a row can exit a model early when it runs `loops` loops, steps or layers: of CRITERIA, and its own
 * rule.
 */
export function exitCriteria(config: ModelConfig, loops = exitCount(config)): ExitCriterion[] {
  return EXIT_CRITERIA.filter((criterion) => whyNoExit(config, criterion, loops) === null);
}

/** Why no row can exit a model by a criterion when it runs `loops` loops; null if rows can. */
export function whyNoExit(config: ModelConfig, criterion: ExitCriterion, loops: number): string | null {
  const { halting, nCoda, depth, hyperConnections } = config;
  if (exitCount(config) < 2) return `a model of depth ${depth} has a single exit`;
  if (averagesExits(config)) return 'halting is act, whose output is the average until it halts';
  if (criterion !== halting && !(CRITERIA as readonly string[]).includes(criterion)) {
    return `it is learned with halting ${criterion}, and this model has halting ${halting}`;
  }
  if (nCoda > 0 && READ_BY_HEAD.includes(criterion)) {
    return 'it reads the head, which stands behind a coda';
  }
  if (hyperConnections !== 'none' && READ_BY_HEAD.includes(criterion)) {
    return 'it reads the head, which stands behind the mean of the streams';
  }
  if (loops < 2) return 'a single loop has no exit before its end';
  if (loops < 3 && COMPARE_LOOPS.includes(criterion)) {
    return 'it compares two loops, so that no token leaves before the end of the second, which is the last';
  }
  return null;
}

/**
 * Throws ConfigError for exits that a model does not have, or can not take within `loops` loops (by default all): early
 * exits of a depth without exits, or of ACT, whose output is an average; another model's criterion; a criterion that
 * reads the head if there is a coda; a criterion with nothing to compare before the last loop; a threshold out of
 * range.
 */
export function requireExit(
  config: ModelConfig,
  { criterion, threshold }: ExitOptions,
  loops = exitCount(config),
): void {
  const possible = exitCriteria(config, loops);
  if (possible.length === 0) {
    const reason = whyNoExit(config, 'change', loops)!; // what rules out `change` rules out all
    throw new ConfigError('exit', 'must not be given where no token can leave early', undefined, reason);
  }
  const rule = criterion ?? EXIT_CRITERIA.find((own) => own === config.halting);
  if (rule === undefined) {
    const hint = `one of ${possible.join(', ')}`;
    throw new ConfigError(
      'exit.criterion',
      'must be given where the model has no halting rule',
      undefined,
      hint,
    );
  }
  requireCriterion('exit.criterion', config, rule, loops);
  requireThreshold(rule, threshold);
}

/**
 * Throws ConfigError for a criterion by which no row can exit a model early in `loops` loops; the error names those
 * that can.
 */
export function requireCriterion(
  where: string,
  config: ModelConfig,
  criterion: ExitCriterion,
  loops: number,
): void {
  const reason = whyNoExit(config, criterion, loops);
  if (reason === null) return;
  const rule = `must be ${exitCriteria(config, loops).join(', ')} for this model with ${loops} loops`;
  throw new ConfigError(where, rule, criterion, reason);
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
