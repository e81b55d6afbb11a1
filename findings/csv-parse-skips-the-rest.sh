#!/usr/bin/env bash
# csv-parse 7.0.3, Node 20: what `skip_records_with_error` leaves out beside the record with the error.
#
# The option is for files with a few bad records: they are to be left out, and reading is to go on with the next record.
# After a record whose quoted field goes on behind its closing quote ("Hi" he said), the parser still counts itself inside
# quotes. So all records up to the next quote in the file go with the bad one: below, the remaining 1000 of 1002, none of
# which has a quote. on_skip is called for the first quote and for the end of the file (or the next quote, from where on
# records are read again); nothing says how many records are gone.
#
# Output:
#   without a later quote: 1 of 1002 records read, 2 skips told (CSV_INVALID_CLOSING_QUOTE, CSV_QUOTE_NOT_CLOSED)
#   with a later quote: 501 of 1002 records read, 2 skips told (CSV_INVALID_CLOSING_QUOTE, CSV_INVALID_CLOSING_QUOTE)
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund csv-parse@7.0.3

cat >read.mjs <<'JS'
import { parse } from 'csv-parse/sync';

function read(name, last) {
  const rows = Array.from({ length: 1000 }, (_, i) => (i === 499 ? last : `row,${i}`));
  const text = ['text,n', 'good,1', '"Hi" he said,2', ...rows].join('\n');
  const skips = [];
  const records = parse(text, {
    columns: true,
    skip_records_with_error: true,
    on_skip: (error) => skips.push(error.code),
  });
  console.log(`${name}: ${records.length} of 1002 records read, ${skips.length} skips told (${skips.join(', ')})`);
}

read('without a later quote', 'row,499');
read('with a later quote', '"a row",499');
JS
node read.mjs | tee found.txt
diff found.txt - <<'EXPECTED'
without a later quote: 1 of 1002 records read, 2 skips told (CSV_INVALID_CLOSING_QUOTE, CSV_QUOTE_NOT_CLOSED)
with a later quote: 501 of 1002 records read, 2 skips told (CSV_INVALID_CLOSING_QUOTE, CSV_INVALID_CLOSING_QUOTE)
EXPECTED
