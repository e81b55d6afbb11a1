"""Writes fixtures/npy/: rows of ids, and arrays that are none, as numpy saves them; values.json has what numpy reads back.

Run from anywhere, with numpy installed (2.4.6 wrote what is here): python make-npy.py
"""
import json
from pathlib import Path

import numpy as np

OUT = Path(__file__).parent / "fixtures" / "npy"
OUT.mkdir(parents=True, exist_ok=True)

IDS = [0, 1, 255, 256, 50256, 65535, 17]
SMALL = [0, 1, 127, 2, 17]

ROWS = {f"{order}{kind}": (IDS if kind in ("u2", "u4", "i4", "u8", "i8") else SMALL)
        for kind in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8") for order in ("<", ">")}
values = {}
for dtype, ids in ROWS.items():
    name = f"{'little' if dtype[0] == '<' else 'big'}-{dtype[1:]}.npy"
    np.save(OUT / name, np.array(ids, dtype))
    values[name] = np.load(OUT / name).tolist()

for version in [(2, 0), (3, 0)]:
    name = f"version-{version[0]}.npy"
    with open(OUT / name, "wb") as file:
        np.lib.format.write_array(file, np.array(IDS, "<u2"), version=version)
    values[name] = np.load(OUT / name).tolist()

OTHERS = {
    "float32": np.array(IDS, "<f4"),
    "float16": np.array(SMALL, "<f2"),
    "bool": np.array([True, False]),
    "complex": np.array(SMALL, "<c8"),
    "text": np.array(["one", "two"]),
    "time": np.array(["2020-01-01"], "<M8[D]"),
    "records": np.array([(1, 2)], [("id", "<u2"), ("mask", "<u2")]),
    "matrix": np.array([IDS, IDS], "<u2"),
    "column": np.array(IDS, "<u2").reshape(-1, 1),
    "matrix-fortran": np.asfortranarray(np.array([IDS, IDS], "<u2")),
    "scalar": np.array(7, "<u2"),
    "empty": np.array([], "<u2"),
    "too-large": np.array([1, 2, 65535, 65536, 5], "<u4"),
    "llama": np.array([128000, 9906, 1917], "<i8"),
    "negative": np.array([1, 2, -1], "<i4"),
    "negative-short": np.array([1, -2], "<i2"),
    "huge": np.array([1, 2**63 + 1], ">u8"),
}
for name, array in OTHERS.items():
    np.save(OUT / f"{name}.npy", array)

(OUT / "values.json").write_text(json.dumps(values) + "\n")
