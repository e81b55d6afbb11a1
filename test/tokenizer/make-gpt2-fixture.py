"""Writes gpt2-fixture.json: texts and their GPT-2 ids as the Python package tiktoken gives them.

Run from anywhere, with tiktoken installed and after `npm install`: python make-gpt2-fixture.py
The ranks are the file that the npm package gpt-tokenizer ships; the expression is GPT-2's public one.
"""
import base64
import json
from pathlib import Path

import tiktoken

HERE = Path(__file__).parent
RANKS = HERE / "../../node_modules/gpt-tokenizer/data/r50k_base.tiktoken"
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

TEXTS = [
    "",
    " ",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    "I've we'll they're can't I'd she's I'm 'tis O'Reilly's 'RE 'S don''t ''s",
    "  two spaces,   three,    four\ttab\t\ttabs  \t mixed ",
    "lines\nof\n\ntext\r\nwith\r\n\r\nbreaks\n   indented\n\n\n   ",
    "\n", "\n\n", " \n ", "\t\n\t x", "trailing   ", "   leading",
    "def f(x: int) -> int:\n    if x <= 1:\n        return 1\n    return x * f(x - 1)  # n!\n",
    "const a = [1,2,3].map((x)=>x**2); // => [1, 4, 9]\n{\"k\":null,\"v\":-1.5e-10}",
    "<p class=\"x\">&amp;</p> http://a.b/c?d=e&f=g#h",
    "1234567890 3.14159 1,000,000 0xDEADBEEF ½ ² ³ ① Ⅷ ٣٤٥ १२३ 1st 2nd",
    "naïve café Ångström Straße ŒUVRE ﬁn İstanbul ǅ",
    "cafe\u0301 a\u0300\u0301\u0302 \u0301lone \u0308\u0308 x\u20dd",
    "Съешь ещё этих мягких французских булок",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
    "敏捷的棕色狐狸跳过了懒狗。日本語のテキスト、カタカナ。한국어 문장입니다.",
    "السلام عليكم ورحمة الله שלום עולם",
    "नमस्ते दुनिया ภาษาไทยไม่มีช่องว่าง தமிழ்",
    "😀😃 👨‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇨🇭 e\ufe0f",
    "𝒜𝓁𝑔𝑒𝒷𝓇𝒶 𝟙𝟚𝟛 𐍈 𠮷野家 🂡",
    "\u00a0nbsp\u2003em\u2009thin\u3000wide\u2028ls\u2029ps\u0085nel\u200bzwsp\ufeffbom \ufeff \u0085\u0085 x",
    "\x00\x01\x1b[0m\x7f\x1c\x1f",
    "<|endoftext|> in the text, <|endoftext|><|endoftext|>",
    "…—–“quoted”‘single’ ©®™ €£¥ ∑∫√∞≠≤ →⇒ ▓█",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "abcdefghijklmnopqrstuvwxyz" * 4,
    "=" * 70 + "\n" + "-" * 33 + "!?" * 20,
    " " * 50 + "x" + "\n" * 20 + "y" + "\t" * 9,
    "SolidGoldMagikarp petertodd attRot 裏覚醒",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
]

ranks = {
    base64.b64decode(token): int(rank)
    for token, rank in (line.split() for line in RANKS.read_bytes().splitlines() if line)
}
encoding = tiktoken.Encoding(
    name="gpt2",
    pat_str=PATTERN,
    mergeable_ranks=ranks,
    special_tokens={"<|endoftext|>": 50256},
    explicit_n_vocab=50257,
)
cases = [{"text": text, "ids": encoding.encode_ordinary(text)} for text in TEXTS]
lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
(HERE / "gpt2-fixture.json").write_text(f"[\n{lines}\n]\n")
