#!/usr/bin/env python3
"""Makes `muon.safetensors`: a loop network as in `make_golden.py` whose ten updates are Muon's.

    python make_muon.py             write the file beside this script
    python make_muon.py --check     compute it again and compare; also one orthogonalisation with torch.optim.Muon's

Muon (Jordan et al. 2024) updates the matrices inside the blocks, queries, keys and values each by itself, and AdamW
the rest. Written after Jordan's description on matrices (out, in), the transposes of those that are stored; it shares
no code with the product. Clipping, AdamW's settings and precision are those of `make_golden.py`.
"""

import argparse
import sys

import numpy as np
import torch
from safetensors.torch import save_file

import make_golden as golden

LR, MOMENTUM = 0.02, 0.95
TRAIN = {"optimizer": "muon", "muonLr": LR, "muonMomentum": MOMENTUM}
NAME = "muon"
CONFIG = golden.loop_config(nLoop=2, loopForm="correction", nInner=40)


def orthogonalise(g, steps=5):
    """Newton and Schulz's quintic iteration on G/‖G‖, over the smaller of the two Gram matrices."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / (g.norm() + 1e-7)
    tall = g.shape[0] > g.shape[1]
    if tall:
        x = x.T
    for _ in range(steps):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return x.T if tall else x


def is_muons(name):
    """Matrices inside the blocks."""
    return name.startswith("transformer.h.") and name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight"))


def parts(name, matrix):
    """The matrices (out, in) that a stored matrix (in, out) holds side by side; views."""
    whole = matrix.T
    return whole.chunk(3, dim=0) if name.endswith(".c_attn.weight") else [whole]


def train(parameters, batches, dtype):
    """Ten updates: losses before each, gradient norms before clipping, final parameters."""
    p = golden.leaves(parameters, dtype)
    rest = {name: value for name, value in p.items() if not is_muons(name)}
    groups = [
        {"params": [v for n, v in rest.items() if golden.is_decayed(n, v)], "weight_decay": golden.WEIGHT_DECAY},
        {"params": [v for n, v in rest.items() if not golden.is_decayed(n, v)], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=golden.LR, betas=golden.BETAS, eps=golden.EPS)
    momenta = {name: torch.zeros_like(value) for name, value in p.items() if is_muons(name)}
    losses, norms = [], []
    for tokens, targets in batches:
        for value in p.values():
            value.grad = None
        loss = golden.mean_loss(golden.forward(p, tokens, CONFIG), targets)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(list(p.values()), golden.GRAD_CLIP)
        adamw.step()
        with torch.no_grad():
            for name, momentum in momenta.items():
                momentum.mul_(MOMENTUM).add_(p[name].grad)
                nesterov = p[name].grad + MOMENTUM * momentum
                p[name].mul_(1 - LR * golden.WEIGHT_DECAY)
                for weight, update in zip(parts(name, p[name]), parts(name, nesterov)):
                    out, inp = update.shape
                    weight.sub_(LR * max(1, out / inp) ** 0.5 * orthogonalise(update))
        losses.append(loss.item())
        norms.append(norm.item())
    losses, norms = torch.tensor(losses, dtype=torch.float64), torch.tensor(norms, dtype=torch.float64)
    return losses, norms, {name: value.detach() for name, value in p.items()}


def compute(_name, dtype=torch.float64):
    """All values of the file, as `make_golden.compute`."""
    rng = np.random.RandomState(3000)
    parameters = golden.initial_parameters(golden.parameter_shapes(CONFIG), rng)
    tokens, targets = golden.random_batch(CONFIG, 24, 0, rng)
    batches = [golden.random_batch(CONFIG, 24, 0, rng) for _ in range(golden.TRAIN_STEPS)]
    p = golden.leaves(parameters, dtype)
    logits = golden.forward(p, tokens, CONFIG)
    loss = golden.mean_loss(logits, targets)
    loss.backward()
    losses, norms, trained = train(parameters, batches, dtype)
    values = {f"param.{key}": value for key, value in parameters.items()}
    values.update({f"grad.{key}": value.grad for key, value in p.items()})
    kept = {f"transformer.h.{name}.weight" for name in ("0.attn.c_attn", "1.mlp.c_fc", "1.mlp.c_proj")}
    values.update({
        f"trained.{key}": value
        for key, value in trained.items()
        if key in kept or golden.is_kept_trained(key, value)
    })
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
    return CONFIG, values


def check_torch():
    """One update of torch.optim.Muon, which iterates in bfloat16, against `orthogonalise`; returns the complaints."""
    weight = torch.nn.Parameter(torch.zeros(40, 28))
    weight.grad = torch.from_numpy(np.random.RandomState(1).standard_normal((40, 28))).float()
    torch.optim.Muon([weight], lr=1.0, weight_decay=0.0, momentum=MOMENTUM, nesterov=True).step()
    expected = -(max(1, 40 / 28) ** 0.5) * orthogonalise(weight.grad.double())
    error = golden.relative_error(weight.detach(), expected)
    print(f"{NAME:22s} vs torch.optim.Muon, whose products are in bfloat16: {error:.1e}")
    return [] if error < 0.03 else ["muon: disagrees with torch.optim.Muon"]


def check():
    """Runs every check; returns the exit status."""
    complaints = check_torch() + golden.check_stored(NAME, compute, TRAIN)
    for complaint in complaints:
        print(f"FAIL {complaint}", file=sys.stderr)
    return 1 if complaints else 0


def write():
    """Writes the file; returns the exit status."""
    config, values = compute(NAME)
    path = golden.HERE / f"{NAME}.safetensors"
    save_file(golden.stored_form(values), path, metadata=golden.metadata(config, TRAIN))
    path.chmod(0o644)
    print(f"{path.name}: {path.stat().st_size} bytes, training {values['losses'][0]:.4f} -> {values['losses'][-1]:.4f}")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="verify the stored file instead of writing it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    return check() if arguments.check else write()


if __name__ == "__main__":
    sys.exit(main())
