/** The time in a browser. */
import type { Clock } from '../platform.js';

export const webClock: Clock = {
  now: () => performance.now(),
  // A message arrives at once; nested timers wait some milliseconds.
  yield: () =>
    new Promise((resolve) => {
      const { port1, port2 } = new MessageChannel();
      const arrived = () => {
        port1.close();
        resolve();
      };
      port1.addEventListener('message', arrived, { once: true });
      port1.start();
      port2.postMessage(null);
    }),
};
