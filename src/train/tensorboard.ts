/**
 * A run's TensorBoard log: an event file beside `metrics.jsonl` with the same figures, and the run's configuration. Knows
 * the trainer's events; knows no terminal.
 */
import {
  EVENTS_FILE,
  eventStep,
  eventTags,
  eventText,
  hyperParametersRecord,
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
   * Opens the log of a run that its trainer has made ready and that stands at `state`. What a run that was cut off logged
   * beyond its checkpoint goes, since it will be logged again. A resumed run that had no log gets its former steps from
   * `metrics.jsonl`, all with the present time. A changed configuration is added to the texts; the hyper-parameters stay
   * those that the run began with, since TensorBoard heeds the first only.
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
      // Rewritten only where it must be: a TensorBoard that has the file open goes on reading it.
      if (kept.dropped) await store.replace(EVENTS_FILE, kept.bytes);
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

  /** Logs an event's figures; an event without figures leaves nothing. */
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
  if (event.kind === 'eval') return { [EVALUATION_TAG]: event.valLoss, 'loss/trainFixed': event.trainLoss };
  if (event.kind !== 'step') return null;
  const { loss, lr, gradNorm, tokensPerSecond, meanSteps, auxLoss } = event;
  return {
    'loss/train': loss,
    lr,
    gradNorm,
    tokensPerSecond,
    ...(auxLoss === undefined ? {} : { auxLoss }),
    ...(meanSteps === undefined ? {} : { meanSteps }),
  };
}

/** A log up to where a run stands, which may have evaluations to repeat, and to its first damaged record. */
function upTo(
  file: Uint8Array,
  { step, evaluatedAt }: TrainState,
): { bytes: Uint8Array; dropped: boolean; configText: string | undefined } {
  const kept: Uint8Array[] = [];
  let configText: string | undefined;
  let length = 0;
  let from = 0;
  for (const { data, end } of readTfRecords(file)) {
    const evaluation = eventTags(data, EVENTS_FILE).includes(EVALUATION_TAG);
    if (eventStep(data, EVENTS_FILE) <= (evaluation ? evaluatedAt : step)) {
      kept.push(file.subarray(from, end));
      length += end - from;
      configText = eventText(data, CONFIG_TAG, EVENTS_FILE) ?? configText;
    }
    from = end;
  }
  return { bytes: message(...kept), dropped: length < file.length, configText };
}

/** The configuration in Markdown. */
function configText({ model, train }: RunConfig): string {
  const rows = Object.entries({ ...model, ...train }).map(([name, value]) => `| ${name} | ${value} |`);
  return ['| field | value |', '| --- | --- |', ...rows].join('\n');
}
