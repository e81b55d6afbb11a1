/** One turn of drawing a frame, for all charts: whoever is touched first, the others as time allows. */

/** Milliseconds of a frame in which a further chart may begin to be drawn. */
const BUDGET_MS = 10;

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
  const begun = performance.now();
  if (urgent && waiting.delete(urgent)) {
    const draw = urgent;
    urgent = null;
    draw();
  }
  for (const draw of waiting) {
    if (performance.now() - begun > BUDGET_MS) break;
    waiting.delete(draw);
    draw();
  }
  asked = waiting.size > 0;
  if (asked) requestAnimationFrame(frame);
}
