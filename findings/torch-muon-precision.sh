#!/usr/bin/env bash
# torch 2.15.0 (Python): the precision of torch.optim.Muon's update.
#
# AdamW and SGD compute in the type of the parameters, so one would guess that Muon does, and that float64 is the way to
# compare it with an implementation of one's own. It is not: the five iterations of Newton and Schulz run in bfloat16,
# whatever the type of the parameter, its gradient and its momentum, and no argument says otherwise. The update of a
# float64 matrix is made of bfloat16 numbers, lies one or two hundredths (of its norm) from the update that float64
# gives by the same formula, and changes as much where the gradient is only multiplied by a number, of which the formula
# is independent. A comparison must allow for that, and a check of gradients through an update cannot work.
#
# Seen:
#     float64: every number of the update is a bfloat16 number times the scale: True
#     float64: distance from the same formula in float64: between 0.005 and 0.05: True
#     float64: distance between the updates of g and of 1.1 g: above 0.002: True
#     the same formula in float64: distance between the updates of g and of 1.1 g: below 1e-6: True
#     float32: every number of the update is a bfloat16 number times the scale: True
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.15.0 numpy==2.4.6

cat > "$work/muon.py" <<'PY'
import torch

torch.set_num_threads(1)
A, B, C = 3.4445, -4.7750, 2.0315
ROWS, COLUMNS, MOMENTUM = 64, 64, 0.95  # square: the scale is 1


def formula(gradient):
    """The first update in float64: Nesterov's momentum, the norm, five iterations."""
    momentum = (1 - MOMENTUM) * gradient
    x = torch.lerp(gradient, momentum, MOMENTUM)
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(5):
        s = x @ x.T
        x = A * x + (B * s + C * s @ s) @ x
    return x


def update(gradient):
    weight = torch.nn.Parameter(torch.zeros_like(gradient))
    optimizer = torch.optim.Muon([weight], lr=1.0, weight_decay=0.0, momentum=MOMENTUM)
    weight.grad = gradient.clone()
    optimizer.step()
    return -weight.detach()


def distance(a, b):
    return ((a - b).norm() / b.norm()).item()


def say(what, holds):
    print(f"{what}: {holds}")


torch.manual_seed(0)
gradient = torch.randn(ROWS, COLUMNS, dtype=torch.float64)
found = update(gradient)
rounded = "every number of the update is a bfloat16 number times the scale"
say(f"float64: {rounded}", torch.equal(found.bfloat16().double(), found))
say("float64: distance from the same formula in float64: between 0.005 and 0.05",
    0.005 < distance(found, formula(gradient)) < 0.05)
say("float64: distance between the updates of g and of 1.1 g: above 0.002",
    distance(update(1.1 * gradient), found) > 0.002)
say("the same formula in float64: distance between the updates of g and of 1.1 g: below 1e-6",
    distance(formula(1.1 * gradient), formula(gradient)) < 1e-6)
single = update(gradient.float())
say(f"float32: {rounded}", torch.equal(single.bfloat16().float(), single))
PY

expected="float64: every number of the update is a bfloat16 number times the scale: True
float64: distance from the same formula in float64: between 0.005 and 0.05: True
float64: distance between the updates of g and of 1.1 g: above 0.002: True
the same formula in float64: distance between the updates of g and of 1.1 g: below 1e-6: True
float32: every number of the update is a bfloat16 number times the scale: True"
found=$("$work/venv/bin/python" "$work/muon.py" 2> "$work/stderr") || { cat "$work/stderr"; exit 1; }
echo "$found"
[ "$found" = "$expected" ] || { echo "not what it was:" >&2; echo "$expected" >&2; exit 1; }
