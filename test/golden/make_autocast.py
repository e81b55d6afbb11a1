#!/usr/bin/env python3
"""Writes autocast.json: how far PyTorch's bf16 autocast lands from the golden gradients, for each model.

    python make_autocast.py

The models and their parameters are those of make_golden.py, computed in the way nanoGPT is: the same graph with PyTorch's
own linear, layer_norm, gelu and scaled_dot_product_attention, under torch.autocast("cpu", torch.bfloat16). The error is
the norm of the difference of all gradients from the float64 ones, divided by the norm of those.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F

import make_golden as golden

HERE = Path(__file__).resolve().parent


def linear(p, name, x):
    return F.linear(x, p[f"{name}.weight"].T, p.get(f"{name}.bias"))


def layernorm(p, name, x):
    return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p.get(f"{name}.bias"), golden.LN_EPS)


def attention(p, name, x, n_head):
    B, T, C = x.shape
    qkv = golden.linear(p, f"{name}.c_attn", x).view(B, T, 3, n_head, C // n_head)
    q, k, v = (qkv[:, :, i].transpose(1, 2) for i in range(3))
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return golden.linear(p, f"{name}.c_proj", mixed.transpose(1, 2).reshape(B, T, C))


def mean_loss(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=golden.IGNORED)


def gradients(name, dtype):
    """Gradients of the golden batch with PyTorch's fused functions, in float64 or under autocast."""
    config, T, n_ignored = golden.MODELS[name]
    rng = golden.np.random.RandomState(1000 + list(golden.MODELS).index(name))
    p = golden.leaves(golden.initial_parameters(golden.parameter_shapes(config), rng), dtype)
    tokens, targets = golden.random_batch(config, T, n_ignored, rng)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
        loss = mean_loss(golden.forward(p, tokens, config), targets)
    loss.backward()
    return torch.cat([value.grad.double().flatten() for value in p.values()])


def main():
    golden.linear, golden.layernorm, golden.attention = linear, layernorm, attention
    golden.gelu = lambda x: F.gelu(x, approximate="tanh")
    errors = {}
    for name in golden.MODELS:
        exact = gradients(name, torch.float64)
        errors[name] = float((gradients(name, torch.float32) - exact).norm() / exact.norm())
        print(f"{name}: {errors[name]:.3e}")
    document = {"torch": torch.__version__, "gradientError": errors}
    (HERE / "autocast.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
