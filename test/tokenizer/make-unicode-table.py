"""Writes src/tokenizer/pipeline/unicode-table.ts: the classes of characters that Python's tokenizers go by.

    python make-unicode-table.py     takes some minutes: it asks about every code point

Made with tokenizers 0.23.3 and unicodedata2 18.0.0. The library takes its classes from crates of several ages (Unicode 8 to
17), so they are asked of the library itself: a character is put between two others, and what comes of it is looked at.
`unicodedata2` tells only what is new: the characters that the library's regular expressions do not know yet, and those that
its normalisation leaves alone.
"""

from pathlib import Path

import unicodedata2
from tokenizers import Regex, normalizers, pre_tokenizers

TARGET = Path(__file__).parent / "../../src/tokenizer/pipeline/unicode-table.ts"
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def pieces(pre_tokenizer, text):
    return [piece for piece, _ in pre_tokenizer.pre_tokenize_str(text)]


def one_word(pre_tokenizer):
    return lambda ch: len(pieces(pre_tokenizer, f"a{ch}a")) == 1


def cut_out(pre_tokenizer):
    return lambda ch: pieces(pre_tokenizer, f"a{ch}a") == ["a", "a"]


def isolated(pre_tokenizer):
    return lambda ch: len(pieces(pre_tokenizer, f"a{ch}a")) == 3


def expression(source):
    split = pre_tokenizers.Split(Regex(f"(?<=<){source}(?=>)"), "removed")
    return lambda ch: pieces(split, f"<{ch}>") == ["<", ">"]


def removed(normalizer):
    return lambda ch: normalizer.normalize_str(f"a{ch}b") == "ab"


def bert(**options):
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**off, **options})


def left_alone(ch):
    """Whether a character that decomposes or moves by newer tables does neither in the library."""
    if ch in NEW_BASES:
        return True
    decomposes = unicodedata2.normalize("NFKD", ch) != ch
    if not decomposes and unicodedata2.combining(ch) == 0:
        return False
    return NFKD.normalize_str(ch) == ch and (decomposes or NFD.normalize_str(f"\u0345{ch}\u0334") == f"\u0345{ch}\u0334")


NFD, NFKD = normalizers.NFD(), normalizers.NFKD()
# What composes by newer tables only: the parts of characters that the library does not take apart.
NEW_BASES = {
    part
    for ch in map(chr, CODE_POINTS)
    if unicodedata2.normalize("NFD", ch) != ch == NFD.normalize_str(ch)
    for part in unicodedata2.normalize("NFD", ch)
    if unicodedata2.combining(part) == 0 and part > "\u05ff"
}
CLASSES = {
    "space": ("White space", cut_out(pre_tokenizers.WhitespaceSplit())),
    "word": ("\\w of the pre-tokenizer Whitespace and of added tokens that are single words", one_word(pre_tokenizers.Whitespace())),
    "letter": ("\\p{L} of expressions", expression(r"\p{L}")),
    "number": ("\\p{N} of expressions", expression(r"\p{N}")),
    "digit": ("\\d of expressions", expression(r"\d")),
    "punctuation": ("what Punctuation and BertPreTokenizer cut at", isolated(pre_tokenizers.Punctuation())),
    "numeric": ("what Digits cuts at", isolated(pre_tokenizers.Digits(individual_digits=True))),
    "mark": ("what StripAccents takes away", removed(normalizers.StripAccents())),
    "accent": ("what BertNormalizer's strip_accents takes away", removed(bert(strip_accents=True))),
    "control": ("what BertNormalizer's clean_text takes away", removed(bert(clean_text=True))),
    "unnormalised": ("what normalisation leaves alone though newer tables do not", left_alone),
    "newer": (
        "characters newer than the tables of expressions",
        lambda ch: unicodedata2.category(ch) != "Cn" and not KNOWN(ch),
    ),
    "scriptless": (
        "what has no script of its own for UnicodeScripts: spaces and what is newer than its table",
        lambda ch: all(len(pieces(SCRIPTS, letter + ch)) == 1 for letter in "aя"),
    ),
}
KNOWN = expression(r"\P{Cn}")
SCRIPTS = pre_tokenizers.UnicodeScripts()


def ranges(test):
    """The runs of code points that pass, as [first, last]; surrogates break no run."""
    runs, before = [], None
    for c in CODE_POINTS:
        if test(chr(c)):
            if runs and runs[-1][1] == before:
                runs[-1][1] = c
            else:
                runs.append([c, c])
        before = c
    return runs


def base36(n):
    return (base36(n // 36) if n >= 36 else "") + DIGITS[n % 36]


def encoded(runs):
    """Pairs of numbers to base 36: how many code points lie before a run, and how many follow its first."""
    at, words = 0, []
    for first, last in runs:
        words.append(f"{base36(first - at)}.{base36(last - first)}" if last > first else base36(first - at))
        at = last
    return " ".join(words)


lines = [
    "/**",
    " * Classes of characters as Python's tokenizers has them, one frozen table for every JavaScript engine. Written by",
    " * test/tokenizer/make-unicode-table.py, which asks tokenizers 0.23.3 about every code point; not to be edited.",
    " *",
    " * A class is a list of runs: the distance of its first code point from the end of the run before, and, after a point, how",
    " * many more follow; both to the base 36. `code-points.ts` reads them.",
    " */",
    "export const CLASSES = {",
]
for name, (meaning, test) in CLASSES.items():
    lines.append(f"  /** {meaning[0].upper()}{meaning[1:]}. */")
    words, rows = encoded(ranges(test)).split(" "), [""]
    for word in words:
        if len(rows[-1]) + len(word) > 98:
            rows.append("")
        rows[-1] += f"{word} "
    quoted = [f"'{row}'" for row in [*rows[:-1], rows[-1].rstrip()]]
    if len(quoted) == 1:
        lines.append(f"  {name}: {quoted[0]},")
    else:
        lines.append(f"  {name}:")
        lines += [f"    {row} +" for row in quoted[:-1]] + [f"    {quoted[-1]},"]
lines.append("} as const;")
TARGET.resolve().write_text("\n".join(lines) + "\n")
