#!/usr/bin/env python3
"""Proves the golden values of `make_systems.py`: computes everything again and compares it with the stored files, with
GPT-2s of repeated layers and with decoding one position at a time; exits with 1 if anything disagrees.

    python check_systems.py
"""

import math
import sys

import torch

import make_golden as golden
import recipes
from make_golden import IGNORED, linear, model_config
from make_systems import SYSTEMS, T, compute, n_exits, row_losses


def expect(name, what, difference):
    """Prints a comparison's largest difference; returns the complaints."""
    print(f"{name:24s} vs {what}, max difference: {difference:.1e}")
    return [] if difference <= 1e-11 else [f"{name}: disagrees with {what}"]


def double_parameters(values):
    return {key.removeprefix("param."): value.double() for key, value in values.items() if key.startswith("param.")}


def check_repeated(name):
    """A sharing model must be a GPT-2 whose layers are copies in the order written here; returns the complaints."""
    orders = {
        "sharing-sequence": "0011",
        "sharing-cycle": "01010",
        "sharing-cycle-rev": "01010",
        "sharing-cycle-rev-even": "010110",
    }
    config, values = compute(name)
    p = double_parameters(values)
    copies = {key: value for key, value in p.items() if ".h." not in key}
    for position, layer in enumerate(orders[name]):
        prefix = f"transformer.h.{layer}."
        copies.update({key.replace(prefix, f"transformer.h.{position}."): value
                       for key, value in p.items() if key.startswith(prefix)})
    expected = golden.forward(copies, values["tokens"], model_config(nLayer=len(orders[name])))
    return expect(name, "a GPT-2 of repeated layers", (expected - values["logits"]).abs().max().item())


class Decoder:
    """One sequence, one position at a time, each layer with the keys and values of the positions before.

    A row that has left asks nothing of attention any more, but still gives each (step, layer) its keys and values.
    """

    def __init__(self, p, config, train):
        self.p, self.config, self.train, self.cache, self.means = p, config, train, {}, []

    def norm(self, name, x):
        y = (x - x.mean()) / torch.sqrt(x.var(unbiased=False) + golden.LN_EPS)
        return y * self.p[f"{name}.weight"] + self.p[f"{name}.bias"]

    def layer(self, slot, layer, x, active):
        """The block's output for one row x (C), or x itself if it is not active; keeps the row's keys and values."""
        p, config, h, C = self.p, self.config, f"transformer.h.{layer}", len(x)
        post = config.get("norm") == "post"
        heads, size = config["nHead"], C // config["nHead"]
        q, k, v = linear(p, f"{h}.attn.c_attn", x if post else self.norm(f"{h}.ln_1", x)).split(C)
        home = slot % config.get("kvLoops", 1) if config.get("kvSharing") and isinstance(slot, int) else slot
        keys, values = self.cache.setdefault((home, layer), ([], []))
        if home == slot:  # a later loop finds those of an earlier one, this position's included
            keys.append(k)
            values.append(v)
        if not active:
            return x
        mixed = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = torch.stack([q[part] @ key[part] for key in keys]) / math.sqrt(size)
            weights = torch.exp(scores) / torch.exp(scores).sum()
            mixed.append(sum(w * value[part] for w, value in zip(weights, values)))
        a = x + linear(p, f"{h}.attn.c_proj", torch.cat(mixed))
        if post:
            a = self.norm(f"{h}.ln_1", a)
        nonlinear = torch.relu if config["depth"] == "universal" else golden.gelu
        hidden = nonlinear(linear(p, f"{h}.mlp.c_fc", a if post else self.norm(f"{h}.ln_2", a)))
        y = a + linear(p, f"{h}.mlp.c_proj", hidden)
        return self.norm(f"{h}.ln_2", y) if post else y

    def step(self, n, x, active, position):
        config = self.config
        if config["depth"] == "adaptive":
            return self.layer(n, n, x, active)
        if config["depth"] == "universal":
            signal = torch.empty_like(x)
            for c in range(len(x)):
                function = math.sin if c % 2 == 0 else math.cos
                divisor = 10000.0 ** ((c - c % 2) / len(x))
                signal[c] = function(position / divisor) + function((n + 1) / divisor)
            y = self.layer(n, 0, x + signal, active)
            return y if active else x
        kind = config.get("inputInjection")
        y = x
        if kind == "add":
            y = x + self.first
        elif kind == "linear":
            name = "transformer.injection"
            y = linear(self.p, f"{name}.state", x) + self.first @ self.p[f"{name}.input.weight"]
        for layer in range(config.get("nPrelude", 0), config["nLayer"] - config.get("nCoda", 0)):
            y = self.layer(n, layer, y, active)
        gate = self.p["transformer.gates"][n]
        return (x + gate * (y if config["loopForm"] == "output" else y - x)) if active else x

    def head(self, n, x):
        """Exit n's normalised state and logits."""
        own = self.config.get("exitHead") == "separate" and n < n_exits(self.config) - 1
        name = f"transformer.exits.{n}." if own else "transformer."
        z = self.norm(f"{name}ln_f", x) if f"{name}ln_f.weight" in self.p else x
        return z, self.p[f"{name}lm_head.weight" if own else "transformer.wte.weight"] @ z

    def row(self, token, position, forced=None):
        """Logits and number of steps of the next position, which leaves where halting says so or at exit `forced`."""
        p, config, end = self.p, self.config, n_exits(self.config) - 1
        halting = config.get("halting") if forced is None else None
        x = p["transformer.wte.weight"][token]
        x = x * math.sqrt(len(x)) if config["depth"] == "universal" else x + p["transformer.wpe.weight"][position]
        for layer in range(config.get("nPrelude", 0)):
            x = self.layer("prelude", layer, x, True)
        self.first = x
        active, taken, total, output, logits = True, 0, 0.0, torch.zeros_like(x), None
        for n in range(end + 1):
            x = self.step(n, x, active, position)
            if not active:
                continue
            taken = n + 1
            if forced is not None:
                leaves = n == forced
                if leaves:
                    y = x
                    for layer in range(config["nLayer"] - config.get("nCoda", 0), config["nLayer"]):
                        y = self.layer("coda", layer, y, True)
                    logits = self.head(n, y)[1]
            elif halting == "act":
                h = torch.sigmoid(linear(p, "transformer.halting", x)).item()
                leaves = n == end or total + h >= 0.99
                output = output + (1 - total if leaves else h) * x
                total += h
                if leaves:
                    logits = self.head(end, output)[1]
            else:
                z, exit_logits = self.head(n, x)
                if halting == "geometric":
                    leaves = n == end or linear(p, f"transformer.halting.{n}", z).item() > 0
                elif halting == "confidence":
                    leaves = n == end or torch.softmax(exit_logits, -1).max().item() > self.train["exitThreshold"]
                else:
                    if n == 0:
                        self.means.append(z)
                        read = z if halting == "multinomial" else sum(self.means) / len(self.means)
                        chosen = linear(p, "transformer.halting", read).argmax().item()
                    leaves = n == chosen
                logits = exit_logits if leaves else None
            active = not leaves
        return logits, taken


