"""Golden values for CORE's three kinds of questions (DCLM, arXiv 2406.11794), written and drawn as nanochat's evaluation does.

    python test/evaluate/core/make_core.py       # torch, transformers; after `npm run build`

Questions are shuffled by random.Random(1337); the examples before question i are random.Random(1234 + i).sample of the others. A
prompt is the beginning of a text, the examples, each followed by an empty line, and the question. Scored are the tokens behind
what all options begin with (multiple choice), those that all end with (schema), or those behind the context (language modelling);
options are compared by their mean loss. The model is the run of test/fixtures/35e8274 at its own loops; longer prompts lose their
first tokens.
"""

import json
import random
import subprocess
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
T = 32
SHOTS = [0, 1]

COLOURS = ["red", "green", "blue and grey"]
CHOICES = [
    {"query": f"the same words {i}", "choices": [COLOURS[(i + k) % 3] for k in range(2 + i % 2)], "gold": i % 2} for i in range(24)
]
SCHEMAS = [
    {"context_options": [f"Line {i}", f"document {i} and"], "continuation": "come again", "gold": (i // 2) % 2} for i in range(8)
]
MODELLING = [{"context": f" Line {i} of ", "continuation": "   " if i % 2 else "document"} for i in range(8)]
FILES = {"choices": CHOICES, "schemas": SCHEMAS, "modelling": MODELLING}


def losses_of(model, ids):
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1]
    target = torch.tensor(ids[1:])
    return torch.nn.functional.cross_entropy(logits, target, reduction="none"), logits.argmax(-1) == target


def common(sequences):
    n = 0
    while all(len(s) > n and s[n] == sequences[0][n] for s in sequences):
        n += 1
    return n


def evaluate(name, items, shots, model, tokenizer):
    items = list(items)
    random.Random(1337).shuffle(items)
    bos = tokenizer.bos_token_id
    encode = lambda text: [bos] + tokenizer.encode(text, add_special_tokens=False)
    delimiter = " "
    shown = {
        "choices": lambda x: x["query"] + delimiter + x["choices"][x["gold"]],
        "schemas": lambda x: x["context_options"][x["gold"]] + delimiter + x["continuation"],
        "modelling": lambda x: x["context"].strip() + delimiter + x["continuation"],
    }[name]
    results = []
    for i, item in enumerate(items):
        others = [j for j in range(len(items)) if j != i]
        chosen = random.Random(1234 + i).sample(others, shots) if shots else []
        before = "".join(shown(items[j]) + "\n\n" for j in chosen)
        if name == "modelling":
            ids = encode(before + item["context"].strip() + delimiter + item["continuation"])
            starts = [len(encode((before + item["context"].strip() + delimiter).strip()))]
            all_ids = [ids]
        elif name == "choices":
            all_ids = [encode(before + item["query"] + delimiter + choice) for choice in item["choices"]]
            starts = [common(all_ids)] * len(all_ids)
        else:
            all_ids = [encode(before + context + delimiter + item["continuation"]) for context in item["context_options"]]
            suffix = common([ids[::-1] for ids in all_ids])
            starts = [len(ids) - suffix for ids in all_ids]
        means, right = [], []
        for ids, start in zip(all_ids, starts):
            cut = max(0, len(ids) - T)
            losses, hits = losses_of(model, ids[cut:])
            means.append(losses[start - cut - 1 :].mean().item())
            right.append(bool(hits[start - cut - 1 :].all()))
        correct = right[0] if name == "modelling" else means.index(min(means)) == item["gold"]
        results.append({"prompts": len(before), "means": means, "correct": correct})
    return {"acc": sum(r["correct"] for r in results) / len(results), "means": [r["means"] for r in results]}


with tempfile.TemporaryDirectory() as folder:
    command = ["node", str(ROOT / "dist/src/cli/main.js"), "export", "--model", str(ROOT / "test/fixtures/35e8274/run"), "--out"]
    subprocess.run([*command, f"{folder}/hf"], check=True, stdout=subprocess.DEVNULL)
    model = AutoModelForCausalLM.from_pretrained(f"{folder}/hf", trust_remote_code=True, dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(f"{folder}/hf", trust_remote_code=True)
    golden = {}
    for name, items in FILES.items():
        (HERE / f"{name}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
        golden[name] = {str(shots): evaluate(name, items, shots, model, tokenizer) for shots in SHOTS}
    (HERE / "golden.json").write_text(json.dumps(golden) + "\n")
    print({name: {shots: r["acc"] for shots, r in found.items()} for name, found in golden.items()})
