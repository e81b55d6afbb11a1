/**
 * The types of WebAssembly's JavaScript interface that are used here: neither Node's types nor the language's include
 * them.
 */

export interface CompiledModule {
  readonly compiledModule?: never;
}

export interface Memory {
  readonly buffer: ArrayBufferLike;
}

export interface Instance {
  readonly exports: Readonly<Record<string, unknown>>;
}

type Imports = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

interface Interface {
  validate(bytes: Uint8Array<ArrayBuffer>): boolean;
  compile(bytes: Uint8Array<ArrayBuffer>): Promise<CompiledModule>;
  instantiate(module: CompiledModule, imports: Imports): Promise<Instance>;
  readonly Instance: new (module: CompiledModule, imports: Imports) => Instance;
  readonly Memory: new (limits: { initial: number; maximum: number; shared: boolean }) => Memory;
}

/** Undefined if the runtime has none. */
export const webAssembly = (globalThis as unknown as { readonly WebAssembly?: Interface }).WebAssembly;
