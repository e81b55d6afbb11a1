/**
 * ONNX files: a graph as plain data, and the ModelProto that holds it, written piece by piece so that one tensor at a
 * time is in memory. This file implements the format (onnx/onnx.proto); it must not handle models or operators.
 */
import { CheckpointError, ConfigError } from '../errors.js';
import { bytesField, floatField, message, textField, varintField } from './protobuf.js';

/** Element types by the numbers of TensorProto.DataType. */
export const ONNX_TYPES = { float32: 1, int8: 3, int64: 7, bool: 9, float16: 10 } as const;
export type OnnxType = keyof typeof ONNX_TYPES;
const BYTES: Readonly<Record<OnnxType, number>> = { float32: 4, int8: 1, int64: 8, bool: 1, float16: 2 };

/** An attribute that is written as a 32-bit float, even if the number is whole. */
export interface OnnxFloat {
  readonly float: number;
}

/**
 * One operation. Attributes are whole numbers, lists of whole numbers, floats, or graphs. An omitted input has the name
 * ''.
 */
export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, number | readonly number[] | OnnxFloat | OnnxBody>>;
}

/** An input or output; a dimension given as a text is symbolic. */
export interface OnnxValue {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly (number | string)[];
}

/** A constant. Its little-endian bytes are read only when the file is written. */
export interface OnnxInitializer {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly number[];
  read(): Promise<Uint8Array>;
}

/** A graph within a node, which sees the values of the graph around it. */
export interface OnnxBody {
  readonly nodes: readonly OnnxNode[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

export interface OnnxGraph extends OnnxBody {
  readonly initializers: readonly OnnxInitializer[];
}

/** LayerNormalization came with version 17; nothing here needs a newer one. */
export const OPSET = 17;
/** The version of the format that came with that operator set. */
const IR_VERSION = 8;
/** A protobuf message must stay below 2 GiB. */
const MAX_BYTES = 2 ** 31 - 1;

/**
 * The bytes of a model file, in order. Throws ConfigError for a model beyond 2 GiB, CheckpointError for a broken
 * tensor.
 */
export async function* onnxFile(graph: OnnxGraph): AsyncGenerator<Uint8Array> {
  const body = bodyProto(graph, 'loopnn');
  const tensors = graph.initializers.map((tensor) => {
    const length = tensor.shape.reduce((product, n) => product * n, BYTES[tensor.type]);
    const fields = message(
      ...tensor.shape.map((n) => varintField(1, n)),
      varintField(2, ONNX_TYPES[tensor.type]),
      textField(8, tensor.name),
    );
    const head = message(fields, lengthPrefix(9, length));
    return { tensor, length, head: message(lengthPrefix(5, head.length + length), head) };
  });
  const graphLength = tensors.reduce((sum, { head, length }) => sum + head.length + length, body.length);
  const start = message(
    varintField(1, IR_VERSION),
    textField(2, 'loopnn'),
    bytesField(8, message(textField(1, ''), varintField(2, OPSET))),
  );
  const prefix = lengthPrefix(7, graphLength);
  const total = start.length + prefix.length + graphLength;
  if (total > MAX_BYTES) {
    throw new ConfigError(
      'ONNX',
      `a file must have at most ${MAX_BYTES} bytes`,
      total,
      'use smaller weights',
    );
  }
  yield start;
  yield prefix;
  yield body;
  for (const { tensor, length, head } of tensors) {
    yield head;
    const bytes = await tensor.read();
    if (bytes.length !== length) {
      throw new CheckpointError(`tensor ${tensor.name}`, `must have ${length} bytes`, bytes.length);
    }
    yield bytes;
  }
}

/** The key and length of a field; its bytes follow. */
function lengthPrefix(field: number, length: number): Uint8Array {
  return message(varintField(field, length).map((byte, i) => (i === 0 ? byte | 2 : byte)));
}

function bodyProto({ nodes, inputs, outputs }: OnnxBody, name: string): Uint8Array {
  return message(
    ...nodes.map((node, i) => bytesField(1, nodeProto(node, i))),
    textField(2, name),
    ...inputs.map((value) => bytesField(11, valueInfo(value))),
    ...outputs.map((value) => bytesField(12, valueInfo(value))),
  );
}

function nodeProto({ op, inputs, outputs, attributes }: OnnxNode, index: number): Uint8Array {
  return message(
    ...inputs.map((name) => textField(1, name)),
    ...outputs.map((name) => textField(2, name)),
    textField(3, `${op}_${index}`),
    textField(4, op),
    ...Object.entries(attributes).map(([name, value]) => bytesField(5, attribute(name, value))),
  );
}

const FLOAT = 1;
const INT = 2;
const GRAPH = 5;
const INTS = 7;

function attribute(name: string, value: OnnxNode['attributes'][string]): Uint8Array {
  const field = textField(1, name);
  if (typeof value === 'number') return message(field, varintField(3, value), varintField(20, INT));
  if ('float' in value) return message(field, floatField(2, value.float), varintField(20, FLOAT));
  if ('nodes' in value) return message(field, bytesField(6, bodyProto(value, name)), varintField(20, GRAPH));
  return message(field, ...value.map((n) => varintField(8, n)), varintField(20, INTS));
}

function valueInfo({ name, type, shape }: OnnxValue): Uint8Array {
  const dims = shape.map((n) => bytesField(1, typeof n === 'number' ? varintField(1, n) : textField(2, n)));
  const tensor = message(varintField(1, ONNX_TYPES[type]), bytesField(2, message(...dims)));
  return message(textField(1, name), bytesField(2, bytesField(1, tensor)));
}
