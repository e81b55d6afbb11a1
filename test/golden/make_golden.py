#!/usr/bin/env python3
"""Makes the golden values that the model tests compare with, and proves that they are right.

    python make_golden.py             write one <model>.safetensors per entry of MODELS beside this script
    python make_golden.py --check     compute everything again, compare with the stored files and with
                                      transformers' GPT-2; exits with 1 if anything disagrees

The program is written from GPT-2's definition (Radford et al. 2019) and from the loop update of "Loop Neural
Networks for Parameter Sharing" (arXiv 2409.14199, Eq. 1). It shares no code with the product, and it is as plain as
possible: no fused kernel, no module, just tensors in a dictionary under their checkpoint names.

Precision. Initial parameters are drawn in float64 and rounded to float32, so that the product starts from exactly
the stored numbers. From there on everything (logits, loss, gradients, AdamW's moments, ten updates) is computed in
float64 and rounded to float32 only when it is stored. So the stored values carry no rounding error of their own
above 6e-8, and a tolerance measures the product alone. `--check` also runs this program in float32 and prints how far
that lands from the stored values: it is the distance a correct float32 program should be expected to show.

Randomness comes from numpy's RandomState, whose streams are frozen, so the files can be made again anywhere.

Dimensions: B batch, T time, C channels, NH heads, HS head size, V vocabulary.

What it does not know: dropout, caches, sampled loop counts. The product's other depths are in `make_systems.py`,
block parts that GPT-2 does not have in `make_parts.py`, and its heads in `make_heads.py`.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent

# ---- the models -------------------------------------------------------------------------------------------------

BATCH = 3
TRAIN_STEPS = 10
LR, BETAS, EPS, WEIGHT_DECAY, GRAD_CLIP = 1e-3, (0.9, 0.95), 1e-8, 0.1, 1.0
LN_EPS = 1e-5
IGNORED = -1  # a target that does not count

# Two widths: the wide one (HS = 12) for the plain and the fullest model, and an awkward one (C no multiple of 8, HS = 7)
# for the others, which also keeps the files small.
WIDE, NARROW = 48, 28


# What only GPT-2's relatives say, and what the others have.
RELATIVE = {"nInner": "4x", "activation": "gelu_new", "layerNormEpsilon": LN_EPS}


def setting(config, name):
    """A field of RELATIVE."""
    return config.get(name, RELATIVE[name])


def model_config(**changes):
    """The configuration of a model, as it is stored in its file: the defaults below with `changes`."""
    config = {
        "vocabSize": 97,
        "blockSize": 24,
        "nLayer": 2,
        "nHead": 4,
        "nEmbd": NARROW,
        "nLoop": 1,
        "nInnerLoop": 1,
        "bias": True,
        "tiedHead": True,
        "loopForm": "output",
        "gate": "vector",
        "depth": "gpt2",
    }
    unknown = set(changes) - set(config) - set(RELATIVE)
    assert not unknown, f"unknown configuration keys {unknown}"
    return {**config, **changes}


def loop_config(**changes):
    """`model_config` of a loop network."""
    return model_config(depth="loop", **changes)


# name: (configuration, T, number of ignored targets per batch). T = 17 leaves the last positions unused.
MODELS = {
    "gpt2": (model_config(nEmbd=WIDE), 24, 0),
    "gpt2-nobias": (model_config(bias=False), 17, 0),
    "gpt2-untied": (model_config(tiedHead=False), 24, 5),
    "loop-outer": (loop_config(nLoop=3), 24, 0),
    "loop-outer-correction": (loop_config(nLoop=3, loopForm="correction"), 24, 0),
    "loop-outer-scalar": (loop_config(nLoop=3, gate="scalar"), 24, 0),
    "loop-inner": (loop_config(nInnerLoop=2), 17, 0),
    "loop-both": (loop_config(nEmbd=WIDE, nLoop=3, nInnerLoop=2), 24, 0),
    "loop-both-correction": (loop_config(nLoop=3, nInnerLoop=2, loopForm="correction"), 17, 0),
    "gpt2-gelu": (model_config(activation="gelu", layerNormEpsilon=1e-3, nInner=40), 17, 0),
    "gpt2-relu": (model_config(activation="relu", layerNormEpsilon=0.03, nInner=130), 17, 0),
    "gpt2-silu": (model_config(activation="silu", nInner=29), 17, 0),
    "loop-quick-gelu": (loop_config(nLoop=3, activation="quick_gelu", layerNormEpsilon=1e-6), 17, 0),
}


# ---- parameters and batches ------------------------------------------------------------------------------------

def parameter_shapes(config):
    """Name to shape of every parameter, in Hugging Face's GPT-2 names; linear weights are (in, out)."""
    V, C, bias = config["vocabSize"], config["nEmbd"], config["bias"]
    inner = 4 * C if setting(config, "nInner") == "4x" else config["nInner"]
    G = C if config["gate"] == "vector" else 1
    shapes = {}

    def linear(name, n_in, n_out):
        shapes[f"{name}.weight"] = (n_in, n_out)
        if bias:
            shapes[f"{name}.bias"] = (n_out,)

    def layernorm(name):
        shapes[f"{name}.weight"] = (C,)
        if bias:
            shapes[f"{name}.bias"] = (C,)

    shapes["transformer.wte.weight"] = (V, C)
    shapes["transformer.wpe.weight"] = (config["blockSize"], C)
    for layer in range(config["nLayer"]):
        h = f"transformer.h.{layer}"
        layernorm(f"{h}.ln_1")
        linear(f"{h}.attn.c_attn", C, 3 * C)
        linear(f"{h}.attn.c_proj", C, C)
        layernorm(f"{h}.ln_2")
        linear(f"{h}.mlp.c_fc", C, inner)
        linear(f"{h}.mlp.c_proj", inner, C)
        if config["nInnerLoop"] > 1:
            shapes[f"{h}.gates"] = (config["nInnerLoop"], G)
    layernorm("transformer.ln_f")
    if config["nLoop"] > 1:
        shapes["transformer.gates"] = (config["nLoop"], G)
    if not config["tiedHead"]:
        shapes["lm_head.weight"] = (V, C)
    return shapes