def decode(name, values, forced=None):
    """Logits (R, V) and steps (R) of a file's first batch, one position at a time; `forced` is each row's exit."""
    config, B = SYSTEMS[name]["config"], len(values["tokens"])
    forced = [None] * (B * T) if forced is None else forced
    logits, steps = [], []
    with torch.no_grad():
        for b, sequence in enumerate(values["tokens"].tolist()):
            decoder = Decoder(double_parameters(values), config, SYSTEMS[name]["train"])
            for position, token in enumerate(sequence):
                row_logits, taken = decoder.row(token, position, forced[b * T + position])
                logits.append(row_logits)
                steps.append(taken)
    return torch.stack(logits), torch.tensor(steps)


def check_decoded(name):
    """One position at a time with a cache must give the same: all rows at full depth, the drawn exits of mixed
    training and what halting does at inference; returns the complaints."""
    config, values = compute(name)
    targets, complaints = values["targets"].flatten(), []
    if config.get("halting") != "act":
        logits, _ = decode(name, values, [n_exits(config) - 1] * len(targets))
        difference = (logits - values["logits"].flatten(0, 1)).abs().max().item()
        complaints += expect(name, "decoding, full depth", difference)
    if "exits" in values:
        logits, _ = decode(name, values, values["exits"].tolist())
        difference = abs((row_losses(logits, targets).sum() / (targets != IGNORED).sum() - values["loss"]).item())
        complaints += expect(name, "decoding, drawn exits", difference)
    if "halting" in config:
        logits, steps = decode(name, values)
        difference = (row_losses(logits, targets) - values["eval.losses"]).abs().max().item()
        complaints += expect(name, "decoding, halting", difference)
        if not torch.equal(steps, values["eval.steps"]):
            complaints.append(f"{name}: eval.steps disagree with decoding")
    return complaints


def main():
    """Runs every check; returns the exit status."""
    torch.set_num_threads(1)  # more threads would change the last bits of sums
    complaints = []
    for name, spec in SYSTEMS.items():
        if spec["config"]["depth"] == "sharing":
            complaints += check_repeated(name)
        elif not recipes.used(spec["config"]):
            complaints += check_decoded(name)
    for name, spec in SYSTEMS.items():
        complaints += golden.check_stored(name, compute, spec["train"])
    for complaint in complaints:
        print(f"FAIL {complaint}", file=sys.stderr)
    print("golden values: " + ("FAILED" if complaints else "all checks passed"))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
