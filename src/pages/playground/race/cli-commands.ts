/** The commands that resume a saved race, in the folder where its file was unpacked. */
export function commands(maxSteps: number): string {
  return `npx loopnn generate --model race/looped --prompt "The "
npx loopnn train --resume --data race/data --out race/looped --max-steps ${2 * maxSteps}
npx loopnn watch race`;
}
