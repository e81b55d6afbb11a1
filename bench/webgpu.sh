#!/usr/bin/env bash
# Measures the WebGPU engine on this machine's GPU, within 10 minutes: kernel tests, kernels at full size against the
# native engine, training steps of 45M, 45M-LOOP and 124M at T = 1024 in f32 and f16, and the same steps in PyTorch if
# it is installed.
#
#     bench/webgpu.sh [--small] > results.json
#
# --small: tiny models, for trying this script itself on SwiftShader. BATCH: sequences of a step; STEPS: timed steps;
# PYTHON: a Python that has PyTorch. Progress goes to stderr; the document has the error of a part that fails.
set -uo pipefail
cd "$(dirname "$0")/.."
small=$([ "${1:-}" = --small ] && echo 1 || true)
steps=${STEPS:-$([ "$small" ] && echo 1 || echo 10)}
batch=${BATCH:-$([ "$small" ] && echo 1 || echo 4)}
python=${PYTHON:-python3}
# SwiftShader is slow.
patience=$([ "$small" ] && echo 20 || echo 1)
export LOOPNN_BACKEND=webgpu
# The clocks of kernels, without rounding to a tenth of a millisecond.
export LOOPNN_WEBGPU_FLAGS="${LOOPNN_WEBGPU_FLAGS:-disable-dawn-features=timestamp_quantization}"
if [ "$small" ]; then
  export VK_DRIVER_FILES=${VK_DRIVER_FILES:-/usr/lib/chromium/vk_swiftshader_icd.json} XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}
  shape='{"nEmbd":64,"nHead":2,"blockSize":32,"vocabSize":256}'
  flags="--n-embd 64 --n-head 2 --block-size 32 --vocab-size 256"
  sizes="--n-embd 64 --n-head 2 --block 32 --vocab 256"
  tests="test/backend/heads"
else
  export LOOPNN_TEST_GPU=1
  shape='{}'
  flags="" sizes=""
  tests="test/backend/rows test/backend/attention test/backend/heads test/backend/elementwise test/backend/linear
    test/backend/layers test/backend/head.test test/backend/loops test/backend/optimizer test/backend/webgpu"
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
node scripts/setup.mjs >&2
node -e "import('webgpu').catch(() => process.exit(1))" || npm install --save-optional --no-save webgpu@0.6.2 >&2

# part NAME SECONDS COMMAND: what the command prints, one JSON document, becomes a field.
part() {
  local name=$1 seconds=$2 start=$SECONDS status
  shift 2
  echo "webgpu.sh: $name" >&2
  timeout $((seconds * patience)) "$@" > "$folder/$name.json" 2> "$folder/$name.err"
  status=$?
  tail -n 5 "$folder/$name.err" >&2
  if [ $status -ne 0 ]; then
    node -e "const [, status, out, error] = process.argv;
      console.log(JSON.stringify({ error: status === '124' ? 'took too long' : error.trim().split('\n').slice(-5).join('\n') || out.slice(-2000) }));" \
      "$status" "$(cat "$folder/$name.json")" "$(cat "$folder/$name.err")" > "$folder/$name.failed"
    # If the command printed a document, it stays: it describes the failure itself.
    node -e "JSON.parse(require('fs').readFileSync(0, 'utf8'))" < "$folder/$name.json" 2> /dev/null ||
      mv "$folder/$name.failed" "$folder/$name.json"
  fi
  echo "webgpu.sh: $name took $((SECONDS - start)) s" >&2
}

# The numbers of kernel tests that pass and fail, and the names of those that fail.
kernel_tests() {
  node scripts/test.mjs --again $tests > "$folder/tests.txt" 2>&1
  node -e "const text = require('fs').readFileSync(process.argv[1], 'utf8');
    const of = (what) => [...text.matchAll(new RegExp('^. ' + what + ' (\\\\d+)$', 'gm'))].at(-1)?.[1];
    console.log(JSON.stringify({ passed: Number(of('pass')), failed: Number(of('fail')),
      failures: [...text.matchAll(/^ *✖ (.*)$/gm)].slice(0, 20).map((m) => m[1]) }));" "$folder/tests.txt"
}
export -f kernel_tests
export folder tests

# PyTorch's JSON, or the reason why there is none.
torch_steps() {
  "$python" -c 'import torch' 2> /dev/null || { echo '"PyTorch is not installed"'; return; }
  "$python" bench/torch_steps.py --batch "$batch" --steps "$steps" $sizes "$@"
}
export -f torch_steps
export python batch steps sizes

part doctor 20 node dist/src/cli/main.js doctor --json
part tests 150 bash -c kernel_tests
part sizes 120 node dist/studies/webgpu-sizes.js gpt2-45m "$([ "$small" ] && echo 1 || echo 2)" "$shape"
part kernels 60 node dist/src/cli/main.js bench gpt2-45m --only kernels --precision f32 --batch-size "$batch" --json $flags
for precision in f32 f16; do
  for model in 45m 45m-loop 124m; do
    part "$model-$precision" 30 node dist/src/cli/main.js bench "gpt2-$model" --only steps --steps "$steps" \
      --precision "$precision" --batch-size "$batch" --json $flags
    layers=$([ "$model" = 124m ] && echo 12 || echo 1) loops=$([ "$model" = 45m-loop ] && echo 2 || echo 1)
    part "torch-$model-$precision" 30 bash -c 'torch_steps "$@"' torch --n-layer "$layers" --n-loop "$loops" \
      --dtype "$([ "$precision" = f16 ] && echo float16 || echo float32)"
  done
done

# One document. For each model's steps: tokens a second, the share of the adapter's product rate, the ratio to PyTorch.
node -e "
const { readFileSync } = require('fs');
const whole = (name) => JSON.parse(readFileSync(process.argv[1] + '/' + name + '.json', 'utf8'));
const models = {};
for (const precision of ['f32', 'f16']) for (const model of ['45m', '45m-loop', '124m']) {
  const run = whole(model + '-' + precision);
  const torch = whole('torch-' + model + '-' + precision);
  const [result] = run.results ?? [];
  (models[model] ??= {})[precision] = result
    ? { tokensPerSecond: result.tokensPerSecond, shareOfProductRate: result.mfu, limits: run.limits, ...result, torch,
        againstTorch: torch.tokensPerSecond ? result.tokensPerSecond / torch.tokensPerSecond : null }
    : { ...run, torch };
}
const { machine, gpu } = whole('doctor');
console.log(JSON.stringify({ machine, gpu, small: process.argv[2] === '1', tests: whole('tests'), sizes: whole('sizes'),
  kernels: whole('kernels'), steps: models }, null, 1));
" "$folder" "$small"
