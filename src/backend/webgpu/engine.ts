/**
 * What kernels are given: programs to run over storages, and scratch memory. A program gets a pipeline for each way its
 * arrays can lie; arrays of one buffer share a binding where one of them is written, as WebGPU asks for.
 */
import { BackendError } from '../../errors.js';
import type { Storage } from '../backend.js';
import type { Operands } from './half.wgsl.js';
import { COMPUTE, type GpuBuffer, type GpuDevice, USAGE } from './gpu.js';
import {
  type Constants,
  elementOf,
  elementsIn,
  isUpdate,
  type Program,
  shaderText,
  type Team,
  workgroupsOf,
} from './program.js';
import type { Matrices } from './product-tiles.wgsl.js';
import { Recorder } from './recorder.js';
import { ELEMENT, GpuAllocation, GpuStorage, gpuStorage } from './storage.js';

/** Bytes that bindings' offsets are multiples of. */
const ALIGNMENT = 256;
/** Lanes of a team. */
const TEAM = 64;
/** Bind groups that are kept. */
const GROUPS = 8192;

export interface Call {
  readonly arrays: Readonly<Record<string, Storage | null>>;
  readonly numbers?: Readonly<Record<string, number>>;
  readonly constants?: Constants;
  /** How often it runs: elements, rows or workgroups, as the program says. */
  readonly count: number;
}

/** Floats by fours as f16. */
const HALVES: Program = {
  name: 'halves',
  arrays: { dst: 'update vec4h', src: 'vec4f' },
  runs: 'each',
  code: 'fn each(i: u32) { set_dst(i, src(i)); }',
};

interface Pipeline {
  readonly id: number;
  readonly pipeline: object;
  readonly layout: object;
}

/** Where an array of a call lies. */
interface Place {
  readonly buffer: GpuBuffer;
  /** Bytes. */
  readonly start: number;
  readonly end: number;
  readonly writes: boolean;
}

/** Settings that a device does not decide. */
export interface EngineOptions {
  /** Whether rows and tiles are computed by whole workgroups, which share memory, or by threads alone. */
  readonly teams: boolean;
  /** Whether teams add up by subgroups. */
  readonly subgroups: boolean;
  /** How products read their operands. */
  readonly operands: Operands;
  /** What the device's matrix units multiply; null where they are not to be used. */
  readonly matrices: Matrices | null;
  /** Bytes that a binding may have at most; the device's own limit by default. */
  readonly largestBinding?: number;
}

export class Engine {
  readonly recorder: Recorder;
  readonly teams: boolean;
  readonly operands: Operands;
  readonly matrices: Matrices | null;
  readonly team: Team;
  readonly largestBinding: number;
  private readonly mostBindings: number;
  private readonly mostGroups: number;
  private readonly pipelines = new Map<Program, Map<string, Pipeline>>();
  /** Pipelines that have been made. */
  private made = 0;
  private readonly groups = new Map<string, object>();
  private readonly numbersOf = new WeakMap<GpuBuffer, number>();
  private buffers = 0;
  private readonly scratches = new Map<string, GpuStorage[]>();
  private readonly empty: GpuStorage;
  /** Bytes of buffers in use. */
  bytes = 0;

  constructor(
    readonly device: GpuDevice,
    { teams, subgroups, operands, matrices, largestBinding }: EngineOptions,
  ) {
    this.recorder = new Recorder(device);
    this.teams = teams;
    this.operands = operands;
    this.matrices = matrices;
    this.team = { lanes: teams ? TEAM : 1, subgroups };
    const { maxStorageBufferBindingSize, maxBufferSize, maxStorageBuffersPerShaderStage } = device.limits;
    const most = Math.min(maxStorageBufferBindingSize, maxBufferSize, largestBinding ?? Infinity);
    this.largestBinding = most - (most % ALIGNMENT);
    this.mostBindings = maxStorageBuffersPerShaderStage;
    this.mostGroups = device.limits.maxComputeWorkgroupsPerDimension;
    this.empty = this.allocate('f32', 4);
  }

  // ---- memory ----------------------------------------------------------------------------------------------

  allocate(dtype: 'f32' | 'i32', length: number): GpuStorage {
    const perBuffer = this.largestBinding / ELEMENT;
    const buffers: GpuBuffer[] = [];
    for (let left = Math.max(length, 1); left > 0; left -= perBuffer) {
      // Reads by fours may end in the padding.
      const size = Math.ceil((Math.min(left, perBuffer) * ELEMENT) / 16) * 16;
      buffers.push(this.recorder.buffer(size, USAGE.storage | USAGE.copySrc | USAGE.copyDst));
      this.bytes += size;
    }
    return new GpuStorage(dtype, new GpuAllocation(buffers, perBuffer), 0, length);
  }

