/** Pages in a real Chromium, as a person uses them: playwright-core with the machine's browser. */
import { createRequire } from 'node:module';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { findChromium } from '../web/chromium.js';

const found = findChromium();

/** Why tests of pages are skipped; false where there is a browser. */
export const skip: string | false = 'missing' in found ? found.missing : false;

/** @param flags of Chromium, besides the usual */
export async function openBrowser(flags: readonly string[] = []): Promise<Browser> {
  if ('missing' in found) throw new Error(found.missing);
  const args = ['--no-sandbox', '--disable-dev-shm-usage', '--mute-audio', ...flags];
  return chromium.launch({ executablePath: pathOf(found.command), args });
}

/** playwright-core takes no command's name. */
function pathOf(command: string): string {
  const folders = (process.env.PATH ?? '').split(delimiter);
  return folders.map((folder) => join(folder, command)).find((path) => existsSync(path)) ?? command;
}

/** What went wrong on a page: errors that nobody caught, and messages on the console. */
export interface OpenedPage {
  readonly page: Page;
  readonly problems: string[];
}

export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<OpenedPage> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const problems: string[] = [];
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(message.text());
  });
  await page.goto(url);
  return { page, problems };
}

/** What axe-core finds that is serious or critical, one line each. */
export async function accessibilityProblems(page: Page): Promise<string[]> {
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  await page.evaluate(axe);
  return page.evaluate(async () => {
    interface Violation {
      readonly impact: string;
      readonly id: string;
      readonly nodes: readonly { readonly html: string }[];
    }
    const { axe } = globalThis as unknown as {
      axe: { run(): Promise<{ violations: readonly Violation[] }> };
    };
    const { violations } = await axe.run();
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' ')}`);
  });
}

/** How far a page is wider than the window: 0 where nothing must be scrolled sideways. */
export function overflow(page: Page): Promise<number> {
  return page.evaluate('document.documentElement.scrollWidth - innerWidth');
}
