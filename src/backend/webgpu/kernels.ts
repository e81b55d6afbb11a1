/** What a family of kernels in WGSL is: functions of the engine and of a kernel's arguments. */
import type { Storage } from '../backend.js';
import type { ALL_KERNELS, Arguments } from '../kernel-table.js';
import type { Engine } from './engine.js';

/** Kernels over an engine's storages: each records what computes it. */
export type GpuKernels = {
  readonly [Name in keyof typeof ALL_KERNELS]: (
    engine: Engine,
    args: Arguments<(typeof ALL_KERNELS)[Name], Storage, Storage>,
  ) => void;
};
