/** SIGTERM during all works, those that take a large model among them. */
import { interruptedEnds } from './interrupted.js';

await interruptedEnds(1000, true);
