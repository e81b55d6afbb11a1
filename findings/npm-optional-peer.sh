#!/usr/bin/env bash
# npm 10.9.4 and 11.6.2: `npm install --no-save` of a package that the project lists as an optional peer.
#
# Naming a package and its version on the command line installs it, one would guess, whatever package.json says of it.
# npm 11 does not where a lock file was written without it: it says "up to date", leaves with status 0 and installs
# nothing, as long as the package is an optional peer dependency (peerDependenciesMeta) of the project itself. Without a
# lock file it is installed; with --save-optional beside --no-save, which saves nothing, too. npm 10 installs it in each
# case. A script that goes on after status 0 finds out at the first import. `npm ci` removes what was installed so.
#
# Seen:
#     npm 10:
#         no lock file: status 0, installed
#         with a lock file: status 0, installed
#         with a lock file, --save-optional --no-save: status 0, installed
#         package.json is as it was: yes
#         after npm ci: missing
#     npm 11:
#         no lock file: status 0, installed
#         with a lock file: status 0, missing
#         with a lock file, --save-optional --no-save: status 0, installed
#         package.json is as it was: yes
#         after npm ci: missing
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
npm install --silent --no-audit --no-fund --prefix "$work/10" npm@10.9.4 > /dev/null
npm install --silent --no-audit --no-fund --prefix "$work/11" npm@11.6.2 > /dev/null

manifest='{"name":"host","version":"1.0.0","peerDependencies":{"is-number":"^7.0.0"},"peerDependenciesMeta":{"is-number":{"optional":true}}}'

# tell LABEL VERSION ARGUMENTS: runs that npm quietly; prints its status and whether the package is there.
tell() {
  local label=$1 version=$2 status=0
  shift 2
  "$work/$version/node_modules/.bin/npm" "$@" --silent --no-audit --no-fund > /dev/null 2>&1 || status=$?
  if [ -e node_modules/is-number/package.json ]; then
    echo "$label: status $status, installed"
  else
    echo "$label: status $status, missing"
  fi
}

seen() {
  mkdir "$work/project-$1"
  cd "$work/project-$1"
  echo "$manifest" > package.json
  tell 'no lock file' "$1" install --no-save is-number@7.0.0
  rm -rf node_modules package-lock.json
  "$work/$1/node_modules/.bin/npm" install --silent --no-audit --no-fund > /dev/null 2>&1
  test -e package-lock.json
  tell 'with a lock file' "$1" install --no-save is-number@7.0.0
  tell 'with a lock file, --save-optional --no-save' "$1" install --save-optional --no-save is-number@7.0.0
  echo "package.json is as it was: $([ "$(cat package.json)" = "$manifest" ] && echo yes || echo no)"
  tell 'after npm ci' "$1" ci | sed 's/status 0, //'
}

for version in 10 11; do
  echo "npm $version:"
  seen "$version" | sed 's/^/    /'
done | tee "$work/found.txt"
diff "$work/found.txt" - <<'EXPECTED'
npm 10:
    no lock file: status 0, installed
    with a lock file: status 0, installed
    with a lock file, --save-optional --no-save: status 0, installed
    package.json is as it was: yes
    after npm ci: missing
npm 11:
    no lock file: status 0, installed
    with a lock file: status 0, missing
    with a lock file, --save-optional --no-save: status 0, installed
    package.json is as it was: yes
    after npm ci: missing
EXPECTED
