"""Continues the training of an exported loop network in PyTorch, and saves it so that loopnn can import it.

    loopnn export --model runs/looped --out looped/
    torchrun --nproc-per-node 8 train_loopnn.py --model looped/ --data data/mine --out trained/ --steps 1000
    loopnn import trained/ --out runs/trained

`--data` is a folder with `train.bin` and `val.bin` of 16-bit ids, as loopnn prepare and nanoGPT write it. There may be
any number of processes. Each computes its share of every batch, on its own GPU (NCCL) or on the processor (gloo);
gradients are averaged. `--out` also gets the tokenizer's files and the model's PyTorch file. Prints the validation loss
before and after, in nats a token, as `loopnn eval` counts it. Needs torch, transformers, safetensors and numpy.

A starting point for changes: it has no schedule, no mixed precision and no checkpoints during training.
"""

import argparse
import os
import shutil
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModelForCausalLM


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", required=True, help="folder that loopnn export wrote")
    parser.add_argument("--data", required=True, help="folder with train.bin and val.bin")
    parser.add_argument("--out", required=True, help="new folder for the trained model")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=32, help="sequences in a step, of all processes together")
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--grad-clip", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def optimizer_for(model, lr, weight_decay):
    """AdamW; matrices and embeddings decay, gates, biases and layer norms do not."""
    parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decays = lambda name, p: p.dim() >= 2 and not name.endswith(".gates")
    return torch.optim.AdamW(
        [
            {"params": [p for n, p in parameters if decays(n, p)], "weight_decay": weight_decay},
            {"params": [p for n, p in parameters if not decays(n, p)], "weight_decay": 0.0},
        ],
        lr=lr,
        betas=(0.9, 0.95),
    )


def windows_at(tokens, starts, T):
    """(B, T + 1) ids: inputs and, one position later, their targets."""
    return torch.stack([torch.from_numpy(tokens[i : i + T + 1].astype(np.int64)) for i in starts])


def loss_of(model, windows, reduction="mean"):
    logits = model(windows[:, :-1]).logits.float().flatten(0, 1)
    return torch.nn.functional.cross_entropy(logits, windows[:, 1:].flatten(), reduction=reduction)


@torch.no_grad()
def validation_loss(model, tokens, T, batch_size, rank, world, device):
    """Mean over every token but the first, in consecutive sequences, the last shorter; each process scores a part."""
    model.eval()
    whole, rest = divmod(len(tokens) - 1, T)
    starts = range(0, whole * T, T)
    batches = [starts[i : i + batch_size] for i in range(0, whole, batch_size)]
    if rest:
        batches.append([whole * T])
    total = torch.zeros(2, dtype=torch.float64, device=device)
    for batch in batches[rank::world]:
        windows = windows_at(tokens, batch, T).to(device)
        total[0] += loss_of(model, windows, "sum").double()
        total[1] += windows[:, 1:].numel()
    dist.all_reduce(total)
    model.train()
    return (total[0] / total[1]).item()


def main():
    flags = arguments()
    gpu = torch.cuda.is_available()
    dist.init_process_group("nccl" if gpu else "gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    if flags.batch_size % world:
        raise SystemExit(f"--batch-size: must be a multiple of {world} processes, got {flags.batch_size}")

    model = AutoModelForCausalLM.from_pretrained(flags.model, trust_remote_code=True, dtype=torch.float32).to(device)
    T = model.config.n_positions
    train, val = (np.memmap(Path(flags.data) / f"{split}.bin", dtype=np.uint16, mode="r") for split in ("train", "val"))
    share = flags.batch_size // world
    evaluate = lambda: validation_loss(model, val, T, share, rank, world, device)
    say = print if rank == 0 else lambda *_: None
    say(f"{world} processes on {device.type}, validation loss {evaluate():.6f}")

    parallel = DistributedDataParallel(model, device_ids=[device.index] if gpu else None)
    optimizer = optimizer_for(model, flags.lr, flags.weight_decay)
    # Every process draws the whole batch and computes its own part, so that the number of processes changes no batch.
    generator = np.random.default_rng(flags.seed)
    torch.manual_seed(flags.seed + rank)
    model.train()
    for step in range(1, flags.steps + 1):
        starts = generator.integers(0, len(train) - T, flags.batch_size)[rank * share : (rank + 1) * share]
        loss = loss_of(parallel, windows_at(train, starts, T).to(device))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), flags.grad_clip)
        optimizer.step()
        if step % 50 == 0:
            say(f"step {step}, loss of this process {loss.item():.4f}")

    after = evaluate()
    say(f"validation loss {after:.6f}")
    if rank == 0:
        model.save_pretrained(flags.out)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            if (Path(flags.model) / name).exists():
                shutil.copy(Path(flags.model) / name, flags.out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
