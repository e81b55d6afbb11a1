"""Times updates of an exported loop network under PyTorch's DistributedDataParallel on processors (gloo).

    torchrun --nproc-per-node 2 torch_ddp.py --model FOLDER --batch-size 2 --steps 5 [--dtype bfloat16]

FOLDER is what `loopnn export` wrote. Each process has one thread and computes a batch of its own; an update is forward, loss,
backward with gradients averaged on the way, clipping and fused AdamW. Rank 0 prints one line of JSON.
"""

import argparse
import contextlib
import json
import os
import time

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModelForCausalLM


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank % os.cpu_count()]})
    model = AutoModelForCausalLM.from_pretrained(flags.model, trust_remote_code=True, dtype=torch.float32)
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    autocast = (
        contextlib.nullcontext() if flags.dtype == "float32" else torch.autocast("cpu", dtype=torch.bfloat16)
    )
    generator = torch.Generator().manual_seed(rank)
    T = model.config.n_positions
    model.train()
    times = []
    for _ in range(flags.steps):
        windows = torch.randint(0, model.config.vocab_size, (flags.batch_size, T + 1), generator=generator)
        start = time.perf_counter()
        with autocast:
            logits = parallel(windows[:, :-1]).logits
            loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        times.append((time.perf_counter() - start) * 1000)
    if rank == 0:
        print(json.dumps({"stepMs": times, "loss": loss.item(), "torch": torch.__version__}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
