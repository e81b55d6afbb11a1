/** A weight of which an engine in C++ keeps only the packing. */
import { BackendError } from '../../errors.js';
import type { HostArray } from '../backend.js';
import { HostStorage } from '../memory/storage.js';

/** How B (K, N), the weight or its transpose, is packed: in which format, for which instruction set. */
export interface Layout {
  readonly K: number;
  readonly N: number;
  readonly transposed: boolean;
  readonly format: string;
  readonly isa: string;
}

/** Replaces the weight in calls of the kernels for which it is packed. */
export class PackedWeight extends HostStorage {
  constructor(
    readonly layout: Layout,
    readonly packing: HostStorage,
  ) {
    super('f32');
  }

  /** The length of the weight, not of its packing. */
  override get length(): number {
    return this.layout.K * this.layout.N;
  }

  /** The packing in memory. */
  override get data(): HostArray {
    return this.packing.data;
  }

  protected override part(): never {
    throw new BackendError('slice', 'must be given a weight whose values are kept, not its packing alone');
  }

  /** The packing, for a kernel that reads this layout. Throws BackendError for another layout. */
  as(kernel: string, wanted: Layout): HostStorage {
    const text = ({ K, N, transposed, format, isa }: Layout) =>
      `(${K}, ${N})${transposed ? ' of its transpose' : ''} in ${format} for ${isa}`;
    if (text(wanted) === text(this.layout)) return this.packing;
    throw new BackendError(
      kernel,
      `argument 'weight' must be packed as ${text(wanted)}`,
      text(this.layout),
      'it is kept only for inference, in the format of the backend that loaded it',
    );
  }
}
