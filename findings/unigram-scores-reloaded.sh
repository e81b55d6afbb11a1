#!/usr/bin/env bash
# tokenizers 0.23.3 (Python, Rust inside): a Unigram tokenizer that is saved and loaded again.
#
# A tokenizer.json has a Unigram model's scores with all their digits, so one would guess that what is loaded is what was saved, and that
# any JSON parser reads the same scores. Neither is so: the reader takes the digits as one whole number and divides by a power of ten,
# and each of the two rounds. About one of thirty trained scores is a unit in the last place away from the number that is written (and
# that Python's json reads). Where two ways to cut a text have equal sums, that decides: "ab" below is one token before saving and two
# after. Trained vocabularies have such texts: runs such as "----------", whose pieces add up to the same in any order.
#
# Seen:
#     made: score of a -3.6783333333333332, ids of "ab" [3]
#     saved: score of a -3.6783333333333332
#     loaded: score of a -3.678333333333333, ids of "ab" [1, 2]
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q tokenizers==0.23.3

cat > "$work/scores.py" <<'PY'
import json

from tokenizers import Tokenizer
from tokenizers.models import Unigram

a, b = -3.6783333333333332, -3.3
made = Tokenizer(Unigram([("<unk>", 0.0), ("a", a), ("b", b), ("ab", a + b)], unk_id=0))
saved = made.to_str()
loaded = Tokenizer.from_str(saved)
score = lambda text: json.loads(text)["model"]["vocab"][1][1]
print(f'made: score of a {a}, ids of "ab" {made.encode("ab").ids}')
print(f"saved: score of a {score(saved)}")
print(f'loaded: score of a {score(loaded.to_str())}, ids of "ab" {loaded.encode("ab").ids}')
PY

expected='made: score of a -3.6783333333333332, ids of "ab" [3]
saved: score of a -3.6783333333333332
loaded: score of a -3.678333333333333, ids of "ab" [1, 2]'
found=$("$work/venv/bin/python" "$work/scores.py" 2> "$work/stderr") || { cat "$work/stderr"; exit 1; }
echo "$found"
[ "$found" = "$expected" ] || { echo "not what it was:" >&2; echo "$expected" >&2; exit 1; }
