#!/usr/bin/env bash
# What npx starts does not have the files that npx was given open, beyond the three standard ones.
#
# Versions: npm 11.6.2 on Node 20.20 (Linux).
# A shell, env, nice or timeout hand open descriptors on to the program that they start, and so does exec. npx is a program around
# the one that it starts: a descriptor that a parent left open on purpose, and named in the environment, is closed there. MPICH's
# launcher does so (PMI_FD), so a program that finds its ranks by it works under `mpiexec -n 2 program`, and not under
# `mpiexec -n 2 npx program`.
#
# Output seen:
#   env: handed on
#   npx: closed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true}' > package.json
npm install --silent --no-save --no-package-lock npm@11.6.2

echo 'handed on' > file
exec 7< file
read_it='cat <&7 2> /dev/null || echo closed'
through_env=$(env sh -c "$read_it" 2> /dev/null)
exec 7< file
through_npx=$(node node_modules/npm/bin/npx-cli.js -c "$read_it" 2> /dev/null)
echo "env: $through_env"
echo "npx: $through_npx"
[ "$through_env" = 'handed on' ]
[ "$through_npx" = closed ]