def initial_parameters(shapes, rng):
    """Random float32 parameters, none of them at a value (0 or 1) that could hide a mistake."""
    parameters = {}
    for name, shape in shapes.items():
        noise = torch.from_numpy(rng.standard_normal(shape))
        is_layernorm_weight = name.endswith(".weight") and ".ln_" in name
        if name.endswith(".gates"):
            value = 0.5 + 0.12 * noise
        elif is_layernorm_weight:
            value = 1.0 + 0.1 * noise
        else:
            value = 0.08 * noise
        parameters[name] = value.to(torch.float32)
    return parameters


def random_batch(config, T, n_ignored, rng):
    """Tokens (B, T) and targets (B, T), independent of each other; `n_ignored` targets are IGNORED."""
    tokens = rng.randint(0, config["vocabSize"], size=(BATCH, T))
    targets = rng.randint(0, config["vocabSize"], size=(BATCH, T))
    targets.reshape(-1)[rng.permutation(BATCH * T)[:n_ignored]] = IGNORED
    return torch.from_numpy(tokens), torch.from_numpy(targets)


# ---- the model -------------------------------------------------------------------------------------------------

def linear(p, name, x):
    """x W + b with W (in, out)."""
    y = x @ p[f"{name}.weight"]
    bias = p.get(f"{name}.bias")
    return y if bias is None else y + bias


def layernorm(p, name, x, eps=LN_EPS):
    """(x − mean) / √(var + ε) ⊙ weight + bias over the channels, with the biased variance."""
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred * centred).mean(-1, keepdim=True)
    y = centred / torch.sqrt(variance + eps) * p[f"{name}.weight"]
    bias = p.get(f"{name}.bias")
    return y if bias is None else y + bias


