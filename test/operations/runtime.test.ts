/** Which precision trains: bf16 where its products are faster, which is not where there are instructions for it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { nativeInfo } from '../../src/backend/native/addon.js';
import { openRuntime, slowInBf16 } from '../../src/operations/runtime.js';

const onLinux = process.platform === 'linux' && process.arch === 'x64';

test('training takes bf16 where its products are faster, and says where it does not', {
  skip: !onLinux && 'the processor is read from /proc/cpuinfo',
}, async () => {
  const intel = /vendor_id\s*:\s*GenuineIntel/.test(readFileSync('/proc/cpuinfo', 'utf8'));
  const { isa, bf16, fastBf16 } = nativeInfo();
  assert.equal(fastBf16, isa === 'amx' || (bf16 && !intel));
  const notices: string[] = [];
  const { backend } = await openRuntime({ precision: 'auto' }, (line) => notices.push(line));
  if (backend.name !== 'native') return;
  assert.equal(backend.precision, fastBf16 ? 'bf16' : 'f32');
  assert.equal(notices.length, bf16 && !fastBf16 ? 1 : 0);
  assert.equal(slowInBf16({ name: 'native', precision: 'bf16' }), !fastBf16);
  assert.equal(slowInBf16({ name: 'wasm', precision: 'bf16' }), false);
});
