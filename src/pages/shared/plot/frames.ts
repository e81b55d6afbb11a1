/**
 * Whose turn it is to be drawn: one chart a frame, the one that is touched first. What painting costs is known only
 * after it.
 */

type Draw = () => void;
const waiting = new Set<Draw>();
let urgent: Draw | null = null;
let asked = false;

/** Draws in one of the next frames, once; in the very next one where it is urgent. */
export function inFrame(draw: Draw, isUrgent = false): void {
  waiting.add(draw);
  if (isUrgent) urgent = draw;
  if (asked) return;
  asked = true;
  requestAnimationFrame(frame);
}

export function noFrame(draw: Draw): void {
  waiting.delete(draw);
}

function frame(): void {
  const [next] = waiting;
  const draw = urgent && waiting.has(urgent) ? urgent : next;
  urgent = null;
  if (waiting.delete(draw)) draw();
  asked = waiting.size > 0;
  if (asked) requestAnimationFrame(frame);
}