def gelu(x):
    """GELU in GPT-2's tanh form: ½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))."""
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


def activation(name, x):
    """The functions by their definitions; `gelu` is x Φ(x)."""
    if name == "gelu_new":
        return gelu(x)
    if name == "gelu":
        return 0.5 * x * (1.0 + torch.erf(x / math.sqrt(2.0)))
    if name == "relu":
        return x * (x > 0)
    return x / (1.0 + torch.exp(-{"silu": 1.0, "quick_gelu": 1.702}[name] * x))


def attention(p, name, x, n_head, memory=None):
    """Causal self-attention: softmax(Q Kᵀ / √HS, only positions ≤ the own one) V for each head, then c_proj.

    Keys and values are made of `memory`, which is `x` unless given.
    """
    B, T, C = x.shape
    HS = C // n_head

    def heads(y):
        return y.reshape(B, T, n_head, HS).permute(0, 2, 1, 3)  # (B, NH, T, HS)

    qkv = linear(p, f"{name}.c_attn", x)  # (B, T, 3C): queries, keys, values
    kv = qkv if memory is None else linear(p, f"{name}.c_attn", memory)
    q, k, v = heads(qkv[..., :C]), heads(kv[..., C:2 * C]), heads(kv[..., 2 * C:])
    scores = torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(HS)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
    mixed = torch.einsum("bhij,bhjd->bhid", weights, v)
    return linear(p, f"{name}.c_proj", mixed.permute(0, 2, 1, 3).reshape(B, T, C))


def block(p, layer, x, config, memory=None):
    """One pre-LayerNorm transformer block: x + Attn(LN(x)), then x + MLP(LN(x)).

    With `memory`, keys and values are made of LN(memory).
    """
    h, eps = f"transformer.h.{layer}", setting(config, "layerNormEpsilon")
    normal = None if memory is None else layernorm(p, f"{h}.ln_1", memory, eps)
    x = x + attention(p, f"{h}.attn", layernorm(p, f"{h}.ln_1", x, eps), config["nHead"], normal)
    inner = linear(p, f"{h}.mlp.c_fc", layernorm(p, f"{h}.ln_2", x, eps))
    hidden = activation(setting(config, "activation"), inner)
    return x + linear(p, f"{h}.mlp.c_proj", hidden)


def gated_loop(x, body, gates, count, form):
    """The paper's update, n = 1..count, from x⁰ = x; a count of 1 is a plain application without a gate.

    output:      xⁿ = xⁿ⁻¹ + αⁿ ⊙ body(xⁿ⁻¹)
    correction:  xⁿ = xⁿ⁻¹ + αⁿ ⊙ (body(xⁿ⁻¹) − xⁿ⁻¹)
    """
    if count == 1:
        return body(x)
    for n in range(count):
        y = body(x)
        x = x + gates[n] * (y if form == "output" else y - x)
    return x


def forward(p, tokens, config):
    """Logits (B, T, V) of every position."""
    form = config["loopForm"]

    def layer_application(layer, x):
        return gated_loop(
            x,
            lambda y: block(p, layer, y, config),
            p.get(f"transformer.h.{layer}.gates"),
            config["nInnerLoop"],
            form,
        )

    def stack(x):
        for layer in range(config["nLayer"]):
            x = layer_application(layer, x)
        return x

    x = p["transformer.wte.weight"][tokens] + p["transformer.wpe.weight"][: tokens.shape[1]]
    x = gated_loop(x, stack, p.get("transformer.gates"), config["nLoop"], form)
    x = layernorm(p, "transformer.ln_f", x, setting(config, "layerNormEpsilon"))
    head = p["transformer.wte.weight"] if config["tiedHead"] else p["lm_head.weight"]
    return x @ head.T


def mean_loss(logits, targets):
    """Cross-entropy in nats, averaged over the targets that count."""
    log_p = torch.log_softmax(logits, dim=-1)
    counted = targets != IGNORED
    picked = log_p.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -(picked * counted).sum() / counted.sum()


