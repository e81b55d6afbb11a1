/** Builds the page on which loopnn and its peers in browsers run training steps, in a folder with pinned packages. */
import { execFileSync } from 'node:child_process';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PINNED = ['@jax-js/jax@0.1.25', '@genai-fi/nanogpt@1.3.0', 'vite@8.4.0'];
const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Installs this project as a package, and the peers; returns the folder of the built page. */
export function buildPeers(folder: string): string {
  const site = join(folder, 'site');
  cpSync(join(ROOT, 'studies/peers/browser'), site, { recursive: true });
  writeFileSync(join(site, 'package.json'), '{ "private": true, "type": "module" }');
  writeFileSync(
    join(site, 'vite.config.js'),
    "export default { worker: { format: 'es' }, build: { target: 'esnext' } };",
  );
  const pack = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  const [{ filename }] = JSON.parse(execFileSync('npm', pack, { cwd: ROOT, encoding: 'utf8' }));
  const install = ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--omit=optional'];
  const quiet = { cwd: site, stdio: 'ignore' } as const;
  execFileSync('npm', ['install', ...install.slice(1, 4), ...PINNED], quiet);
  execFileSync('npm', [...install.slice(0, 4), join(folder, filename)], quiet);
  execFileSync('npx', ['--no-install', 'vite', 'build'], quiet);
  return join(site, 'dist');
}