  free({ allocation }: GpuStorage): void {
    for (const { storage } of allocation.packings.values()) this.free(storage);
    allocation.packings.clear();
    for (const buffer of allocation.buffers) {
      this.bytes -= buffer.size;
      this.recorder.destroy(buffer);
    }
  }

  /** Memory for the dispatches of one kernel, to be disposed of when they are recorded. Contents are left over. */
  scratch(length: number, dtype: 'f32' | 'i32' = 'f32'): GpuStorage & Disposable {
    const size = 2 ** Math.ceil(Math.log2(Math.max(length, 64)));
    const key = `${dtype} ${size}`;
    const list = this.scratches.get(key) ?? [];
    this.scratches.set(key, list);
    const whole = list.pop() ?? this.allocate(dtype, size);
    return Object.assign(whole.slice(0, length), { [Symbol.dispose]: () => void list.push(whole) });
  }

  /** The values of a weight as f16, packed anew when it was written to. */
  halves(weight: Storage): GpuStorage {
    const own = gpuStorage('halves', weight);
    const { packings, version } = own.allocation;
    const key = `${own.offset} ${own.length}`;
    let packing = packings.get(key);
    if (!packing) {
      packing = { version: -1, storage: this.allocate('f32', own.length / 2) };
      packings.set(key, packing);
    }
    if (packing.version !== version) {
      this.run(HALVES, { arrays: { dst: packing.storage, src: own }, count: own.length / 4 });
      packing.version = version;
    }
    return packing.storage;
  }

  // ---- programs --------------------------------------------------------------------------------------------

  run(program: Program, call: Call): void {
    const { count, numbers = {}, constants = {} } = call;
    if (count === 0) return;
    const slot = this.recorder.slot();
    const names = Object.keys(program.arrays);
    const copies: {
      readonly own: GpuStorage;
      readonly copy: GpuStorage & Disposable;
      readonly writes: boolean;
    }[] = [];
    const places = names.map((name): Place | null => {
      const storage = call.arrays[name];
      if (storage === null || storage === undefined) return null;
      let own = gpuStorage(program.name, storage);
      const writes = isUpdate(program.arrays[name]);
      if (own.length === 0) own = this.empty;
      if (!own.whole) {
        const copy = this.contiguous(program.name, name, own);
        copies.push({ own, copy, writes });
        own = copy;
      }
      if (writes) own.allocation.version++;
      own.allocation.lastUse = this.recorder.submission;
      const [piece] = own.pieces();
      const start = piece.offset * ELEMENT;
      return { buffer: piece.buffer, start, end: start + piece.length * ELEMENT, writes };
    });
    const { bindings, spans } = this.bind(program, names, places);
    const types = spans.map(({ type }) => type);
    const written = spans.map(({ writes }) => writes);
    const pipeline = this.pipeline(program, constants, { bindings, written, types });
    const view = new Float32Array(slot.buffer, slot.byteOffset, slot.length);
    let at = 0;
    slot[at++] = count;
    for (const [i, place] of places.entries()) {
      const b = bindings[i];
      const type = elementOf(program.arrays[names[i]]);
      const unit = b === null ? 1 : types[b] === type ? elementsIn(type) : 1;
      slot[at++] = place && b !== null ? (place.start - spans[b].start) / ELEMENT / unit : 0;
    }
    for (const [name, type] of Object.entries(program.numbers ?? {})) {
      const value = numbers[name];
      if (value === undefined) throw new BackendError(program.name, `must be given ${name}`);
      if (type === 'f32') view[at++] = value;
      else slot[at++] = value;
    }
    const groups = workgroupsOf(program, count, this.team);
    const x = Math.min(groups, this.mostGroups);
    this.recorder.dispatch(pipeline.pipeline, this.group(pipeline, spans), x, Math.ceil(groups / x));
    for (const { own, copy, writes } of copies) {
      if (writes) this.copy(own, copy);
      copy[Symbol.dispose]();
    }
  }

  copy(dst: GpuStorage, src: GpuStorage): void {
    dst.allocation.version++;
    for (const { allocation } of [dst, src]) allocation.lastUse = this.recorder.submission;
    let at = 0;
    while (at < dst.length) {
      const [to, from] = [dst, src].map(
        (storage) =>
          storage
            .slice(at, storage.length - at)
            .pieces()
            .next().value!,
      );
      const length = Math.min(to.length, from.length);
      const bytes = length * ELEMENT;
      if (to.buffer === from.buffer) {
        using through = this.scratch(length);
        const [{ buffer }] = through.pieces();
        this.recorder.copy(from.buffer, from.offset * ELEMENT, buffer, 0, bytes);
        this.recorder.copy(buffer, 0, to.buffer, to.offset * ELEMENT, bytes);
      } else this.recorder.copy(from.buffer, from.offset * ELEMENT, to.buffer, to.offset * ELEMENT, bytes);
      at += length;
    }
  }