# ---- training --------------------------------------------------------------------------------------------------

def leaves(parameters, dtype):
    """Trainable copies of the parameters in `dtype`."""
    return {name: value.to(dtype).clone().requires_grad_() for name, value in parameters.items()}


def is_decayed(name, parameter):
    """Weight decay acts on matrices; not on biases and LayerNorms, and not on gates and their like, by their role."""
    return parameter.ndim >= 2 and not name.endswith((".gates", "_scale", ".coefficients", ".gamma"))


def is_kept_trained(name, parameter):
    """Whether a parameter's value after the last update is stored: enough of every role to see a wrong decay.

    c_attn.bias is left out. Its middle third, the keys' bias, adds the same number to all scores of a query, which
    softmax ignores: its gradient is exactly 0, and AdamW would turn rounding noise into visible steps.
    """
    if name.endswith("c_attn.bias"):
        return False
    samples = ("transformer.wpe.weight", "transformer.h.0.attn.c_proj.weight")
    return parameter.ndim == 1 or name.endswith(".gates") or name in samples


def train(parameters, batches, dtype, objective):
    """One AdamW update per batch: losses before each update, gradient norms before clipping, final parameters.

    `objective(p, tokens, targets)` returns what is minimised and the loss to report.
    """
    p = leaves(parameters, dtype)
    decayed = [value for name, value in p.items() if is_decayed(name, value)]
    others = [value for name, value in p.items() if not is_decayed(name, value)]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}],
        lr=LR,
        betas=BETAS,
        eps=EPS,
    )
    losses, norms = [], []
    for tokens, targets in batches:
        optimizer.zero_grad()
        minimised, loss = objective(p, tokens, targets)
        minimised.backward()
        # Multiplies the gradients by min(1, GRAD_CLIP / (norm + 1e-6)).
        norm = torch.nn.utils.clip_grad_norm_(list(p.values()), GRAD_CLIP)
        optimizer.step()
        losses.append(loss.item())
        norms.append(norm.item())
    losses, norms = torch.tensor(losses, dtype=torch.float64), torch.tensor(norms, dtype=torch.float64)
    return losses, norms, {name: value.detach() for name, value in p.items()}


def compute(name, dtype=torch.float64):
    """The configuration of a model and all values of its file; see `values_of`."""
    config, T, n_ignored = MODELS[name]
    seed = 1000 + list(MODELS).index(name)
    return config, values_of(config, T, n_ignored, seed, parameter_shapes(config), forward, dtype)


def values_of(config, T, n_ignored, seed, shapes, forward, dtype):
    """All values of one model's file; floating-point results stay in `dtype` (`param.*` is float32)."""
    rng = np.random.RandomState(seed)
    parameters = initial_parameters(shapes, rng)
    tokens, targets = random_batch(config, T, n_ignored, rng)
    batches = [random_batch(config, T, n_ignored, rng) for _ in range(TRAIN_STEPS)]

    p = leaves(parameters, dtype)
    logits = forward(p, tokens, config)
    loss = mean_loss(logits, targets)
    loss.backward()

    def objective(p, tokens, targets):
        loss = mean_loss(forward(p, tokens, config), targets)
        return loss, loss

    losses, norms, trained = train(parameters, batches, dtype, objective)

    values = {f"param.{key}": value for key, value in parameters.items()}
    values.update({f"grad.{key}": value.grad for key, value in p.items()})
    values.update({f"trained.{key}": value for key, value in trained.items() if is_kept_trained(key, value)})
    values.update({
        "logits": logits.detach(),
        "loss": loss.detach().reshape(1),
        "tokens": tokens,
        "targets": targets,
        "train_tokens": torch.stack([batch[0] for batch in batches]),
        "train_targets": torch.stack([batch[1] for batch in batches]),
        "losses": losses,
        "gradNorms": norms,
    })
    return values


