#!/usr/bin/env bash
# pyarrow 26.0.0, Python 3.11: a dictionary page a thousand times larger than `dictionary_pagesize_limit`.
#
# The option is "the dictionary page size limit per row group", and `data_page_size` "the target threshold for the approximate
# encoded size of data pages". Both sizes are looked at after each `write_batch_size` values only, 1,024 of them, however long
# the values are. A column of long texts, as corpora have them, goes into the dictionary as a whole where a row group has fewer:
# below, limits of 64 KiB give one dictionary page of 100 MB, which a reader has to have before it can read the first row.
# With write_batch_size=1 the limit holds (after the value that goes over it); without a dictionary there is none, and
# the data page is as large.
#
# Output:
#   write_batch_size as it is: a dictionary page of 100004021 bytes
#   write_batch_size=1: a dictionary page of 100022 bytes
#   use_dictionary=False: no dictionary page, a column of 100004035 bytes
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pyarrow==26.0.0

cat >write.py <<'PY'
import hashlib

import pyarrow as pa
import pyarrow.parquet as pq

# 1,000 texts of 100 kB, no two of which are alike.
table = pa.table({"text": [hashlib.shake_128(str(i).encode()).hexdigest(50_000) for i in range(1000)]})
limits = {"data_page_size": 65_536, "dictionary_pagesize_limit": 65_536, "compression": "none"}


def write(name, **more):
    pq.write_table(table, "a.parquet", **limits, **more)
    column = pq.read_metadata("a.parquet").row_group(0).column(0)
    first = column.dictionary_page_offset
    if first is None:
        print(f"{name}: no dictionary page, a column of {column.total_uncompressed_size} bytes")
    else:
        print(f"{name}: a dictionary page of {column.data_page_offset - first} bytes")


write("write_batch_size as it is")
write("write_batch_size=1", write_batch_size=1)
write("use_dictionary=False", use_dictionary=False)
PY
venv/bin/python write.py | tee found.txt
diff found.txt - <<'EXPECTED'
write_batch_size as it is: a dictionary page of 100004021 bytes
write_batch_size=1: a dictionary page of 100022 bytes
use_dictionary=False: no dictionary page, a column of 100004035 bytes
EXPECTED
