/**
 * Builds what the package needs when npm installs it from git: compiled TypeScript, and an addon if there is a C++
 * compiler. npm runs this in checkouts too, where it does nothing: `npm test` and `npm run build` build what they need.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { dirname, isAbsolute, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
/** The folder in which npm was called: in another project, if that project installs this one. */
const caller = relative(ROOT, process.env.INIT_CWD ?? ROOT);
if (!caller.startsWith('..') && !isAbsolute(caller)) process.exit(0);
if (!existsSync(join(ROOT, 'node_modules/typescript'))) {
  console.error(
    'prepare: the packages that building needs are missing, so nothing is built; run `npm run build` there',
  );
  process.exit(0);
}

const setup = spawnSync(process.execPath, [join(ROOT, 'scripts/setup.mjs'), '--installed'], {
  stdio: 'inherit',
});
if (setup.status !== 0) process.exit(setup.status ?? 1);
const { systemName } = await import('../dist/src/backend/native/find.js');
const built = join(ROOT, 'dist/native/loopnn.node');
if (existsSync(built)) {
  const folder = join(ROOT, 'prebuilds', systemName());
  mkdirSync(folder, { recursive: true });
  copyFileSync(built, join(folder, 'loopnn.node'));
}
