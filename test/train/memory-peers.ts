/** Processes that are none: each trainer of a test has one of these, and they exchange arrays in memory. */
import assert from 'node:assert/strict';
import type { Message, Peers } from '../../src/train/peers.js';

const bytesOf = (values: Message['values']) =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** What goes from one to another: messages that wait for a receiver, or receivers that wait for one. */
class Channel {
  private readonly sent: Uint8Array[] = [];
  private readonly waiting: ((bytes: Uint8Array) => void)[] = [];

  send(bytes: Uint8Array): void {
    const receiver = this.waiting.shift();
    if (receiver) receiver(bytes);
    else this.sent.push(bytes);
  }

  async receive(into: Uint8Array): Promise<void> {
    const bytes =
      this.sent.shift() ?? (await new Promise<Uint8Array>((resolve) => this.waiting.push(resolve)));
    assert.equal(bytes.length, into.length, 'a message is as long as its receiver expects');
    into.set(bytes);
  }
}

export function memoryPeers(size: number): Peers[] {
  const channels = Array.from({ length: size }, () => Array.from({ length: size }, () => new Channel()));
  return Array.from({ length: size }, (_, rank) => ({
    rank,
    size,
    async exchange(sends, receives) {
      for (const { peer, values } of sends) channels[rank][peer].send(bytesOf(values).slice());
      await Promise.all(receives.map(({ peer, values }) => channels[peer][rank].receive(bytesOf(values))));
    },
  }));
}
