#!/usr/bin/env python3
"""Makes the golden values of models whose queries and keys are not GPT-2's: rotary positions, QK-norm, grouped queries.

    python make_heads.py             write one <model>.safetensors per entry of MODELS beside this script
    python make_heads.py --check     compute everything again, compare with the stored files, and the heads with
                                     transformers' Llama; exits with 1 if anything disagrees

A sibling of `make_golden.py`, whose helpers, precision and file layout it takes over. It is written from the papers'
definitions and shares no code with the product: a pair of channels is a complex number here, turned by a product.

Dimensions: B batch, T time, C channels, NH query heads, KV key heads, HS head size, V vocabulary.
"""

import argparse
import math
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import make_golden as golden
from make_golden import HERE, check_stored, layernorm, linear, metadata, model_config, setting, stored_form


def with_heads(config, **fields):
    """The configuration with fields that `make_golden.py` does not know."""
    return {**config, **fields}


SMALL = 24  # channels: HS = 6
# name: (configuration, T, number of ignored targets per batch, seed)
MODELS = {
    "gpt2-rotary": (with_heads(model_config(nEmbd=SMALL), positions="rotary"), 17, 0, 3100),
    "gpt2-rotary-norm": (
        with_heads(model_config(nEmbd=SMALL, bias=False, layerNormEpsilon=0.01), positions="rotary", ropeTheta=100,
                   qkNorm=True), 17, 5, 3101,
    ),
    "gpt2-grouped": (with_heads(model_config(nEmbd=SMALL), nKvHead=2), 17, 0, 3102),
    "loop-heads": (
        with_heads(golden.loop_config(nEmbd=SMALL, nLayer=1, nLoop=2, loopForm="correction"), nKvHead=1,
                   positions="rotary", qkNorm=True, kvSharing="first-loop"), 17, 5, 3103,
    ),
}


# ---- parameters --------------------------------------------------------------------------------------------------

def sizes(config):
    """Query heads, key heads and the size of each."""
    NH = config["nHead"]
    return NH, config.get("nKvHead", NH), config["nEmbd"] // NH


def parameter_shapes(config):
    """Name to shape of every parameter: `make_golden.py`'s, c_attn with its key heads, no wpe where heads turn."""
    NH, KV, HS = sizes(config)
    shapes = golden.parameter_shapes(config)
    for name in list(shapes):
        if ".c_attn." in name:
            shapes[name] = (*shapes[name][:-1], (NH + KV + KV) * HS)
        elif name == "transformer.wpe.weight" and config.get("positions") == "rotary":
            del shapes[name]
    return shapes


# ---- the model -------------------------------------------------------------------------------------------------