def stored_form(values):
    """The values as a file keeps them: F32 and I32, dense."""
    return {
        key: value.to(torch.float32 if value.is_floating_point() else torch.int32).contiguous()
        for key, value in values.items()
    }


def metadata(config, train_config=None):
    """A file's `__metadata__`: the configuration and, where there is one, the training objective's, as JSON."""
    result = {"config": json.dumps(config)}
    if train_config:
        result["train"] = json.dumps(train_config)
    return result


# ---- checks ----------------------------------------------------------------------------------------------------

def relative_error(found, expected):
    """‖found − expected‖ / ‖expected‖; the plain norm of `found` where `expected` is zero."""
    found, expected = found.to(torch.float64), expected.to(torch.float64)
    scale = expected.norm().item()
    return (found - expected).norm().item() / (scale if scale > 0 else 1.0)


def check_stored(name, compute, train_config=None):
    """Compares a stored file with what `compute(name, dtype)` gives now; returns the complaints."""
    path = HERE / f"{name}.safetensors"
    if not path.exists():
        return [f"{path.name}: missing"]
    with safe_open(path, framework="pt") as file:
        stored_metadata = file.metadata()
        stored = {key: file.get_tensor(key) for key in file.keys()}
    config, values = compute(name, torch.float64)
    fresh = stored_form(values)
    expected_metadata = metadata(config, train_config)
    complaints = []
    if stored_metadata != expected_metadata:
        complaints.append(f"{path.name}: metadata differ: stored {stored_metadata}, expected {expected_metadata}")
    if set(stored) != set(fresh):
        return complaints + [f"{path.name}: tensors differ: {sorted(set(stored) ^ set(fresh))}"]
    worst = 0.0
    for key, expected in fresh.items():
        found = stored[key]
        if found.shape != expected.shape or found.dtype != expected.dtype:
            complaints.append(f"{path.name}: {key}: stored {found.dtype} {tuple(found.shape)}, "
                              f"expected {expected.dtype} {tuple(expected.shape)}")
        elif not expected.is_floating_point():
            if not torch.equal(found, expected):
                complaints.append(f"{path.name}: {key}: integers differ")
        else:
            error = relative_error(found, expected)
            worst = max(worst, error)
            if not error <= 1e-6:
                complaints.append(f"{path.name}: {key}: relative error {error:.3g}")

    _, single = compute(name, torch.float32)
    distance = {key: relative_error(single[key], values[key]) for key in values}
    gradients = max(error for key, error in distance.items() if key.startswith("grad."))
    trained = max(error for key, error in distance.items() if key.startswith("trained."))
    print(f"{name:22s} stored vs fresh {worst:.1e} | in float32: logits {distance['logits']:.1e}, "
          f"gradients {gradients:.1e}, losses {distance['losses']:.1e}, norms {distance['gradNorms']:.1e}, "
          f"trained {trained:.1e}")
    return complaints


