"""Writes fixtures/records/: the same texts as JSON and CSV in the forms that Python's tools give them, and what the
reference readers read back: json, csv, and for CSV pandas and pyarrow too, which must agree.

Run from anywhere, with pandas, pyarrow and datasets installed: python make-records.py
"""
import csv
import io
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
from datasets import Dataset

OUT = Path(__file__).parent / "fixtures" / "records"
OUT.mkdir(exist_ok=True)

ODD = [
    'He said "hi", and left; then\tcame back.',
    "two\nlines, and\r\nanother",
    '"quoted from its beginning" on',
    '"',
    '""',
    '{"text": "inner", "n": [1, 2]}',
    "[1, 2], {3}",
    "back\\slash and \\\"escapes\\\"",
    "café 日本語 😀 \u2028 separator",
    " spaces around ",
    "a,b;c\td",
    "1.5",
]
TEXTS = [ODD[i] if i < len(ODD) else f"Document {i}." for i in range(20)]
RECORDS = [{"id": i, "text": text, "url": f"http://x/{i}", "score": i / 4} for i, text in enumerate(TEXTS)]
frame = pd.DataFrame(RECORDS)
expected = {}


def texts_of_json(records):
    return [record["text"] for record in records]


def write_json(name, content, read=lambda value: value):
    (OUT / name).write_text(content, encoding="utf-8")
    expected[name] = texts_of_json(read(json.loads(content)))


write_json("indented.json", json.dumps(RECORDS, indent=2))
write_json("compact.json", json.dumps(RECORDS, ensure_ascii=False, separators=(",", ":")))
write_json("pandas.json", frame.to_json(orient="records"))
write_json("data.json", json.dumps({"version": "1", "data": RECORDS, "note": ["}]", {"a": "]"}]}, indent=1), lambda v: v["data"])
write_json("table.json", frame.to_json(orient="table", index=False), lambda v: v["data"])
write_json("one.json", json.dumps(RECORDS[1], indent=4), lambda v: [v])

lines = io.BytesIO()
Dataset.from_list(RECORDS).to_json(lines)
(OUT / "datasets-lines.json").write_bytes(lines.getvalue())
expected["datasets-lines.json"] = texts_of_json(json.loads(line) for line in lines.getvalue().splitlines())
(OUT / "pandas-lines.json").write_text(frame.to_json(orient="records", lines=True))
expected["pandas-lines.json"] = expected["datasets-lines.json"]
packed = pa.Codec("zstd").compress(lines.getvalue(), asbytes=True)
(OUT / "lines.json.zst").write_bytes(packed)
expected["lines.json.zst"] = expected["datasets-lines.json"]

pretty = "\n".join(json.dumps(record, indent=2) for record in RECORDS)  # what `jq '.[]'` prints
(OUT / "jq.json").write_text(pretty)
decoder, at, values = json.JSONDecoder(), 0, []
while at < len(pretty):
    value, at = decoder.raw_decode(pretty, at)
    values.append(value)
    at += 1
expected["jq.json"] = texts_of_json(values)


def check_csv(name, delimiter, texts=TEXTS):
    path = OUT / name
    with open(path, newline="", encoding="utf-8-sig") as file:
        read = [row["text"] for row in csv.DictReader(file, delimiter=delimiter, strict=True)]
    by_pandas = pd.read_csv(path, sep=delimiter, dtype=str, keep_default_na=False, encoding="utf-8-sig")["text"]
    options = pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    strings = pa.csv.ConvertOptions(column_types={"text": pa.string()}, strings_can_be_null=False)
    by_arrow = pa.csv.read_csv(path, parse_options=options, convert_options=strings)["text"].to_pylist()
    assert read == by_pandas.tolist() == by_arrow, name
    assert read == texts, name
    expected[name] = read


def write_csv(name, **options):
    with open(OUT / name, "w", newline="", encoding=options.pop("encoding", "utf-8")) as file:
        writer = csv.DictWriter(file, RECORDS[0].keys(), **options)
        writer.writeheader()
        writer.writerows(RECORDS)
    check_csv(name, options.get("delimiter", ","))


write_csv("excel.csv", encoding="utf-8-sig")  # CRLF and a byte order mark, as a spreadsheet writes it
write_csv("unix.csv", dialect="unix")  # every cell in quotes
write_csv("semicolons.csv", delimiter=";", lineterminator="\n")
frame.to_csv(OUT / "pandas.csv")
check_csv("pandas.csv", ",")
frame.to_csv(OUT / "pandas.tsv", sep="\t", index=False)
check_csv("pandas.tsv", "\t")
pa.csv.write_csv(pa.Table.from_pandas(frame), OUT / "arrow.csv")
check_csv("arrow.csv", ",")
frame[["text"]].to_csv(OUT / "column.csv", index=False)
check_csv("column.csv", ",")

# Quotes that open no cell are characters like any other.
loose = ['5" of pipe', " spaced ", "it's", 'a "word"', ""]
(OUT / "loose.csv").write_text("text,id\r\n" + "".join(f"{text},{i}\r\n" for i, text in enumerate(loose)), newline="")
check_csv("loose.csv", ",", loose)

(OUT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
