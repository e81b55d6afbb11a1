/** Events wait for a slow reader, a waiting reader is woken, and an error comes before what waits. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventQueue } from '../../src/generate/event-queue.js';

test('events come in order, whether the reader or the events wait', async () => {
  const queue = new EventQueue<number>();
  queue.push(1);
  queue.push(2);
  assert.deepEqual([await queue.next(), await queue.next()], [1, 2]);
  const waiting = queue.next();
  queue.push(3);
  assert.equal(await waiting, 3);
});

test('an error comes at once, before the events that wait, and stays', async () => {
  const queue = new EventQueue<number>();
  const waiting = queue.next();
  queue.fail(new Error('first'));
  await assert.rejects(waiting, /first/);
  queue.push(1);
  queue.fail(new Error('second'));
  await assert.rejects(queue.next(), /first/);
});
