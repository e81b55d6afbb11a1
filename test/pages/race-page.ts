/** The race as a visitor steers it. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { unzipSync } from 'fflate';
import type { Page } from 'playwright-core';

/** Some 9,000 characters that are no mere repetition. */
export const TEXT = Array.from(
  { length: 120 },
  (_, i) => `${i} loops went round, and ${(i * 37) % 101} came back; the wheel turned ${i % 7} times.\n`,
).join('');

export const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });

/** Waits until the race says that it is so. */
export function untilStatus(page: Page, status: string): Promise<void> {
  return page.locator('.race [role=status]').getByText(status).waitFor({ timeout: 60_000 });
}

/** A column of the table of models, by its place. */
export function column(page: Page, place: number): Promise<string[]> {
  return page.locator(`.race .entrants tbody td:nth-child(${place})`).allTextContents();
}

/** Steps that the models have made. */
export const stepsOf = async (page: Page): Promise<number[]> => (await column(page, 5)).map(numberOf);

export const numberOf = (text: string): number => Number(text.replaceAll(',', ''));

export async function untilStep(page: Page, step: number): Promise<void> {
  for (;;) {
    const steps = await stepsOf(page);
    if (steps.length > 0 && Math.min(...steps) >= step) return;
    await page.waitForTimeout(50);
  }
}

/** Presses Save, and unpacks what comes below a folder. */
export async function saveInto(page: Page, folder: string): Promise<void> {
  const [download] = await Promise.all([page.waitForEvent('download'), button(page, 'Save').click()]);
  for (const [name, content] of Object.entries(unzipSync(readFileSync(await download.path())))) {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
}
