/**
 * Takes the pictures of README.md and docs/pages.md from the pages themselves, in Chromium:
 *
 *   node dist/studies/pictures.js RUNS MODEL [NAME…]
 *
 * RUNS is a folder of runs to watch, as a comparison makes it; MODEL is a run to serve.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { openBrowser } from '../test/pages/page.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const OUT = join(ROOT, 'docs/pictures');
const LONGEST_MS = 120_000;

interface Picture {
  readonly name: string;
  /** Arguments of `loopnn`. */
  readonly command: readonly string[];
  /** Below the address of the command's server; null if the command writes a page by `--html`. */
  readonly address: string | null;
  /** What happens on the page before the picture is taken. */
  readonly act: (page: Page) => Promise<unknown>;
  readonly height?: number;
}

interface Shape {
  readonly suffix: string;
  readonly width: number;
  readonly colorScheme: 'light' | 'dark';
}

const SHAPES: readonly Shape[] = [
  { suffix: '', width: 1280, colorScheme: 'light' },
  { suffix: '-phone', width: 390, colorScheme: 'dark' },
];

/** Seconds that a race has run when its picture is taken. */
const RACE_SECONDS = 40;

const [runs, model, ...only] = process.argv.slice(2);
if (!runs || !model) {
  console.error('usage: node dist/studies/pictures.js RUNS MODEL [NAME…]');
  process.exit(2);
}

const pause = (page: Page, seconds: number) => page.waitForTimeout(1000 * seconds);
const PICTURES: readonly Picture[] = [
  { name: 'watch', command: ['watch', runs], address: '/', act: (page) => pause(page, 4), height: 1100 },
  {
    name: 'slider',
    command: ['play'],
    address: '/#slider?loops=2',
    act: (page) => pause(page, 4),
    height: 1300,
  },
  {
    name: 'race',
    command: ['play'],
    address: '/#race',
    act: async (page) => {
      await page.getByRole('button', { name: /^Start/ }).click({ timeout: LONGEST_MS });
      await pause(page, RACE_SECONDS);
    },
    height: 1300,
  },
  { name: 'exits', command: ['play'], address: '/#exits', act: (page) => pause(page, 6), height: 1100 },
  {
    name: 'serve',
    command: ['serve', '--model', model],
    address: '/',
    act: async (page) => {
      await page.getByLabel('Text to continue').fill('The people of the United States');
      await page.getByRole('button', { name: 'Generate' }).click();
      await pause(page, 4);
    },
    height: 700,
  },
  {
    name: 'inspect',
    command: [
      'inspect',
      '--model',
      'models/playground',
      '--prompt',
      'The people of the United States of America',
    ],
    address: null,
    act: async () => {},
    height: 760,
  },
];

const MAIN = join(ROOT, 'dist/src/cli/main.js');

/** Runs a command, and calls `use` with the address of the page that it writes. */
async function written(command: readonly string[], use: (url: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'loopnn-picture-'));
  try {
    const file = join(folder, 'page.html');
    execFileSync(process.execPath, [MAIN, ...command, '--html', file], { cwd: ROOT, stdio: 'inherit' });
    await use(pathToFileURL(file).href);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Runs a command, and calls `use` with the address that it prints. */
async function serving(command: readonly string[], use: (url: string) => Promise<void>): Promise<void> {
  const child = spawn(process.execPath, [MAIN, ...command, '--port', '0'], {
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  try {
    for await (const line of createInterface({ input: child.stderr })) {
      const [url] = /http:\/\/[\d.]+:\d+/.exec(line) ?? [];
      if (!url) continue;
      await use(url);
      break;
    }
  } finally {
    child.kill();
  }
}

async function take(
  browser: Browser,
  url: string,
  { name, address, act, height = 900 }: Picture,
): Promise<void> {
  for (const { suffix, width, colorScheme } of SHAPES) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme });
    const page = await context.newPage();
    await page.goto(url + (address ?? ''));
    await act(page);
    const path = join(OUT, `${name}${suffix}.png`);
    await page.screenshot({ path });
    console.log(path);
    await context.close();
  }
}

mkdirSync(OUT, { recursive: true });
const browser = await openBrowser();
for (const picture of PICTURES.filter(({ name }) => only.length === 0 || only.includes(name))) {
  const show = picture.address === null ? written : serving;
  await show(picture.command, (url) => take(browser, url, picture));
}
await browser.close();
