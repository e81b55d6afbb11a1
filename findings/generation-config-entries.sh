#!/usr/bin/env bash
# transformers 5.24.0 (Python): entries of one's own in a GenerationConfig.
#
# A GenerationConfig takes entries that transformers does not know (`config.depth = 3`), writes them with save_pretrained and
# reads them with from_pretrained, so that a model's own arguments of generate can have a default there. One would guess that
# what is written is read. It is not where the configuration began as a model's own, as `model.generation_config` does for every
# new model: `_from_model_config: true` goes into generation_config.json, and such a file loses its own entries when it is read.
# They stand in the file; no error and no warning says that they are gone. Set `_from_model_config = False` before saving.
#
# Seen:
#     made by hand, in the file: 3, read again: 3
#     made from a model's configuration, in the file: 3, read again: None
#     the same, with _from_model_config False: in the file: 3, read again: 3
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q transformers==5.24.0

cat > "$work/entries.py" <<'PY'
import json
import sys
from pathlib import Path

from transformers import GenerationConfig, GPT2Config


def through_a_file(config, name):
    folder = Path(sys.argv[1]) / name
    config.save_pretrained(folder)
    written = json.loads((folder / "generation_config.json").read_text())["depth"]
    return f"in the file: {written}, read again: {getattr(GenerationConfig.from_pretrained(folder), 'depth', None)}"


plain = GenerationConfig(depth=3)
of_model = GenerationConfig.from_model_config(GPT2Config())
of_model.depth = 3
print("made by hand,", through_a_file(plain, "plain"))
print("made from a model's configuration,", through_a_file(of_model, "of-model"))
of_model._from_model_config = False
print("the same, with _from_model_config False:", through_a_file(of_model, "changed"))
PY

expected="made by hand, in the file: 3, read again: 3
made from a model's configuration, in the file: 3, read again: None
the same, with _from_model_config False: in the file: 3, read again: 3"
found=$("$work/venv/bin/python" "$work/entries.py" "$work" 2> "$work/stderr") || { cat "$work/stderr"; exit 1; }
echo "$found"
[ "$found" = "$expected" ] || { echo "not what it was:" >&2; echo "$expected" >&2; exit 1; }
