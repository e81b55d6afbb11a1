/** The page of `loopnn serve` as a person uses it. */
import type { Page } from 'playwright-core';

/** Fills fields, named by their labels, and asks for an answer. */
export async function generate(shown: Page, fields: Readonly<Record<string, string>>): Promise<void> {
  for (const [label, value] of Object.entries(fields)) await shown.getByLabel(label).fill(value);
  await shown.getByRole('button', { name: 'Generate' }).click();
}
