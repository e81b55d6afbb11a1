"""Writes bpe-fixture.json: a byte-level BPE trained by the Python package tokenizers on the texts of
gpt2-fixture.json, and the ids it gives them. Its trainer breaks ties by the same rule as ours.

Run with tokenizers installed: python make-bpe-fixture.py
"""
import json
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

HERE = Path(__file__).parent
VOCAB_SIZE = 640

texts = [case["text"] for case in json.loads((HERE / "gpt2-fixture.json").read_text())]
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
trainer = trainers.BpeTrainer(
    vocab_size=VOCAB_SIZE - 1,  # the last id is the end of the text
    min_frequency=2,
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    special_tokens=[],
    show_progress=False,
)
tokenizer.train_from_iterator(texts, trainer)
merges = json.loads(tokenizer.to_str())["model"]["merges"]
cases = [tokenizer.encode(text).ids for text in texts]
lines = ",\n".join(json.dumps(ids, separators=(",", ":")) for ids in cases)
head = json.dumps({"vocabSize": tokenizer.get_vocab_size() + 1, "merges": merges}, separators=(",", ":"))
(HERE / "bpe-fixture.json").write_text(f'{head[:-1]},"ids":[\n{lines}\n]}}\n')
