#!/usr/bin/env python3
"""Times training steps of a GPT-2 in PyTorch, as `loopnn bench --only steps` does, on a GPU if there is one.

    python3 bench/torch_steps.py --n-layer 1 --n-loop 2 --n-embd 768 --batch 4 --block 1024 --dtype float16

A step is forward, backward, clipping and AdamW on random tokens. Attention and AdamW are PyTorch's fused ones; float16
is its autocast with a scaled loss. Loops are the paper's, x = x + gate * (stack(x) - x). One JSON line goes to stdout.
"""

import argparse
import json
import math
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    """One layer of GPT-2: x (B, T, C) + attention + MLP, each after a norm."""

    def __init__(self, C, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(C), nn.LayerNorm(C)
        self.attn, self.attn_proj = nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.fc, self.fc_proj = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)

    def forward(self, x):
        B, T, C = x.shape
        qkv = self.attn(self.ln_1(x)).view(B, T, 3, self.heads, C // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, NH, T, HS)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_proj(y.transpose(1, 2).reshape(B, T, C))
        return x + self.fc_proj(F.gelu(self.fc(self.ln_2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(o.vocab, o.n_embd), nn.Embedding(o.block, o.n_embd)
        self.blocks = nn.ModuleList(Block(o.n_embd, o.n_head) for _ in range(o.n_layer))
        self.ln_f = nn.LayerNorm(o.n_embd)
        self.gates = nn.Parameter(torch.full((o.n_loop, o.n_embd), 1.0)) if o.n_loop > 1 else None
        for p in self.parameters():
            if p.ndim == 2 and p is not self.gates:
                nn.init.normal_(p, std=0.02)

    def stack(self, x):
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        if self.gates is None:
            x = self.stack(x)
        else:
            for gate in self.gates:
                x = x + gate * (self.stack(x) - x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def time_steps(o):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(1337)
    model = GPT(o).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    half = o.dtype == "float16"
    scaler = torch.amp.GradScaler(device, enabled=half and device == "cuda")
    times, first = [], None
    for step in range(o.warmup + o.steps):
        tokens, targets = torch.randint(o.vocab, (2, o.batch, o.block), device=device)
        start = time.perf_counter()
        with torch.autocast(device, dtype=torch.float16, enabled=half):
            loss = model(tokens, targets)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        value = loss.item()  # waits for the whole step
        if step >= o.warmup:
            times.append(time.perf_counter() - start)
        first = first or value
    if not abs(first - math.log(o.vocab)) < 0.5:
        sys.exit(f"first loss {first}, an untrained model has about {math.log(o.vocab)}")
    median = statistics.median(times)
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": torch.__version__,
        "dtype": o.dtype,
        "stepMs": {"min": 1e3 * min(times), "median": 1e3 * median, "max": 1e3 * max(times)},
        "tokensPerSecond": o.batch * o.block / median,
        "firstLoss": first,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = dict(n_layer=1, n_loop=1, n_head=12, n_embd=768, vocab=50257, block=1024, batch=4, steps=10, warmup=5)
    for name, default in sizes.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=default)
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32")
    print(json.dumps(time_steps(parser.parse_args())))


if __name__ == "__main__":
    main()
