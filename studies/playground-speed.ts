/**
 * Measures how fast the playground is in Chromium, from loopback: the time to the first predictions with nothing
 * cached, and the bytes for them; the time from a key on the slider to the frame that shows its loops; and the longest
 * task on the page's thread while a race runs and a user types. Nothing else should run at the same time.
 *
 *     node dist/studies/playground-speed.js [ROUNDS]
 */
import { machine } from '../src/node/machine.js';
import { servePlayground } from '../src/operations/play.js';
import { median } from '../src/statistics.js';
import { openBrowser } from '../test/pages/page.js';

const rounds = Number(process.argv[2] ?? 7);
/** Keys on the slider, and seconds of typing while the race runs. */
const KEYS = 60;
const TYPING_S = 10;

/** Records in the page when predictions first appear, the times from keys to frames, and long tasks. */
const NOTES = `
  globalThis.notes = { first: null, keys: [], tasks: [] };
  new MutationObserver((_, self) => {
    if (!document.querySelector('.bars li')) return;
    self.disconnect();
    requestAnimationFrame(() => setTimeout(() => { notes.first = performance.now(); }));
  }).observe(document, { childList: true, subtree: true });
  new PerformanceObserver((list) => notes.tasks.push(...list.getEntries().map(({ duration }) => duration)))
    .observe({ type: 'longtask', buffered: true });
  addEventListener('keydown', ({ timeStamp }) => {
    requestAnimationFrame(() => setTimeout(() => notes.keys.push(performance.now() - timeStamp)));
  }, true);
`;
interface Notes {
  readonly first: number;
  readonly keys: readonly number[];
  /** Milliseconds of each task that takes over 50. */
  readonly tasks: readonly number[];
}

const { processor, node, commit } = machine();
const browser = await openBrowser();
const playground = await servePlayground();
try {
  console.log(
    `${processor}, Chromium ${browser.version()}, Node ${node}, commit ${commit}, ${rounds} rounds`,
  );
  const firsts: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const context = await browser.newContext({ serviceWorkers: 'block' });
    const page = await context.newPage();
    await page.addInitScript(NOTES);
    const bytes = new Map<string, number>();
    page.on('response', (response) => {
      bytes.set(new URL(response.url()).pathname, Number(response.headers()['content-length'] ?? 0));
    });
    await page.goto(playground.url);
    await page.waitForSelector('.bars li');
    await page.waitForTimeout(500);
    firsts.push(((await page.evaluate('notes')) as Notes).first);
    if (round === rounds - 1) {
      const all = [...bytes];
      const sum = (wanted: (path: string) => boolean) =>
        all.filter(([path]) => wanted(path)).reduce((total, [, size]) => total + size, 0);
      const [model, wasm] = [
        sum((path) => path.startsWith('/model/')),
        sum((path) => path.endsWith('.wasm')),
      ];
      console.log(`first view: ${spread(firsts)} ms`);
      console.log(
        `bytes: ${sum(() => true)} in ${all.length} files (model ${model}, engine ${wasm}, the rest ${sum(() => true) - model - wasm})`,
      );
      await page.focus('#loops');
      for (let key = 0; key < KEYS; key++) {
        await page.keyboard.press(Math.floor(key / 5) % 2 ? 'ArrowRight' : 'ArrowLeft');
        await page.waitForTimeout(50);
      }
      const { keys } = (await page.evaluate('notes')) as Notes;
      console.log(`slider, key to frame: ${spread(keys)} ms, longest ${Math.max(...keys).toFixed(1)}`);
      await page.click('nav a[href="#race"]');
      await page.getByRole('button', { name: 'Start' }).click();
      await page.waitForTimeout(3000);
      await page.click('nav a[href="#slider"]');
      await page.evaluate('notes.tasks.length = 0; notes.keys.length = 0');
      await page.focus('#slider-text');
      const end = Date.now() + TYPING_S * 1000;
      while (Date.now() < end) await page.keyboard.type('a word ', { delay: 60 });
      const racing = (await page.evaluate('notes')) as Notes;
      console.log(
        `while the race runs: ${racing.tasks.length} tasks over 50 ms in ${TYPING_S} s of typing` +
          `${racing.tasks.length > 0 ? `, longest ${Math.max(...racing.tasks).toFixed(0)}` : ''}; ` +
          `typing, key to frame: ${spread(racing.keys)} ms, longest ${Math.max(...racing.keys).toFixed(1)}`,
      );
    }
    await context.close();
  }
} finally {
  await browser.close();
  await playground[Symbol.asyncDispose]();
}

function spread(values: readonly number[]): string {
  return `median ${median([...values]).toFixed(1)}, least ${Math.min(...values).toFixed(1)}`;
}
