#!/usr/bin/env bash
# npm 10.2.3 (which Node 20.10 brings) and 10.9.9, Node 20: what `npm ci --dry-run` leaves of node_modules.
#
# --dry-run is documented as "indicates that you don't want npm to make any changes and that it should only report what it
# would have done". 10.2.3 empties node_modules nevertheless, says "added 1 package", exits with 0, and installs nothing:
# whoever asks what an installation would do has none any more. 10.9.9 leaves it alone.
#
# Output:
#   npm 10.2.3: exit code 0, node_modules has 0 packages (1 before)
#   npm 10.9.9: exit code 0, node_modules has 1 packages (1 before)
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir project
npm install --silent --no-audit --no-fund --prefix npm-10.2.3 npm@10.2.3
npm install --silent --no-audit --no-fund --prefix npm-10.9.9 npm@10.9.9
cd project
echo '{ "name": "project", "version": "1.0.0", "dependencies": { "fzstd": "0.1.1" } }' >package.json
npm install --silent --no-audit --no-fund
cp -r node_modules ../kept

packages() { find node_modules -mindepth 1 -maxdepth 1 -type d 2>/dev/null | wc -l | tr -d ' '; }
for version in 10.2.3 10.9.9; do
  rm -rf node_modules
  cp -r ../kept node_modules
  before=$(packages)
  code=0
  node "../npm-$version/node_modules/npm/bin/npm-cli.js" ci --dry-run --no-audit --no-fund >/dev/null 2>&1 || code=$?
  echo "npm $version: exit code $code, node_modules has $(packages) packages ($before before)"
done | tee ../found.txt
diff ../found.txt - <<'EXPECTED'
npm 10.2.3: exit code 0, node_modules has 0 packages (1 before)
npm 10.9.9: exit code 0, node_modules has 1 packages (1 before)
EXPECTED
