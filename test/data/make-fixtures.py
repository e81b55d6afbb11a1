"""Writes fixtures/: small parquet files as pyarrow writes them, and text packed by libzstd.

Run from anywhere, with pyarrow installed: python make-fixtures.py
"""
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

OUT = Path(__file__).parent / "fixtures"
OUT.mkdir(exist_ok=True)

WORDS = "the whale café 日本語 😀 said\nnot  and\t«quoted» don't 1234 Ξένος नमस्ते ﬁn".split(" ")


def text(i: int) -> str:
    if i == 7:
        return ""
    if i == 11:
        return "\ufeffa mark at the start <|endoftext|>"
    return f"document {i}: " + " ".join(WORDS[(i * k) % len(WORDS)] for k in range(1, 4 + i % 40))


TEXTS = [text(i) for i in range(60)]
(OUT / "texts.json").write_text(json.dumps(TEXTS, ensure_ascii=False) + "\n")


def table(texts, start=0):
    columns = {"id": pa.array(range(start, start + len(texts))), "text": pa.array(texts, pa.string())}
    return pa.table(columns)


for codec in ["none", "snappy", "gzip", "brotli", "lz4", "zstd"]:
    pq.write_table(table(TEXTS), OUT / f"{codec}.parquet", compression=codec, row_group_size=16)
pq.write_table(table(TEXTS), OUT / "plain-v2.parquet", data_page_version="2.0", use_dictionary=False, row_group_size=25)
pq.write_table(table(TEXTS), OUT / "delta.parquet", use_dictionary=False, column_encoding={"text": "DELTA_LENGTH_BYTE_ARRAY"})
pq.write_table(table(TEXTS * 40), OUT / "pages.parquet", data_page_size=512, row_group_size=1000)

WITH_NULL = TEXTS[:9] + [None] + TEXTS[10:20]
pq.write_table(table(WITH_NULL), OUT / "nulls.parquet", row_group_size=8)
pq.write_table(table(WITH_NULL), OUT / "nulls-uncounted.parquet", row_group_size=8, write_statistics=False)
odd = pa.table({
    "lines": pa.array([["a", "b"], ["c"]]),
    "record": pa.array([{"text": "a"}, {"text": "b"}]),
    "number": pa.array([1, 2]),
    "bytes": pa.array([b"caf\xe9", b"good"], pa.binary()),
    "large": pa.array(["large one", "large two"], pa.large_string()),
})
pq.write_table(odd, OUT / "odd.parquet")
# 420 kB of one text: in pages that compression shrinks, without statistics that repeat it, and once in a dictionary.
SAME = ["the same again " * 70] * 400
small = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}
pq.write_table(table(SAME), OUT / "same-pages.parquet", **small)
pq.write_table(table(SAME), OUT / "same-dictionary.parquet", compression="none")
required = pa.schema([pa.field("text", pa.string(), nullable=False)])
pq.write_table(pa.table({"text": ["one", "two"]}, schema=required), OUT / "required.parquet")
pq.write_table(table([]), OUT / "empty.parquet")

# The shards of a small dataset as the hub holds them.
for shard in range(3):
    name = f"train-{shard:05}-of-00003.parquet"
    pq.write_table(table(TEXTS[shard * 20 : shard * 20 + 20], shard * 20), OUT / name, row_group_size=6)

lines = "".join(f"Line {i}: {TEXTS[i % 60]!r}\n" for i in range(600)).encode()
(OUT / "lines.txt").write_bytes(lines)
frame = pa.Codec("zstd", compression_level=3)
(OUT / "lines.txt.zst").write_bytes(frame.compress(lines, asbytes=True))
halves = [lines[:20_000], lines[20_000:]]
(OUT / "frames.txt.zst").write_bytes(b"".join(frame.compress(half, asbytes=True) for half in halves))
with pa.CompressedOutputStream(str(OUT / "stream.txt.zst"), "zstd") as stream:
    for start in range(0, len(lines), 1000):
        stream.write(lines[start : start + 1000])
