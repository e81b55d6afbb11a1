/**
 * A run's TensorBoard log: an event file beside `metrics.jsonl` with the same figures, and the run's configuration.
 */
import {
  EVENTS_FILE,
  eventStep,
  eventTags,
  eventText,
  hyperParametersRecord,
  isRestart,
  restartRecord,
  scalarsRecord,
  textRecord,
  versionRecord,
} from '../formats/tfevents.js';
import { message } from '../formats/protobuf.js';
import { readTfRecords } from '../formats/tfrecord.js';
import type { TrainState } from './checkpoint.js';
import type { RunConfig } from './config.js';
import { readMetrics } from './metrics.js';
import type { Store } from '../platform.js';
import type { TrainEvent } from './events.js';

/** Tag of the text that shows the configuration. */
const CONFIG_TAG = 'config';
/** Tag of a point that every evaluation has. */
const EVALUATION_TAG = 'loss/val';

/** Whether a run keeps such a log. */
export function hasTensorBoard(store: Store): Promise<boolean> {
  return store.has(EVENTS_FILE);
}

export class TensorBoardLog {
  private constructor(
    private readonly store: Store,
    private readonly wallTime: () => number,
  ) {}

  /**
   * Opens the log of a run that its trainer has started at `state`. An interrupted run logs again what it logged beyond
   * its checkpoint: a record marks the restart, and a TensorBoard that has the file open continues with it. A damaged
   * end, or an evaluation that will be repeated, is removed. A resumed run without a log gets its former steps from
   * `metrics.jsonl`, all with the present time. A changed configuration is added to the texts; the hyper-parameters
   * stay those of the run's start, because TensorBoard reads only the first.
   *
   * @param wallTime seconds since 1970
   */
  static async open(
    store: Store,
    state: TrainState,
    config: RunConfig,
    wallTime: () => number,
  ): Promise<TensorBoardLog> {
    const log = new TensorBoardLog(store, wallTime);
    const now = wallTime();
    const text = configText(config);
    const resumed = state.savedAt >= 0;
    const kept = resumed && (await hasTensorBoard(store)) ? upTo(await store.read(EVENTS_FILE), state) : null;
    if (kept && kept.bytes.length > 0) {
      // Rewritten only if necessary: a TensorBoard that has the file open does not see a new file of the same name.
      if (kept.damaged) await store.replace(EVENTS_FILE, kept.bytes);
      else if (kept.beyond) await store.append(EVENTS_FILE, restartRecord(now, state.step + 1));
      if (kept.configText !== text) {
        await store.append(EVENTS_FILE, textRecord(now, state.step, CONFIG_TAG, text));
      }
      return log;
    }
    const parts = [
      versionRecord(now),
      hyperParametersRecord(now, { ...config.model, ...config.train }),
      textRecord(now, 0, CONFIG_TAG, text),
      ...(resumed ? await log.formerSteps() : []),
    ];
    await store.replace(EVENTS_FILE, message(...parts));
    return log;
  }

  /** Logs an event's figures; an event without figures logs nothing. */
  async write(event: TrainEvent): Promise<void> {
    const scalars = scalarsOf(event);
    if (scalars) await this.store.append(EVENTS_FILE, scalarsRecord(this.wallTime(), event.step, scalars));
  }

  private async formerSteps(): Promise<Uint8Array[]> {
    const { events } = await readMetrics(this.store);
    return events.flatMap((event) => {
      const scalars = scalarsOf(event);
      return scalars ? [scalarsRecord(this.wallTime(), event.step, scalars)] : [];
    });
  }
}

/** The curves that an event adds a point to; null for none. */
function scalarsOf(event: TrainEvent): Record<string, number> | null {
  if (event.kind === 'eval') {
    const { valLoss, trainLoss, stateRms = [], loopParts = {} } = event;
    const parts = Object.entries(loopParts).flatMap(([name, loops]) =>
      loops.map(({ mean }, n) => [`loopParts/${name.replaceAll(' ', '-')}/${n + 1}`, mean]),
    );
    return {
      ...{ [EVALUATION_TAG]: valLoss, 'loss/trainFixed': trainLoss },
      ...Object.fromEntries(stateRms.map((rms, n) => [`stateRms/${n + 1}`, rms])),
      ...Object.fromEntries(parts),
    };
  }
  if (event.kind !== 'step') return null;
  const { loss, lr, gradNorm, tokensPerSecond, meanSteps, auxLoss, loops } = event;
  return {
    'loss/train': loss,
    lr,
    gradNorm,
    tokensPerSecond,
    ...(auxLoss === undefined ? {} : { auxLoss }),
    ...(meanSteps === undefined ? {} : { meanSteps }),
    ...(loops === undefined ? {} : { loops }),
  };
}

/** The valid part of a log at a run's state; evaluations may have to be repeated. */
interface Kept {
  /** The valid bytes, up to the first damaged record. */
  readonly bytes: Uint8Array;
  /** Whether the end is damaged, or an evaluation up to `step` will be repeated. */
  readonly damaged: boolean;
  /** Whether there are records beyond `step`. */
  readonly beyond: boolean;
  readonly configText: string | undefined;
}

function upTo(file: Uint8Array, { step, evaluatedAt }: TrainState): Kept {
  let records: {
    readonly at: number;
    readonly counts: boolean;
    readonly bytes: Uint8Array;
    readonly text: string | undefined;
  }[] = [];
  let from = 0;
  for (const { data, end } of readTfRecords(file)) {
    const at = eventStep(data, EVENTS_FILE);
    const evaluation = eventTags(data, EVENTS_FILE).includes(EVALUATION_TAG);
    const bytes = file.subarray(from, end);
    // Removes the records that a restart invalidates.
    if (isRestart(data, EVENTS_FILE)) records = records.filter((record) => record.at < at);
    else {
      const text = eventText(data, CONFIG_TAG, EVENTS_FILE);
      records.push({ at, counts: at <= (evaluation ? evaluatedAt : step), bytes, text });
    }
    from = end;
  }
  const counted = records.filter(({ counts }) => counts);
  return {
    bytes: message(...counted.map(({ bytes }) => bytes)),
    damaged: from < file.length || records.some(({ at, counts }) => !counts && at <= step),
    beyond: records.some(({ at }) => at > step),
    configText: counted.flatMap(({ text }) => text ?? []).at(-1),
  };
}

/** The configuration in Markdown. */
function configText({ model, train }: RunConfig): string {
  const rows = Object.entries({ ...model, ...train }).map(([name, value]) => `| ${name} | ${value} |`);
  return ['| field | value |', '| --- | --- |', ...rows].join('\n');
}