def turned(x, theta):
    """RoPE (Su et al. 2021): channels j and HS/2 + j at position t, times e^(i t θ^(−2j/HS)); x (B, heads, T, HS)."""
    T, HS = x.shape[2:]
    pairs = torch.complex(x[..., : HS // 2], x[..., HS // 2:])
    frequency = torch.tensor([theta ** (-2 * j / HS) for j in range(HS // 2)], dtype=torch.float64)
    angle = torch.outer(torch.arange(T, dtype=torch.float64), frequency)
    pairs = pairs * torch.polar(torch.ones_like(angle), angle).to(pairs.dtype)
    return torch.cat([pairs.real, pairs.imag], dim=-1)


def placed(x, config):
    """Queries or keys (B, heads, T, HS): turned by their positions, then divided by their root mean square."""
    if config.get("positions") == "rotary":
        x = turned(x, config.get("ropeTheta", 10000))
    return F.rms_norm(x, x.shape[-1:], eps=setting(config, "layerNormEpsilon")) if config.get("qkNorm") else x


def heads(p, name, x, config):
    """Queries (B, NH, T, HS), keys and values (B, KV, T, HS) of a layer."""
    NH, KV, HS = sizes(config)
    parts = linear(p, name, x).split([NH * HS, KV * HS, KV * HS], dim=-1)
    q, k, v = (part.unflatten(-1, (-1, HS)).transpose(1, 2) for part in parts)
    return placed(q, config), placed(k, config), v


def attention(p, name, x, config, kept):
    """Causal attention, each query head with its group's key head; and its keys and values. `kept` replaces them."""
    q, k, v = heads(p, f"{name}.c_attn", x, config)
    keys, values = kept or (k, v)
    NH, KV, HS = sizes(config)
    mixed = []
    for head in range(NH):
        group = head // (NH // KV)
        scores = q[:, head] @ keys[:, group].transpose(1, 2) / math.sqrt(HS)
        future = torch.ones_like(scores, dtype=torch.bool).triu(1)
        mixed.append(torch.softmax(scores.masked_fill(future, -math.inf), dim=-1) @ values[:, group])
    return linear(p, f"{name}.c_proj", torch.cat(mixed, dim=-1)), (keys, values)


def block(p, layer, x, config, kept):
    """x + Attn(LN(x)), then x + MLP(LN(x)); and the keys and values that it used."""
    h, eps = f"transformer.h.{layer}", setting(config, "layerNormEpsilon")
    y, kept = attention(p, f"{h}.attn", layernorm(p, f"{h}.ln_1", x, eps), config, kept)
    x = x + y
    hidden = golden.gelu(linear(p, f"{h}.mlp.c_fc", layernorm(p, f"{h}.ln_2", x, eps)))
    return x + linear(p, f"{h}.mlp.c_proj", hidden), kept


def forward(p, tokens, config):
    """Logits (B, T, V) of every position."""
    first_loop = {}  # keys and values of each layer, where later loops use them

    def stack(x):
        for layer in range(config["nLayer"]):
            x, kept = block(p, layer, x, config, first_loop.get(layer))
            if config.get("kvSharing") == "first-loop":
                first_loop[layer] = kept
        return x

    x = p["transformer.wte.weight"][tokens]
    if "transformer.wpe.weight" in p:
        x = x + p["transformer.wpe.weight"][: tokens.shape[1]]
    x = golden.gated_loop(x, stack, p.get("transformer.gates"), config["nLoop"], config["loopForm"])
    x = layernorm(p, "transformer.ln_f", x, setting(config, "layerNormEpsilon"))
    return x @ p["transformer.wte.weight"].T


def compute(name, dtype=torch.float64):
    """The configuration of a model and all values of its file."""
    config, T, n_ignored, seed = MODELS[name]
    return config, golden.values_of(config, T, n_ignored, seed, parameter_shapes(config), forward, dtype)


# ---- checks ----------------------------------------------------------------------------------------------------

def check_llama():
    """Compares attention with that of transformers' Llama, which has rotary positions and grouped queries, with and
    without a norm of queries and keys in front (it commutes with a rotation); returns the complaints."""
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRotaryEmbedding

    torch.manual_seed(1)
    B, T, C, NH, KV = 2, 9, 24, 4, 2
    HS, complaints = C // NH, []
    settings = LlamaConfig(hidden_size=C, num_attention_heads=NH, num_key_value_heads=KV, attn_implementation="eager")
    llama = LlamaAttention(settings, 0).to(torch.float64)
    parts = [llama.q_proj, llama.k_proj, llama.v_proj]
    c_attn = torch.cat([part.weight.T for part in parts], dim=1)
    p = {"a.c_attn.weight": c_attn, "a.c_proj.weight": llama.o_proj.weight.T}
    x = torch.randn(B, T, C, dtype=torch.float64)
    turns = [part.double() for part in LlamaRotaryEmbedding(settings)(x.float(), torch.arange(T)[None])]
    mask = torch.full((T, T), -math.inf, dtype=torch.float64).triu(1)[None, None]
    for norm in (False, True):
        if norm:
            for part in parts[:2]:
                part.register_forward_hook(
                    lambda _, __, y: F.rms_norm(y.unflatten(-1, (-1, HS)), (HS,), eps=0.01).flatten(-2))
        shape = {"nHead": NH, "nKvHead": KV, "nEmbd": C}
        config = {**shape, "positions": "rotary", "qkNorm": norm, "layerNormEpsilon": 0.01}
        ours, _ = attention(p, "a", x, config, None)
        theirs = llama(x, position_embeddings=turns, attention_mask=mask)[0]
        difference = (ours - theirs).abs().max().item()
        print(f"attention{' with QK-norm' if norm else ''} vs Llama's, max difference: {difference:.1e}")
        if not difference <= 1e-6:  # Llama's angles are floats
            complaints.append(f"attention differs from Llama's, norm {norm}")
    return complaints


def main(description, models, compute, check):
    """Writes the files of `models`, or with --check calls `check` and compares the stored ones; the exit status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="verify the stored files instead of writing them")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # more threads would change the last bits of sums
    if arguments.check:
        complaints = check()
        for name in models:
            complaints += check_stored(name, compute)
        for complaint in complaints:
            print(f"FAIL {complaint}", file=sys.stderr)
        print("golden values: " + ("FAILED" if complaints else "all checks passed"))
        return 1 if complaints else 0
    for name in models:
        config, values = compute(name)
        path = HERE / f"{name}.safetensors"
        save_file(stored_form(values), path, metadata=metadata(config))
        path.chmod(0o644)
        print(f"{path.name:36s} {path.stat().st_size:8d} bytes  loss {values['loss'].item():.4f}  "
              f"training {values['losses'][0]:.4f} -> {values['losses'][-1]:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0], MODELS, compute, check_llama))
