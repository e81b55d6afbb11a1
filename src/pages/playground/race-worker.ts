/** The race's worker. */
import type { RaceEvent, RaceCommand } from './race/messages.js';
import { Racing } from './race/racing.js';

const racing = new Racing((event: RaceEvent) => {
  if (event.kind === 'saved') postMessage(event, { transfer: [event.zip.buffer] });
  else postMessage(event);
});

self.onmessage = ({ data }: MessageEvent<RaceCommand>) => racing.take(data);
