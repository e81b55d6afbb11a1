"""Checks exported networks in transformers' Trainer; part of check_huggingface.py.

The update must not depend on how a batch is cut into micro-batches and processes, and with one loop it must be that of
`GPT2LMHeadModel`. Run with torchrun by itself, this file is one of several processes that train together.
"""

import copy
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from checks import check, load, report
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainingArguments, default_data_collator

# With a rate of 1 the update is no smaller than the gradient, and a parameter's own rounding does not hide it.
LR, ROWS, LIMIT = 1.0, 8, 1e-5


def rows():
    """Ids, and labels of which some are left out: unequal numbers in the rows, and the first of each."""
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(1, 300, (ROWS, 24), generator=generator)
    labels = ids.clone()
    for i in range(ROWS):
        labels[i, : 1 + 2 * i] = -100
    return ids, labels


class Recorded(Trainer):
    """Takes the rows in order, and keeps what is logged."""

    def __init__(self, **given):
        self.logged = {}
        super().__init__(**given)

    def log(self, logs, *_):
        self.logged.update(logs)

    def _get_train_sampler(self, *_):
        return SequentialSampler(self.train_dataset)


def train(model, ids, labels, accumulation=1, processes=1, **more):
    """One update by plain gradient descent: the loss logged, the update divided by -lr, and the loss of `evaluate`."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    examples = [{"input_ids": i, "labels": l} for i, l in zip(ids, labels)]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=ROWS // accumulation // processes,
            per_device_eval_batch_size=ROWS,
            gradient_accumulation_steps=accumulation,
            max_steps=1,
            learning_rate=LR,
            optim="sgd",
            lr_scheduler_type="constant",
            max_grad_norm=0,
            logging_steps=1,
            report_to=[],
            use_cpu=True,
            save_strategy="no",
            disable_tqdm=True,
            seed=1,
            **more,
        )
        given = {"train_dataset": examples, "eval_dataset": examples, "data_collator": default_data_collator}
        trainer = Recorded(model=model, args=arguments, **given)
        evaluated = trainer.evaluate().get("eval_loss", float("nan")) if processes == 1 else None
        trainer.train()
    after = dict(model.named_parameters())
    update = torch.cat([(before[name] - after[name].detach()).flatten() / LR for name in sorted(before)])
    return trainer.logged["loss"], update, evaluated


def trainer(exported, twin, gpt2):
    ids, labels = rows()
    with torch.no_grad():
        logits = load(exported)(ids).logits
    for name, wanted in (("all labels", ids), ("unequal numbers of labels", labels)):
        loss, update, evaluated = train(load(exported), ids, wanted)
        for accumulation in (4, 8):
            again = train(load(exported), ids, wanted, accumulation)
            what = f"Trainer, {name}: {accumulation} × {ROWS // accumulation} as 1 × {ROWS}"
            check(f"{what}, loss", abs(again[0] - loss), LIMIT)
            check(f"{what}, update", (again[1] - update).abs().max().item(), LIMIT)
        smoothed = train(load(exported), ids, wanted, label_smoothing_factor=0.1)[0]
        flat = logits[:, :-1].flatten(0, 1), wanted[:, 1:].flatten()
        check(
            f"Trainer, {name}: smoothed labels",
            abs(smoothed - F.cross_entropy(*flat, label_smoothing=0.1).item()),
            LIMIT,
        )
    mean = F.cross_entropy(*flat).item()
    check("Trainer: the logged loss is the mean over the labels", abs(loss - mean), LIMIT)
    check("Trainer: and so is that of evaluate", abs(evaluated - mean), LIMIT)
    for accumulation in (1, 4):
        ours, theirs = (train(copy.deepcopy(model), ids, labels, accumulation) for model in (twin, gpt2))
        what = f"Trainer, one loop as GPT-2, accumulation {accumulation}"
        check(f"{what}: loss", abs(ours[0] - theirs[0]), LIMIT)
        check(f"{what}: update", (ours[1] - theirs[1]).abs().max().item(), LIMIT)
    two = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", __file__, str(exported)]
    made = subprocess.run(two, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if made.returncode:
        return report("Trainer: two processes", False, made.stderr[-2000:])
    found = json.loads(made.stdout.strip().splitlines()[-1])
    check("Trainer: two processes as one, loss", abs(found[0] - loss), LIMIT)
    check("Trainer: two processes as one, |update|", abs(found[1] - update.norm().item()), LIMIT)


def worker(exported):
    torch.set_num_threads(1)
    loss, update, _ = train(load(exported), *rows(), accumulation=2, processes=2)
    if os.environ["RANK"] == "0":
        print(json.dumps([loss, update.norm().item()]), flush=True)


if __name__ == "__main__":
    worker(Path(sys.argv[1]))
