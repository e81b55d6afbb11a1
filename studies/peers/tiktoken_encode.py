#!/usr/bin/env python3
"""Encodes texts with tiktoken for `studies/tokenizer.ts`, which starts it and compares ids and times.

    python tiktoken_encode.py VOCABULARY

VOCABULARY has a token a line: its bytes in base64 and its rank. For each line of stdin, the path of a JSON file with a list
of texts, the ids go to PATH.ids (16 bits each, little-endian, an end of text after each text) and a line of JSON to
stdout: the processor's time for the list, in seconds.

What it does not know: what the texts are. Nothing is fetched; the vocabulary is the caller's.
"""

import base64
import json
import sys
import time
from array import array

import tiktoken

PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""


def main():
    ranks = {}
    with open(sys.argv[1], encoding="ascii") as lines:
        for line in lines:
            token, rank = line.split()
            ranks[base64.b64decode(token)] = int(rank)
    eot = len(ranks)
    encoding = tiktoken.Encoding(
        "gpt2", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": eot}
    )
    print(json.dumps({"version": tiktoken.__version__, "python": sys.version.split()[0]}), flush=True)
    for path in map(str.strip, sys.stdin):
        with open(path, encoding="utf-8") as file:
            texts = json.load(file)
        start = time.process_time()
        found = [encoding.encode_ordinary(text) for text in texts]
        seconds = time.process_time() - start
        ids = array("H")
        for text in found:
            ids.extend(text)
            ids.append(eot)
        if sys.byteorder == "big":
            ids.byteswap()
        with open(path + ".ids", "wb") as file:
            file.write(ids.tobytes())
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