def check_transformers(name):
    """Compares logits, loss and gradients with transformers' GPT2LMHeadModel in float64; returns the complaints.

    A model without biases is compared with one whose biases are zero.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    config, values = compute(name)
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=config["vocabSize"],
        n_positions=config["blockSize"],
        n_embd=config["nEmbd"],
        n_layer=config["nLayer"],
        n_head=config["nHead"],
        n_inner=None if setting(config, "nInner") == "4x" else config["nInner"],
        activation_function=setting(config, "activation"),
        layer_norm_epsilon=setting(config, "layerNormEpsilon"),
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        tie_word_embeddings=config["tiedHead"],
        bos_token_id=0,
        eos_token_id=0,
        attn_implementation="eager",
    )).to(torch.float64)
    peer = dict(model.named_parameters())
    ours = {key.removeprefix("param."): value for key, value in values.items() if key.startswith("param.")}
    complaints = [f"{name}: transformers has no parameter {key}" for key in sorted(set(ours) - set(peer))]
    if complaints:
        return complaints
    with torch.no_grad():
        for key, parameter in peer.items():
            if key in ours:
                parameter.copy_(ours[key])
            elif key.endswith(".bias") and not config["bias"]:
                parameter.zero_()
            else:
                complaints.append(f"{name}: transformers' {key} has no counterpart")

    logits = model(values["tokens"], use_cache=False).logits
    loss = F.cross_entropy(logits.flatten(0, 1), values["targets"].flatten(), ignore_index=IGNORED)
    loss.backward()
    logit_difference = (logits - values["logits"]).abs().max().item()
    loss_difference = abs(loss.item() - values["loss"].item())
    gradient_difference = max((peer[key].grad - values[f"grad.{key}"]).abs().max().item() for key in ours)
    print(f"{name:22s} vs transformers (float64), max difference: logits {logit_difference:.1e}, "
          f"loss {loss_difference:.1e}, gradients {gradient_difference:.1e}")
    if not max(logit_difference, loss_difference, gradient_difference) <= 1e-11:
        complaints.append(f"{name}: disagrees with transformers")
    return complaints


def check_unrolled(name):
    """Compares a loop network's forward pass with its blocks written out by hand; returns the complaints.

    `correction` with unit gates must be a plain GPT-2 that lists its layers in the order they are applied.
    `output` without inner loops must be Eq. 3's sum x⁰ + Σ αⁿ ⊙ fⁿ before the final LayerNorm.
    """
    config, values = compute(name)
    tokens = values["tokens"]
    p = {key.removeprefix("param."): value.double() for key, value in values.items() if key.startswith("param.")}
    layers = range(config["nLayer"])
    x = p["transformer.wte.weight"][tokens] + p["transformer.wpe.weight"][: tokens.shape[1]]
    if config["loopForm"] == "correction":
        p = {key: torch.ones_like(value) if key.endswith(".gates") else value for key, value in p.items()}
        order = [layer for layer in layers for _ in range(config["nInnerLoop"])] * config["nLoop"]
        for layer in order:
            x = block(p, layer, x, config)
    elif config["nInnerLoop"] == 1:
        terms = [x]
        for n in range(config["nLoop"]):
            f = sum(terms)
            for layer in layers:
                f = block(p, layer, f, config)
            terms.append(p["transformer.gates"][n] * f)
        x = sum(terms)
    else:
        return []
    expected = layernorm(p, "transformer.ln_f", x, setting(config, "layerNormEpsilon")) @ p["transformer.wte.weight"].T
    difference = (forward(p, tokens, config) - expected).abs().max().item()
    print(f"{name:22s} vs the loop written out, max difference: logits {difference:.1e}")
    return [] if difference <= 1e-11 else [f"{name}: disagrees with the loop written out"]


def check():
    """Runs every check; returns the exit status."""
    complaints = []
    for name, (config, _, _) in MODELS.items():
        complaints += check_transformers(name) if config["depth"] == "gpt2" else check_unrolled(name)
    for name in MODELS:
        complaints += check_stored(name, compute)
    for complaint in complaints:
        print(f"FAIL {complaint}", file=sys.stderr)
    print("golden values: " + ("FAILED" if complaints else "all checks passed"))
    return 1 if complaints else 0


def write():
    """Writes every model's file; returns the exit status."""
    total = 0
    for name in MODELS:
        config, values = compute(name)
        path = HERE / f"{name}.safetensors"
        save_file(stored_form(values), path, metadata=metadata(config))
        path.chmod(0o644)
        total += path.stat().st_size
        print(f"{path.name:36s} {path.stat().st_size:8d} bytes  loss {values['loss'].item():.4f}  "
              f"training {values['losses'][0]:.4f} -> {values['losses'][-1]:.4f}  "
              f"norms {values['gradNorms'].min():.2f}..{values['gradNorms'].max():.2f}")
    print(f"total {total} bytes")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="verify the stored files instead of writing them")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # more threads would change the last bits of sums
    return check() if arguments.check else write()


if __name__ == "__main__":
    sys.exit(main())
