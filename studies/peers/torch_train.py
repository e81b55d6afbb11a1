#!/usr/bin/env python3
"""Times training steps of PyTorch peers: nanoGPT, transformers' GPT-2, and loop networks around nanoGPT's blocks.

    python torch_train.py --nanogpt PATH --model 45m --batch 4 --block 1024 --steps 10
    python torch_train.py --model 124m --dtype bfloat16              # transformers' GPT-2

PATH is a clone of karpathy/nanoGPT, whose model.py is imported and not changed. A step is forward, loss, backward,
clipping and AdamW on one batch of random tokens, with no data loading, logging or evaluation. The first loss is
checked against ln V before anything is timed. One JSON line goes to stdout; everything else goes to stderr.

What it does not know: dropout, gradient accumulation, checkpointing of activations, GPUs.
"""

import argparse
import contextlib
import importlib.util
import json
import math
import platform
import resource
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

# The shapes of presets/: the paper's models (arXiv 2409.14199), and small ones named layers x loops [x inner loops].
# The small ones take their vocabulary from the data, which is random here: --vocab-size sets it.
PAPER = dict(n_head=12, n_embd=768, block_size=1024, vocab_size=50257, n_loop=1, n_inner_loop=1)
MINI = dict(n_head=4, n_embd=128, block_size=256, vocab_size=1024, n_loop=1, n_inner_loop=1)
PRESETS = {
    "45m": dict(PAPER, n_layer=1),
    "45m-loop": dict(PAPER, n_layer=1, n_loop=2),
    "67m-loop": dict(PAPER, n_layer=4, n_loop=6, n_inner_loop=2),
    "81m-loop": dict(PAPER, n_layer=6, n_loop=6),
    "124m": dict(PAPER, n_layer=12),
    "mini-1x1": dict(MINI, n_layer=1),
    "mini-1x2": dict(MINI, n_layer=1, n_loop=2),
    "mini-2x1": dict(MINI, n_layer=2),
    "mini-12x1": dict(MINI, n_layer=12),
    "mini-6x6": dict(MINI, n_layer=6, n_loop=6),
    "mini-4x6x2": dict(MINI, n_layer=4, n_loop=6, n_inner_loop=2),
}
SHAPE_KEYS = ("n_layer", "n_head", "n_embd", "block_size", "vocab_size", "n_loop", "n_inner_loop")

LR, BETAS, WEIGHT_DECAY, GRAD_CLIP = 6e-4, (0.9, 0.95), 0.1, 1.0


# ---- models ----------------------------------------------------------------------------------------------------

def import_nanogpt(path):
    """nanoGPT's `model` module from a clone at `path`."""
    file = Path(path).expanduser() / "model.py"
    if not file.is_file():
        raise SystemExit(f"--nanogpt: {file} not found; give the path of a clone of karpathy/nanoGPT")
    spec = importlib.util.spec_from_file_location("nanogpt_model", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks its own module up
    spec.loader.exec_module(module)
    return module


class NanoGPT(nn.Module):
    """nanoGPT as it is: `forward(tokens, targets)` returns the mean loss."""

    def __init__(self, nanogpt, shape):
        super().__init__()
        names = ("n_layer", "n_head", "n_embd", "block_size", "vocab_size")
        config = nanogpt.GPTConfig(**{name: shape[name] for name in names}, dropout=0.0, bias=True)
        self.gpt = nanogpt.GPT(config)

    def forward(self, tokens, targets):
        _, loss = self.gpt(tokens, targets)
        return loss


class LoopNanoGPT(NanoGPT):
    """A loop network around nanoGPT's blocks: the paper's update in the `output` form with vector gates.

    x = x + gate ⊙ f(x), over the whole stack (`gates (nLoop, C)`) and within each layer (`inner_gates (nLayer,
    nInnerLoop, C)`); a count of 1 has no gate. Gates start at 1/count, which keeps the hidden state's size moderate;
    the time of a step does not depend on it.
    """

    def __init__(self, nanogpt, shape):
        super().__init__(nanogpt, shape)
        C, N, M = shape["n_embd"], shape["n_loop"], shape["n_inner_loop"]
        self.gates = nn.Parameter(torch.full((N, C), 1.0 / N)) if N > 1 else None
        self.inner_gates = nn.Parameter(torch.full((shape["n_layer"], M, C), 1.0 / M)) if M > 1 else None

    def layer(self, index, x):
        """One layer with its inner loops."""
        block = self.gpt.transformer.h[index]
        if self.inner_gates is None:
            return block(x)
        for gate in self.inner_gates[index]:
            x = x + gate * block(x)
        return x

    def stack(self, x):
        """All layers in order."""
        for index in range(len(self.gpt.transformer.h)):
            x = self.layer(index, x)
        return x

    def forward(self, tokens, targets):
        parts = self.gpt.transformer
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = parts.wte(tokens) + parts.wpe(positions)
        if self.gates is None:
            x = self.stack(x)
        else:
            for gate in self.gates:
                x = x + gate * self.stack(x)
        logits = self.gpt.lm_head(parts.ln_f(x))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class TransformersGPT2(nn.Module):
    """transformers' GPT2LMHeadModel with its fastest settings: fused attention and PyTorch's own tanh GELU."""

    def __init__(self, shape):
        super().__init__()
        from transformers import GPT2Config, GPT2LMHeadModel

        self.gpt = GPT2LMHeadModel(GPT2Config(
            vocab_size=shape["vocab_size"],
            n_positions=shape["block_size"],
            n_embd=shape["n_embd"],
            n_layer=shape["n_layer"],
            n_head=shape["n_head"],
            activation_function="gelu_pytorch_tanh",
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
            attn_implementation="sdpa",
        ))

    def forward(self, tokens, targets):
        logits = self.gpt(tokens, use_cache=False).logits
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def build(options, shape):
    """The peer's name and its model."""
    loops = shape["n_loop"] > 1 or shape["n_inner_loop"] > 1
    if options.nanogpt is None:
        if loops:
            raise SystemExit("--model: loop networks are built around nanoGPT's blocks; give --nanogpt PATH")
        return "transformers", TransformersGPT2(shape)
    nanogpt = import_nanogpt(options.nanogpt)
    return ("nanogpt-loop", LoopNanoGPT(nanogpt, shape)) if loops else ("nanogpt", NanoGPT(nanogpt, shape))


def make_optimizer(model, fused):
    """AdamW with nanoGPT's groups (matrices decay, vectors do not); gates do not decay, whatever their shape."""
    decayed, others = [], []
    for name, parameter in model.named_parameters():
        is_gate = name.rsplit(".", 1)[-1] in ("gates", "inner_gates")
        (decayed if parameter.ndim >= 2 and not is_gate else others).append(parameter)
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LR, betas=BETAS, fused=True if fused else None)


