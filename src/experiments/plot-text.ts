/** Text inside charts, where no browser measures it: how much fits a line, and lines of a legend. */

/** The largest size that text of a chart is drawn in, in units of its box: the one of narrow screens. */
export const LARGEST = 14.5;
/** Mean width of a character to its size, in a wide font. */
const CHARACTER = 0.6;

/** The width of a text at a size, about. */
export function widthOf(text: string, size = LARGEST): number {
  return CHARACTER * size * Array.from(text).length;
}

/** A text in lines of at most `width`, broken between words, and inside those that are longer. */
export function wrapped(text: string, width: number, size = LARGEST): string[] {
  const most = Math.max(1, Math.floor(width / (CHARACTER * size)));
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (longer.length <= most) {
      line = longer;
      continue;
    }
    if (line !== '') lines.push(line);
    line = word;
    for (; line.length > most; line = line.slice(most)) lines.push(line.slice(0, most));
  }
  return [...lines, line];
}

/** Text made safe inside SVG and HTML. */
export function escapeText(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}
