/** A queue of events from their producers to one reader, which may be slow. */
export class EventQueue<Event> {
  private readonly events: Event[] = [];
  private failure: { readonly reason: unknown } | null = null;
  private wake = () => {};

  push(event: Event): void {
    this.events.push(event);
    this.wake();
  }

  /** Ends the queue with an error, at once: waiting events are discarded. */
  fail(reason: unknown): void {
    this.failure ??= { reason };
    this.wake();
  }

  /** The next event, as soon as there is one. Throws what `fail` was given. */
  async next(): Promise<Event> {
    while (this.failure === null && this.events.length === 0) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    if (this.failure !== null) throw this.failure.reason;
    return this.events.shift()!;
  }
}
