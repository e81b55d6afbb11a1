#!/usr/bin/env python3
"""Times `generate` of the exported PyTorch file with and without its cache; run by hand.

    python test/formats/time_generate.py [rounds]

3 loops over 2 layers, C = 256, 8 heads, random weights; 512 new tokens after 16, greedy, two threads. Each round runs both,
in turns; prints processor seconds of each, and the ratio of the medians. Both must make the same tokens.
"""

import sys
import time
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))
from modeling_loopnn import LoopConfig, LoopForCausalLM

PROMPT, NEW = 16, 512


def main(rounds):
    torch.set_num_threads(2)
    torch.manual_seed(1)
    sizes = {"n_positions": PROMPT + NEW, "n_embd": 256, "n_layer": 2, "n_head": 8, "n_loop": 3}
    for vocab_size in (4096, 50257):
        model = LoopForCausalLM(LoopConfig(vocab_size=vocab_size, gate_init="1/n", **sizes)).eval()
        # Larger weights than a training begins with, or every token would be the one before.
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(4 if weight.ndim == 2 and weight.shape[0] > 3 else 1)
        ids = torch.randint(1, vocab_size, (1, PROMPT))
        settings = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}
        spent, made = {True: [], False: []}, {}
        model.generate(ids, **{**settings, "max_new_tokens": 8, "min_new_tokens": 8})
        for _ in range(rounds):
            for use_cache in (True, False):
                start = time.process_time()
                made[use_cache] = model.generate(ids, use_cache=use_cache, **settings)
                spent[use_cache].append(time.process_time() - start)
                took = f"{spent[use_cache][-1]:.2f} s of processor time"
                print(f"V = {vocab_size}, {'with' if use_cache else 'without'} a cache: {took}", flush=True)
        if not torch.equal(made[True], made[False]):
            sys.exit("time_generate.py: a cache made other tokens")
        ratio = median(spent[False]) / median(spent[True])
        print(f"V = {vocab_size}: ratio {ratio:.1f}, {made[True].unique().numel()} different tokens", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
