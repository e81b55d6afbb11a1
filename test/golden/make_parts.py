#!/usr/bin/env python3
"""Makes the golden values of models whose blocks have parts that GPT-2's do not: RMSNorm, squared ReLU, gated MLPs.

    python make_parts.py             write one <model>.safetensors per entry of MODELS beside this script
    python make_parts.py --check     compute everything again, compare with the stored files, and the parts with torch's
                                     and transformers' own; exits with 1 if anything disagrees

A sibling of `make_golden.py`, whose helpers, precision and file layout it takes over; attention is that of
`make_heads.py`. It is written from the papers' definitions and shares no code with the product.
"""

import sys

import torch
import torch.nn.functional as F

import make_golden as golden
import make_heads as heads
from make_golden import gated_loop, linear, model_config, setting

# What blocks have where a configuration says nothing.
USUAL = {"normType": "layernorm", "gatedMlp": False}


def with_parts(config, **parts):
    """The configuration with fields that `make_golden.py` does not know."""
    return {**config, **parts}


# name: (configuration, T, number of ignored targets per batch, seed)
MODELS = {
    "gpt2-rmsnorm": (with_parts(model_config(layerNormEpsilon=0.03), normType="rmsnorm"), 17, 0, 3000),
    "gpt2-relu2": (model_config(activation="relu2", bias=False), 17, 5, 3001),
    "gpt2-swiglu": (with_parts(model_config(activation="silu", nInner=29), gatedMlp=True), 17, 0, 3002),
    "loop-parts": (
        with_parts(
            golden.loop_config(nEmbd=24, nLayer=1, nLoop=2, loopForm="correction", activation="relu2", bias=False,
                               nInner="8/3x", tiedHead=False),
            normType="rmsnorm", gatedMlp=True, positions="rotary", qkNorm=True, nKvHead=2,
        ), 17, 5, 3003,
    ),
}


# ---- parameters --------------------------------------------------------------------------------------------------

def part(config, name):
    """A field of USUAL."""
    return config.get(name, USUAL[name])


def inner_width(config):
    """The width inside the MLP: 8/3x is 8 C / 3, rounded up to a multiple of 64."""
    C, inner = config["nEmbd"], setting(config, "nInner")
    return {"4x": 4 * C, "8/3x": -(-8 * C // (3 * 64)) * 64}.get(inner, inner)


def parameter_shapes(config):
    """Name to shape of every parameter: `make_heads.py`'s, with the halves of a gated MLP, without RMSNorm's biases."""
    inner = inner_width(config)
    shapes = heads.parameter_shapes({**config, "nInner": inner})
    for name in list(shapes):
        if part(config, "normType") == "rmsnorm" and ".ln_" in name and name.endswith(".bias"):
            del shapes[name]
        elif part(config, "gatedMlp") and ".c_fc." in name:
            shapes[name] = (*shapes[name][:-1], 2 * inner)
    return shapes


# ---- the model -------------------------------------------------------------------------------------------------

def norm(p, name, x, config):
    """Layer norm, or x / √(mean of x² + ε) ⊙ weight (Zhang & Sennrich 2019)."""
    eps = setting(config, "layerNormEpsilon")
    if part(config, "normType") == "layernorm":
        return golden.layernorm(p, name, x, eps)
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * p[f"{name}.weight"]


def activation(name, x):
    """`relu2` is max(0, x)²."""
    return x * x * (x > 0) if name == "relu2" else golden.activation(name, x)


def mlp(p, name, x, config):
    """Linear, activation, linear; gated, the activation of c_fc's first half times its second (Shazeer 2020)."""
    hidden, kind = linear(p, f"{name}.c_fc", x), setting(config, "activation")
    if part(config, "gatedMlp"):
        gate, up = hidden.chunk(2, dim=-1)
        hidden = activation(kind, gate) * up
    else:
        hidden = activation(kind, hidden)
    return linear(p, f"{name}.c_proj", hidden)


def block(p, layer, x, config):
    """x + Attn(norm(x)), then x + MLP(norm(x))."""
    h = f"transformer.h.{layer}"
    x = x + heads.attention(p, f"{h}.attn", norm(p, f"{h}.ln_1", x, config), config, None)[0]
    return x + mlp(p, f"{h}.mlp", norm(p, f"{h}.ln_2", x, config), config)


def forward(p, tokens, config):
    """Logits (B, T, V) of every position."""

    def stack(x):
        for layer in range(config["nLayer"]):
            x = block(p, layer, x, config)
        return x

    x = p["transformer.wte.weight"][tokens]
    if "transformer.wpe.weight" in p:
        x = x + p["transformer.wpe.weight"][: tokens.shape[1]]
    x = gated_loop(x, stack, p.get("transformer.gates"), config["nLoop"], config["loopForm"])
    head = p["transformer.wte.weight"] if config["tiedHead"] else p["lm_head.weight"]
    return norm(p, "transformer.ln_f", x, config) @ head.T


def compute(name, dtype=torch.float64):
    """The configuration of a model and all values of its file."""
    config, T, n_ignored, seed = MODELS[name]
    return config, golden.values_of(config, T, n_ignored, seed, parameter_shapes(config), forward, dtype)


# ---- checks ----------------------------------------------------------------------------------------------------

def check_parts():
    """Compares the parts with torch's RMSNorm, transformers' squared ReLU and Llama's MLP; returns the complaints."""
    from transformers import LlamaConfig
    from transformers.activations import ACT2FN
    from transformers.models.llama.modeling_llama import LlamaMLP

    torch.manual_seed(1)
    x, weight = torch.randn(5, 12, dtype=torch.float64), torch.randn(12, dtype=torch.float64)
    rms = {"normType": "rmsnorm", "layerNormEpsilon": 0.01}
    llama = LlamaMLP(LlamaConfig(hidden_size=12, num_attention_heads=2, intermediate_size=7)).to(torch.float64)
    p = {
        "ln.weight": weight,
        "mlp.c_fc.weight": torch.cat([llama.gate_proj.weight.T, llama.up_proj.weight.T], dim=1),
        "mlp.c_proj.weight": llama.down_proj.weight.T,
    }
    pairs = {
        "RMSNorm": (norm(p, "ln", x, rms), F.rms_norm(x, (12,), weight, 0.01)),
        "squared ReLU": (activation("relu2", x), ACT2FN["relu2"](x)),
        "SwiGLU": (mlp(p, "mlp", x, {"activation": "silu", "gatedMlp": True}), llama(x)),
    }
    return [f"{name} differs" for name, (ours, theirs) in pairs.items() if not (ours - theirs).abs().max() <= 1e-12]


if __name__ == "__main__":
    sys.exit(heads.main(__doc__.splitlines()[0], MODELS, compute, check_parts))
