/**
 * Decides which chart is drawn: one chart a frame, the chart in use first. The cost of painting is known only after it.
 */

type Draw = () => void;
const waiting = new Set<Draw>();
let urgent: Draw | null = null;
let asked = false;

/** Draws once in one of the next frames; in the very next frame if it is urgent. */
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
