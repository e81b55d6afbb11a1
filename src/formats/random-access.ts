/** A file as formats see it that do not read it whole. The host supplies it. */
export interface RandomAccessFile extends AsyncDisposable {
  /** In bytes. */
  readonly size: number;
  /** Fills `into` with the bytes from `offset` on. Throws where the file ends before. */
  read(into: Uint8Array, offset: number): Promise<void>;
}