  /** A copy in one buffer of what lies in two. */
  private contiguous(where: string, name: string, own: GpuStorage): GpuStorage & Disposable {
    if (own.length * ELEMENT > this.largestBinding) {
      const rule = `argument '${name}' must fit into a binding of this device, ${this.largestBinding} bytes`;
      throw new BackendError(where, rule, own.length * ELEMENT);
    }
    const copy = this.scratch(own.length, own.dtype);
    this.copy(copy, own);
    return copy;
  }

  /** The bindings of a call: one an array, or one for all arrays of a buffer of which some are written. */
  private bind(program: Program, names: readonly string[], places: readonly (Place | null)[]) {
    const spans: {
      buffer: GpuBuffer;
      start: number;
      end: number;
      writes: boolean;
      type: ReturnType<typeof elementOf>;
    }[] = [];
    const bindings = places.map((place, i): number | null => {
      if (!place) return null;
      const type = elementOf(program.arrays[names[i]]);
      const sharers = places.filter((other) => other?.buffer === place.buffer);
      const shared = sharers.length > 1 && sharers.some((other) => other!.writes);
      const apart = place.start % (elementsIn(type) * ELEMENT) !== 0;
      const start = place.start - (place.start % ALIGNMENT);
      const end = Math.ceil(place.end / 16) * 16;
      if (shared) {
        const b = spans.findIndex(({ buffer }) => buffer === place.buffer);
        if (b >= 0) {
          const span = spans[b];
          span.start = Math.min(span.start, start);
          span.end = Math.max(span.end, end);
          span.writes ||= place.writes;
          if (span.type !== type) span.type = 'f32';
          return b;
        }
      }
      const single = type === 'vec4f' && (shared || apart) ? 'f32' : type;
      spans.push({ buffer: place.buffer, start, end, writes: place.writes, type: single });
      return spans.length - 1;
    });
    if (spans.length > this.mostBindings) {
      throw new BackendError(program.name, `must bind at most ${this.mostBindings} arrays`, spans.length);
    }
    for (const span of spans) {
      span.end = Math.min(span.end, span.buffer.size);
      this.recorder.counts.bound += span.end - span.start;
    }
    return { bindings, spans };
  }

  private pipeline(
    program: Program,
    constants: Constants,
    placement: Parameters<typeof shaderText>[2],
  ): Pipeline {
    let key = '';
    for (const name in constants) key += `${name} ${constants[name]} `;
    for (const binding of placement.bindings) key += `${binding} `;
    for (const [b, type] of placement.types.entries())
      key += placement.written[b] ? `${type} update ` : `${type} `;
    const own = this.pipelines.get(program) ?? new Map<string, Pipeline>();
    this.pipelines.set(program, own);
    const known = own.get(key);
    if (known) return known;
    const { device } = this;
    const code = shaderText(program, constants, placement, this.team);
    const module = device.createShaderModule({ label: program.name, code });
    const layout = device.createBindGroupLayout({
      entries: [
        { binding: 0, visibility: COMPUTE, buffer: { type: 'uniform', hasDynamicOffset: true } },
        ...placement.written.map((writes, b) => ({
          binding: b + 1,
          visibility: COMPUTE,
          buffer: { type: writes ? 'storage' : 'read-only-storage' },
        })),
      ],
    });
    const pipeline = {
      id: this.made++,
      layout,
      pipeline: device.createComputePipeline({
        label: `${program.name} ${key}`,
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, entryPoint: 'main' },
      }),
    };
    own.set(key, pipeline);
    return pipeline;
  }

  private group(
    { id, layout }: Pipeline,
    spans: readonly { readonly buffer: GpuBuffer; readonly start: number; readonly end: number }[],
  ): object {
    let key = `${id}`;
    for (const { buffer, start, end } of spans) key += ` ${this.numberOf(buffer)} ${start} ${end}`;
    const known = this.groups.get(key);
    if (known) return known;
    if (this.groups.size === GROUPS) this.groups.clear();
    const group = this.device.createBindGroup({
      layout,
      entries: [
        { binding: 0, resource: { buffer: this.recorder.parameters, offset: 0, size: ALIGNMENT } },
        ...spans.map(({ buffer, start, end }, b) => ({
          binding: b + 1,
          resource: { buffer, offset: start, size: end - start },
        })),
      ],
    });
    this.groups.set(key, group);
    return group;
  }

  private numberOf(buffer: GpuBuffer): number {
    let number = this.numbersOf.get(buffer);
    if (number === undefined) {
      number = this.buffers++;
      this.numbersOf.set(buffer, number);
    }
    return number;
  }
}
