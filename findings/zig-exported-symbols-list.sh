#!/usr/bin/env bash
# ziglang 0.17.1 (PyPI), `zig cc -shared` for macOS: which symbols a library exports when a list of them is given.
#
# Apple's linker exports only what -exported_symbols_list names. Zig's takes the option, reads the file (a list that is missing
# is an error), and exports every symbol all the same; of --version-script, which is for ELF, likewise nothing is said or done.
# Options that it does not have are refused otherwise (-exported_symbol, below), so that silence looks like success. For Linux
# the version script is obeyed. Hidden visibility (-fvisibility=hidden) works for both.
#
# Output:
#   linux, --version-script: wanted
#   macos, -exported_symbols_list: internal wanted
#   macos, --version-script: internal wanted
#   macos, -fvisibility=hidden: wanted
#   macos, a list that is missing: refused
#   macos, -exported_symbol: refused
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check ziglang==0.17.1

cat >library.c <<'C'
__attribute__((visibility("default"))) int wanted(void) { return 1; }
int internal(void) { return 2; }
C
echo '_wanted' >list.txt
echo '{ global: wanted; local: *; };' >map.txt

cat >exported.py <<'PY'
"""The two functions that a shared library exports: of an ELF file by its dynamic symbols, of Mach-O by its external ones."""

import struct
import sys

data = open(sys.argv[1], "rb").read()


def name(strings, at):
    return data[strings + at : data.index(b"\0", strings + at)].decode().lstrip("_")


found = set()
if data[:4] == b"\x7fELF":
    sections, size, count = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, sections + i * size) for i in range(count)]
    for header in headers:
        if header[1] == 11:  # SHT_DYNSYM
            for at in range(header[4], header[4] + header[5], 24):
                symbol, _, _, section = struct.unpack_from("<IBBH", data, at)
                if section:
                    found.add(name(headers[header[6]][4], symbol))
else:
    at = 32
    for _ in range(struct.unpack_from("<I", data, 16)[0]):
        command, size = struct.unpack_from("<II", data, at)
        if command == 2:  # LC_SYMTAB
            symbols, count, strings, _ = struct.unpack_from("<IIII", data, at + 8)
            for i in range(count):
                symbol, kind = struct.unpack_from("<IB", data, symbols + 16 * i)
                if kind & 1 and kind & 0x0E == 0x0E:  # external, defined in a section
                    found.add(name(strings, symbol))
        at += size
print(*sorted(found & {"wanted", "internal"}))
PY

build() { # what, system, options
  local what=$1 target=$2
  shift 2
  if venv/bin/python -m ziglang cc -target "$target" -shared library.c -o library.out "$@" 2>errors.txt; then
    echo "$what: $(venv/bin/python exported.py library.out)"
  else
    echo "$what: refused"
  fi
}
{
  build 'linux, --version-script' x86_64-linux-gnu -Wl,--version-script,map.txt
  build 'macos, -exported_symbols_list' aarch64-macos -Wl,-exported_symbols_list,list.txt
  build 'macos, --version-script' aarch64-macos -Wl,--version-script,map.txt
  build 'macos, -fvisibility=hidden' aarch64-macos -fvisibility=hidden
  build 'macos, a list that is missing' aarch64-macos -Wl,-exported_symbols_list,missing.txt
  build 'macos, -exported_symbol' aarch64-macos -Wl,-exported_symbol,_wanted
} | tee found.txt
diff found.txt - <<'EXPECTED'
linux, --version-script: wanted
macos, -exported_symbols_list: internal wanted
macos, --version-script: internal wanted
macos, -fvisibility=hidden: wanted
macos, a list that is missing: refused
macos, -exported_symbol: refused
EXPECTED
