/**
 * Writes and reads TensorBoard's events (tensorflow/core/util/event.proto, framework/summary.proto): scalars, texts and
 * hyper-parameters as records of a TFRecord file.
 */
import {
  bytesField,
  doubleField,
  floatField,
  message,
  readFields,
  textField,
  varintField,
} from './protobuf.js';
import { tfRecord } from './tfrecord.js';

/** The name of TensorBoard's files must contain `tfevents`. */
export const EVENTS_FILE = 'events.out.tfevents.loopnn';

/** Values of TensorProto's DataType. */
const DT_FLOAT = 1;
const DT_STRING = 7;

/** The first record of every file. `wallTime` is in seconds since 1970, as everywhere in this file. */
export function versionRecord(wallTime: number): Uint8Array {
  return tfRecord(message(doubleField(1, wallTime), textField(3, 'brain.Event:2')));
}

/**
 * Says that a run restarts at a step: readers drop what they have from that step on, and read what follows (an Event
 * with a SessionLog of status START).
 */
export function restartRecord(wallTime: number, step: number): Uint8Array {
  return tfRecord(message(doubleField(1, wallTime), varintField(2, step), bytesField(7, varintField(1, 1))));
}

/** Whether an event's data says that a run restarts. Throws DataError for data that is no event. */
export function isRestart(data: Uint8Array, where: string): boolean {
  return [...readFields(data, where)].some(({ field }) => field === 7);
}

/** One point of each named curve. */
export function scalarsRecord(
  wallTime: number,
  step: number,
  scalars: Readonly<Record<string, number>>,
): Uint8Array {
  const values = Object.entries(scalars).map(([tag, value]) =>
    bytesField(1, message(textField(1, tag), floatField(2, value))),
  );
  return summaryRecord(wallTime, step, message(...values));
}

/** A Markdown text for the tab Text. */
export function textRecord(wallTime: number, step: number, tag: string, text: string): Uint8Array {
  const tensor = message(
    varintField(1, DT_STRING),
    bytesField(2, shape(1)),
    bytesField(8, new TextEncoder().encode(text)),
  );
  const value = message(
    textField(1, tag),
    bytesField(8, tensor),
    bytesField(9, pluginMetadata('text', new Uint8Array(0))),
  );
  return summaryRecord(wallTime, step, bytesField(1, value));
}

/**
 * A run's hyper-parameters for the tab HParams (tensorboard/plugins/hparams/plugin_data.proto: SessionStartInfo). Null
 * values are skipped.
 */
export function hyperParametersRecord(
  wallTime: number,
  parameters: Readonly<Record<string, number | string | boolean | null>>,
): Uint8Array {
  const entries = Object.entries(parameters).flatMap(([name, value]) => {
    if (value === null) return [];
    // google.protobuf.Value
    const wrapped =
      typeof value === 'number'
        ? doubleField(2, value)
        : typeof value === 'string'
          ? textField(3, value)
          : varintField(4, value);
    return [bytesField(1, message(textField(1, name), bytesField(2, wrapped)))];
  });
  const session = message(...entries, doubleField(5, wallTime));
  const empty = message(varintField(1, DT_FLOAT), bytesField(2, shape(0)));
  const value = message(
    textField(1, '_hparams_/session_start_info'),
    bytesField(8, empty),
    bytesField(9, pluginMetadata('hparams', bytesField(3, session))),
  );
  return summaryRecord(wallTime, 0, bytesField(1, value));
}

/** The step in an event's data, 0 if there is none. Throws DataError if the data is not a protobuf message. */
export function eventStep(data: Uint8Array, where: string): number {
  let step = 0;
  for (const { field, value } of readFields(data, where)) {
    if (field === 2 && typeof value === 'number') step = value;
  }
  return step;
}

/** The text that an event's data has under a tag; undefined if it has none. Throws as `eventStep`. */
export function eventText(data: Uint8Array, tag: string, where: string): string | undefined {
  const utf8 = new TextDecoder();
  const last = (bytes: Uint8Array | undefined, number: number): Uint8Array | undefined => {
    let found: Uint8Array | undefined;
    if (bytes) {
      for (const { field, value } of readFields(bytes, where)) {
        if (field === number && typeof value !== 'number') found = value;
      }
    }
    return found;
  };
  const value = last(last(data, 5), 1);
  const name = last(value, 1);
  const text = last(last(value, 8), 8);
  return name && text && utf8.decode(name) === tag ? utf8.decode(text) : undefined;
}

/** The tags of the values in an event's data. Throws as `eventStep`. */
export function eventTags(data: Uint8Array, where: string): string[] {
  const within = (bytes: Uint8Array, number: number): Uint8Array[] =>
    [...readFields(bytes, where)].flatMap(({ field, value }) =>
      field === number && typeof value !== 'number' ? [value] : [],
    );
  return within(data, 5)
    .flatMap((summary) => within(summary, 1))
    .flatMap((value) => within(value, 1))
    .map((tag) => new TextDecoder().decode(tag));
}

function summaryRecord(wallTime: number, step: number, summary: Uint8Array): Uint8Array {
  return tfRecord(message(doubleField(1, wallTime), varintField(2, step), bytesField(5, summary)));
}

/** TensorShapeProto of a list. */
function shape(size: number): Uint8Array {
  return bytesField(2, varintField(1, size));
}

/** SummaryMetadata. */
function pluginMetadata(name: string, content: Uint8Array): Uint8Array {
  return bytesField(1, message(textField(1, name), bytesField(2, content)));
}
