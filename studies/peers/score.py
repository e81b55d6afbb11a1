#!/usr/bin/env python3
"""Scores multiple-choice questions with lm-evaluation-harness, when `studies/scoring-peers.ts` asks for it.

    python score.py FOLDER BATCH     FOLDER is a model in Hugging Face's layout with its tokenizer

Reads one JSON list of [context, [continuations]] per line from stdin, and answers each with one line on stdout:
{"logprobs": [[…], …], "seconds": x}: what `--model hf --batch_size BATCH` finds, and how long its `loglikelihood` takes, with
float32 weights and two threads. It is idle between requests.
"""

import json
import sys
import time

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(2)
folder, batch = sys.argv[1:3]
model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
harness = HFLM(pretrained=model, tokenizer=AutoTokenizer.from_pretrained(folder), batch_size=int(batch), device="cpu")
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    questions = json.loads(line)
    requests = [
        Instance("loglikelihood", {}, (context, answer), i) for context, answers in questions for i, answer in enumerate(answers)
    ]
    start = time.perf_counter()
    found = harness.loglikelihood(requests, disable_tqdm=True)
    seconds = time.perf_counter() - start
    each = iter(found)
    print(json.dumps({"logprobs": [[next(each)[0] for _ in answers] for _, answers in questions], "seconds": seconds}), flush=True)
