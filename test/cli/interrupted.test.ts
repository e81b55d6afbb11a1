/** SIGTERM during what a small model and a text give to do. */
import { interruptedEnds } from './interrupted.js';

await interruptedEnds(2000, false); // other tests run beside these
