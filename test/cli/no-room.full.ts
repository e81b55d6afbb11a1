/**
 * Long: every writer on disks that are full, read-only or not ours says in one line which file, and leaves nothing
 * half-written.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MAIN, MOUNTING, mountsDisks, outcome, temporaryFolder } from './helpers.js';
import { writers } from './writers.js';

const folder = temporaryFolder();
const disk = join(folder, 'disk');
const listing = join(folder, 'listing');
mkdirSync(disk);

/** What keeps a disk from being written, as the shell does it, and how that is told. */
const REFUSALS = {
  'a read-only disk': { how: 'mount -o remount,ro "$0"', told: 'its file system is read-only' },
  // Without this right the superuser is stopped by modes as others are.
  'no permission': {
    how: 'chmod a-w "$0"; set -- setpriv --bounding-set=-dac_override "$@"',
    told: 'permission is denied',
  },
};

/** Runs a command with a small disk mounted, and tells what it left there. */
async function onDisk(kibibytes: number, before: string, args: readonly string[], env = {}) {
  const script = `mount -t tmpfs -o size=${kibibytes}k none "$0" || exit 99
    ${before}
    "$@"; code=$?; (cd "$0" && find . -mindepth 1 | sort) > "${listing}"; exit $code`;
  const [command, ...rest] = [...MOUNTING, 'sh', '-c', script, disk, process.execPath, MAIN, ...args];
  const child = spawn(command, rest, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const { code, stderr } = await outcome(child);
  const left = existsSync(listing) ? readFileSync(listing, 'utf8').split('\n').filter(Boolean) : [];
  return { code, stderr, left };
}

if (!mountsDisks()) {
  test('every writer without room', { skip: 'this system does not let a process mount a disk' }, () => {});
} else {
  for (const [name, { args, env, tooSmall, enough, goesOn }] of Object.entries(await writers())) {
    test(`${name}: without room, on a read-only disk and without permission`, async (t) => {
      const place = join(disk, 'place');
      const sizes = [tooSmall, 8, 12, 20, 40, 100, ...(enough === null ? [] : [enough])];
      const cases = [
        ...sizes.map((size) => ({ size, how: '', told: 'the disk is full' })),
        ...Object.values(REFUSALS).map((refusal) => ({ size: 8192, ...refusal })),
      ];
      const codes: string[] = [];
      for (const { size, how, told } of cases) {
        const { code, stderr, left } = await onDisk(size, how, args(place), env?.(place));
        const what = `${size} KiB, ${how}: ${code} ${stderr}${left.join(' ')}`;
        codes.push(`${code}`);
        if (size === tooSmall || how !== '') assert.equal(code, 1, what);
        else if (size === enough) assert.equal(code, 0, what);
        else assert.ok(code === 0 || code === 1, what);
        const unfinished = goesOn ? /draft|lock|new/ : /partial|draft|lock|loopnn-/;
        assert.ok(!left.some((path) => unfinished.test(path)), what);
        if (code === 0) continue;
        const lines = stderr.trimEnd().split('\n');
        assert.equal(lines.filter((line) => line.startsWith('loopnn: ')).length, 1, what);
        const last = lines.at(-1)!;
        // A download that cannot fit is refused before it begins.
        if (how === '' && last.startsWith(`loopnn: ${place}: must have `)) continue;
        assert.ok(last.startsWith(`loopnn: ${disk}`), what);
        assert.match(last, new RegExp(`^loopnn: \\S+: could not be written, ${told}; \\w.*$`), what);
      }
      t.diagnostic(`${name}: ended with ${codes.join(', ')}`);
    });
  }
}

test('a page that has no room leaves the former one, and a disk is not replaced by a folder', async (t) => {
  if (!mountsDisks()) return t.skip('this system does not let a process mount a disk');
  const page = join(disk, 'page.html');
  const keep = `printf former > "${page}"`;
  const { inspect, 'prepare: shards': prepare } = await writers();
  const full = await onDisk(4, `${keep}; trap 'grep -c former "${page}" >&2' EXIT`, inspect.args(page));
  assert.deepEqual([full.code, full.left], [1, ['./page.html']], full.stderr);
  assert.match(full.stderr, /the disk is full.*\n1\n$/);
  const mounted = await onDisk(8192, '', prepare.args(disk));
  assert.deepEqual([mounted.code, mounted.left], [1, []], mounted.stderr);
  assert.match(mounted.stderr, /disk: must not be where a disk is mounted; choose a folder in it\n$/);
});
