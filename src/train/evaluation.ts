/**
 * An evaluation of a training: both splits on fixed batches, and requested extras. It does not handle logs or steps.
 */
import { ConfigError } from '../errors.js';
import type { TokenSource } from '../evaluate/batches.js';
import { canLoop, everyStep, meanOfBatches, scoreBatches } from '../evaluate/evaluation.js';
import { gateSummaries } from '../evaluate/gates.js';
import { loopParts, stateRms } from '../evaluate/loop-parts.js';
import { exitCount } from '../models/config.js';
import type { ScorePass } from '../models/exits/pass.js';
import type { GPT } from '../models/gpt.js';
import type { Clock } from '../platform.js';
import type { TrainConfig } from './config.js';
import type { EvalEvent, EvalNotes } from './events.js';
import type { Metrics } from './metrics.js';
import { broadcastText, gatherNumbers, type Peers } from './peers.js';

export interface EvaluationOptions {
  readonly model: GPT;
  readonly config: TrainConfig;
  readonly train: TokenSource;
  readonly val: TokenSource;
  readonly clock: Clock;
  /** Further loop counts at which the validation batches are scored; by default, those of a resumed run's log. */
  readonly evalLoops?: readonly number[] | undefined;
  /**
   * The environment's additions, with the current weights and the pass's loops; null if the signal ends it. Called on
   * rank 0.
   */
  readonly notes?: (signal?: AbortSignal, pass?: Pick<ScorePass, 'loops'>) => Promise<EvalNotes | null>;
}

/** The result of an evaluation. */
export type Evaluated = Omit<EvalEvent, 'kind' | 'step' | 'tokensSeen' | 'best'>;

export class Evaluation {
  private evalLoops: readonly number[];

  /** Throws ConfigError for a loop count that the model can not run. */
  constructor(
    private readonly options: EvaluationOptions,
    private readonly peers: Peers,
  ) {
    this.evalLoops = options.evalLoops ?? [];
    for (const loops of this.evalLoops) {
      try {
        options.model.requireOptions({ loops });
      } catch (error) {
        throw error instanceof ConfigError ? new ConfigError('evalLoops', error.message) : error;
      }
    }
  }

  /** Takes the loop counts of a resumed run's log if none were given. */
  async resume({ events }: Metrics): Promise<void> {
    const { model, evalLoops } = this.options;
    const last = events.findLast((event): event is EvalEvent => event.kind === 'eval')?.lossByLoops;
    const logged = Array.isArray(last) ? last.map(({ loops }) => loops) : [];
    const wanted = evalLoops ?? logged.filter((loops) => canLoop(model, loops));
    this.evalLoops = JSON.parse(await broadcastText(this.peers, 0, JSON.stringify([...new Set(wanted)])));
  }

  /** The validation loss alone. */
  async valLoss(pass: Pick<ScorePass, 'loops'>, signal?: AbortSignal): Promise<number | null> {
    return (await this.score(this.options.val, pass, signal))?.loss ?? null;
  }

  /** With the loops of `pass`, or else the model's own; null if the signal is aborted meanwhile. */
  async run(pass: Pick<ScorePass, 'loops'>, signal?: AbortSignal): Promise<Evaluated | null> {
    const { model, train, val, notes } = this.options;
    const own = await this.score(train, pass, signal);
    const held = own && (await this.score(val, pass, signal));
    if (!held) return null;
    const lossByLoops: { loops: number; valLoss: number }[] = [];
    for (const loops of this.evalLoops) {
      const known = loops === (pass.loops ?? exitCount(model.config)) && model.config.halting === 'none';
      const found = known ? held : await this.score(val, { loops, ...everyStep(model.config) }, signal);
      if (!found) return null;
      lossByLoops.push({ loops, valLoss: found.loss });
    }
    const leads = this.peers.rank === 0;
    const noted = leads && notes ? await notes(signal, pass) : {};
    if (noted === null) return null;
    const gates = leads ? await gateSummaries(model) : {};
    const parts = leads ? await loopParts(model) : {};
    const { batchSize: B, seed } = this.options.config;
    const rms = leads && exitCount(model.config) > 1 ? await stateRms(model, val, { B, seed }) : [];
    return {
      ...{ trainLoss: own.loss, valLoss: held.loss, ...pass },
      ...(held.meanSteps === 0 ? {} : { meanSteps: held.meanSteps }),
      ...(lossByLoops.length === 0 ? {} : { lossByLoops }),
      ...(Object.keys(gates).length === 0 ? {} : { gates }),
      ...(Object.keys(parts).length === 0 ? {} : { loopParts: parts }),
      ...(rms.length === 0 ? {} : { stateRms: rms }),
      ...noted,
    };
  }

  /**
   * The loss on fixed batches, and the mean steps there, 0 if no token can halt; processes divide the batches.
   */
  private async score(
    source: TokenSource,
    pass: ScorePass,
    signal?: AbortSignal,
  ): Promise<{ loss: number; meanSteps: number } | null> {
    const { peers } = this;
    const { model, config, clock } = this.options;
    const batches = { B: config.batchSize, count: config.evalBatches, seed: config.seed };
    const own = (batch: number) => batch % peers.size === peers.rank;
    const found = await scoreBatches(model, source, batches, own, clock, signal, pass);
    if (!found) return null;
    const ofAll = async (values: number[]) => {
      const all = await gatherNumbers(peers, values);
      return meanOfBatches(values.map((_, batch) => all[batch % peers.size][batch]));
    };
    const halts = model.config.halting !== 'none';
    return { loss: await ofAll(found.losses), meanSteps: halts ? await ofAll(found.meanSteps) : 0 };
  }
}
