/** Which precision trains: that of the faster products, whatever instructions there are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Precision } from '../../src/backend/backend.js';
import { slowInBf16 } from '../../src/operations/runtime.js';

/** A backend whose products take so many milliseconds a thousand iterations, and the clock that shows it. */
function machine(precision: Precision, ms: Record<Precision, number>) {
  let now = 0;
  const multiplyAdds = (of: Precision, iterations: number) => {
    now += (ms[of] * iterations) / 1000;
    return iterations;
  };
  const limits = { multiplyAdds, read: () => {} };
  return [
    { precision, limits },
    { now: () => now, yield: async () => {} },
  ] as const;
}

test('bf16 trains where its products are faster, and float32 where they are slower or not asked about', () => {
  assert.equal(slowInBf16(...machine('bf16', { f32: 2, bf16: 1 })), false);
  assert.equal(slowInBf16(...machine('bf16', { f32: 1, bf16: 2 })), true);
  assert.equal(slowInBf16(...machine('f32', { f32: 2, bf16: 1 })), false);
  // A machine on which other work holds up the first measurements.
  const slow = { f32: 1, bf16: 2 };
  const [backend, clockOfSlow] = machine('bf16', slow);
  let readings = 0;
  const now = () => {
    if (readings++ === 20) slow.bf16 = 0.5;
    return clockOfSlow.now();
  };
  assert.equal(slowInBf16(backend, { ...clockOfSlow, now }), false);
  const [, clock] = machine('bf16', { f32: 1, bf16: 1 });
  assert.equal(slowInBf16({ precision: 'bf16', limits: null }, clock), false);
});
