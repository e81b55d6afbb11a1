#!/usr/bin/env python3
"""Checks that transformers reads the tokenizers of exported runs as loopnn does; run by hand after a build.

    python test/formats/check_tokenizers.py

Each file of `test/fixtures/tokenizers/differential.json.br` that is not refused becomes the tokenizer of a run, which is exported. By
`AutoTokenizer`, all texts must have the ids that the fixture has, and become the same texts again. Only texts of which
Python's model makes a special token that they spell may have others: loopnn does not make it.

Prints what it found; exits with 1 if anything is off. Last run: transformers 5.24.0 with tokenizers 0.23.3.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import brotli
import numpy as np
import transformers
from checks import ROOT, done, failures, loopnn, report
from transformers import AutoTokenizer

REFUSED = ["dropout", "an expression that is not supported"]
ENDS = ["<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "[SEP]", "<|bos|>"]


def run_of_any_tokenizer(work):
    """A run whose model has ids for every file."""
    np.arange(1000, dtype="<u2").tofile(work / "ids.bin")
    size = ["--n-layer", "1", "--n-head", "1", "--n-embd", "8", "--block-size", "8", "--vocab-size", "1000", "--batch-size", "1"]
    loopnn("train", "--data", work / "ids.bin", "--dtype", "uint16", *size, "--max-steps", "1", "--warmup-steps", "0", "--out", work / "run")
    return work / "run"


def exported(run, entry, charsmap, work):
    tokenizer = json.dumps(entry["file"]).replace('"CHARSMAP"', json.dumps(charsmap))
    special = [token["content"] for token in entry["file"]["added_tokens"] if token["special"]]
    (run / "tokenizer.json").write_text(tokenizer)
    (run / "tokenizer_config.json").write_text(json.dumps(dict(eos_token=next(end for end in ENDS if end in special))))
    shutil.rmtree(work / "out", ignore_errors=True)
    loopnn("export", "--model", run, "--out", work / "out")
    return AutoTokenizer.from_pretrained(work / "out", trust_remote_code=True)


def compare(entry, tokenizer, texts):
    special = {token["id"] for token in entry["file"]["added_tokens"] if token["special"]}
    spelled, wrong = 0, []
    for text, ids, back in zip(texts, entry["ids"], entry["decoded"]):
        found = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        if found != ids:
            spelled += 1
            if special.isdisjoint(found):
                wrong.append(text)
        if tokenizer.decode(ids) != (text if back is None else back):
            wrong.append(text)
    report(entry["name"], not wrong, f"{len(texts)} texts, {spelled} of them with special tokens in Python" if not wrong else wrong[:5])


def main():
    fixture = json.loads(brotli.decompress((ROOT / "test/fixtures/tokenizers/differential.json.br").read_bytes()))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ["HF_HOME"] = str(work / "cache")
        run = run_of_any_tokenizer(work)
        for entry in fixture["files"]:
            if entry["name"] not in REFUSED:
                compare(entry, exported(run, entry, fixture["charsmap"], work), fixture["texts"])
    print(f"{len(done)} tokenizers, transformers {transformers.__version__}")
    if failures:
        sys.exit(f"{len(failures)} checks failed: {'; '.join(failures)}")


if __name__ == "__main__":
    main()