# ---- timing ----------------------------------------------------------------------------------------------------

def peak_rss_bytes():
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def run(options, shape):
    """Builds the model, checks its first loss, times the steps; returns the report."""
    torch.manual_seed(options.seed)
    with contextlib.redirect_stdout(sys.stderr):  # nanoGPT prints while it builds
        peer, model = build(options, shape)
    model.train()
    optimizer = make_optimizer(model, options.fused)
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    forward = torch.compile(model) if options.compile else model
    autocast = options.dtype == "bfloat16"

    def step():
        """One update on a new random batch; returns the loss."""
        size = (options.batch, options.block)
        tokens = torch.randint(shape["vocab_size"], size)
        targets = torch.randint(shape["vocab_size"], size)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            loss = forward(tokens, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    times, first_loss = [], None
    for index in range(options.warmup + options.steps):
        start = time.perf_counter()
        loss = step()
        elapsed = time.perf_counter() - start
        if index == 0:
            first_loss = loss
            expected = math.log(shape["vocab_size"])
            if not abs(loss - expected) < 1.0:
                raise SystemExit(f"first loss {loss:.4f} is far from ln V = {expected:.4f}: nothing was timed")
        timed = index >= options.warmup
        if timed:
            times.append(elapsed)
        print(f"{'step' if timed else 'warm-up'} {index + 1}: loss {loss:.4f}, {elapsed * 1e3:.0f} ms", file=sys.stderr)

    median = statistics.median(times)
    return {
        "peer": peer,
        "model": options.model or "custom",
        **shape,
        "nParameters": n_parameters,
        "batch": options.batch,
        "block": options.block,
        "dtype": options.dtype,
        "compile": options.compile,
        "fusedAdamW": options.fused,
        "warmup": options.warmup,
        "steps": options.steps,
        "firstLoss": round(first_loss, 5),
        "tokensPerSecond": round(options.batch * options.block / median, 1),
        "stepMs": {
            "min": round(min(times) * 1e3, 1),
            "median": round(median * 1e3, 1),
            "max": round(max(times) * 1e3, 1),
        },
        "peakRssBytes": peak_rss_bytes(),
        "torch": torch.__version__,
        "cpuCapability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
    }


# ---- command line ----------------------------------------------------------------------------------------------

def parse_arguments():
    """The options, and the model's shape: the preset's with explicit values on top."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanogpt", metavar="PATH", help="clone of karpathy/nanoGPT; without it: transformers' GPT-2")
    parser.add_argument("--model", choices=PRESETS, help="preset; the options below override its values")
    for key in SHAPE_KEYS:
        parser.add_argument("--" + key.replace("_", "-"), type=int)
    parser.add_argument("--batch", type=int, default=4, help="sequences in a step (default %(default)s)")
    parser.add_argument("--block", type=int, help="tokens in a sequence (default: the model's block size)")
    parser.add_argument("--steps", type=int, default=10, help="timed steps (default %(default)s)")
    parser.add_argument("--warmup", type=int, default=2, help="steps before timing (default %(default)s)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="bfloat16: autocast")
    parser.add_argument("--compile", action="store_true", help="use torch.compile (raise --warmup for its first run)")
    parser.add_argument("--fused", action="store_true", help="AdamW's fused CPU kernel (nanoGPT itself: GPU only)")
    parser.add_argument("--threads", type=int, help="threads of one operation (default: PyTorch's own choice)")
    parser.add_argument("--seed", type=int, default=1337)
    options = parser.parse_args()

    shape = dict(PRESETS[options.model]) if options.model else dict(n_loop=1, n_inner_loop=1)
    shape.update({key: getattr(options, key) for key in SHAPE_KEYS if getattr(options, key) is not None})
    missing = ["--" + key.replace("_", "-") for key in SHAPE_KEYS if key not in shape]
    if missing:
        parser.error(f"give --model, or also {' '.join(missing)}")
    options.block = options.block or shape["block_size"]
    counts = [*shape.values(), options.batch, options.block, options.steps]
    if min(counts) < 1 or options.warmup < 0 or (options.threads is not None and options.threads < 1):
        parser.error("sizes and counts must be at least 1 (--warmup: 0)")
    if options.block > shape["block_size"]:
        parser.error(f"--block {options.block} exceeds the model's block size {shape['block_size']}")
    if shape["n_embd"] % shape["n_head"]:
        parser.error(f"--n-embd {shape['n_embd']} is no multiple of --n-head {shape['n_head']}")
    return options, shape


def main():
    options, shape = parse_arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(json.dumps(run(options, shape)))


if __name__ == "__main__":
    main()
