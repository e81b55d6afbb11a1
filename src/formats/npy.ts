/**
 * The header of numpy's `.npy` files: a magic number, a version, and a dictionary in Python's notation that gives the
 * type of the values, their order and the shape. The format is described in numpy/lib/_format_impl.py.
 */
import { DataError } from '../errors.js';
import type { IntegerFormat, IntegerType } from './integers.js';

const MAGIC = '\x93NUMPY';
/** Most bytes of a header; a longer one is damaged or hostile. numpy itself reads 10,000 by default. */
export const MAX_NPY_HEADER_BYTES = 1 << 16;

/** A sequence of integers in a file. */
export interface NpyHeader extends IntegerFormat {
  /** Bytes before the first value. */
  readonly start: number;
  readonly count: number;
}

export function isNpy(head: Uint8Array): boolean {
  return MAGIC.split('').every((character, i) => head[i] === character.charCodeAt(0));
}

/**
 * Reads the header at the beginning of a file; `head` holds the whole file or its first `MAX_NPY_HEADER_BYTES` bytes.
 *
 * @throws DataError for anything but a one-dimensional array of integers
 */
export function parseNpyHeader(head: Uint8Array, where: string): NpyHeader {
  const damaged = (rule: string, got?: unknown): DataError =>
    new DataError(where, `its numpy header must ${rule}`, got, 'it is damaged: write it again');
  const [major, minor] = head.subarray(6, 8);
  if (!(major >= 1 && major <= 3 && minor === 0)) {
    throw damaged('have version 1.0, 2.0 or 3.0', head.length < 8 ? 'none' : `${major}.${minor}`);
  }
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const first = major === 1 ? 10 : 12;
  if (head.length < first) throw damaged('be complete', `${head.length} bytes`);
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > MAX_NPY_HEADER_BYTES - first) {
    throw damaged(`have at most ${MAX_NPY_HEADER_BYTES} bytes`, first + length);
  }
  if (head.length < first + length) throw damaged(`have ${first + length} bytes`, head.length);
  const text = new TextDecoder(major === 3 ? 'utf-8' : 'latin1').decode(head.subarray(first, first + length));
  const shape = /(['"])shape\1\s*:\s*\(([^()]*)\)/.exec(text)?.[2];
  if (shape === undefined || !/(['"])fortran_order\1\s*:\s*(True|False)/.test(text)) {
    throw damaged('name descr, fortran_order and shape', text.trim());
  }
  const format = parseDescr(text, where);
  // Python 2 wrote an L after long numbers.
  const sizes = shape.split(',').flatMap((size) => (size.trim() === '' ? [] : [size.trim()]));
  if (sizes.length !== 1 || !/^\d+L?$/.test(sizes[0])) {
    throw new DataError(
      where,
      'must hold a single row of ids',
      `an array of shape (${shape.trim()})`,
      'save ids.reshape(-1)',
    );
  }
  return { ...format, start: first + length, count: Number.parseInt(sizes[0], 10) };
}

/** The type of the values. Its first character gives the byte order: < little, > big, | for none. */
function parseDescr(text: string, where: string): IntegerFormat {
  const descr = /(['"])descr\1\s*:\s*(['"])(.*?)\2/.exec(text)?.[3];
  const match = /^([<>|])([iu])([1248])$/.exec(descr ?? '');
  if (match === null || (match[1] === '|' && match[3] !== '1')) {
    const got = descr === undefined ? 'records' : `the type ${descr}`;
    const hint = 'save ids.astype(numpy.uint16)';
    throw new DataError(where, 'must hold integers as token ids', got, hint);
  }
  const [, order, kind, bytes] = match;
  const type = `${kind === 'u' ? 'uint' : 'int'}${8 * Number(bytes)}` as IntegerType;
  return { type, bigEndian: order === '>' };
}
