"""The models of `make_systems.py`, forward.

Every model here is a walk: a first state x⁰ and `count` steps, each of which maps the state of all rows (B, T, C) to
the next. A step is a layer (adaptive), an application of a shared layer (sharing), a loop over the stack (loop) or an
application of the one block (universal). Rows can be held: a held row's state is copied onward, at every layer inside
a step too, while the blocks go on making its keys and values from that state, so that other rows can attend to it.

Dimensions: B batch, T time, C channels, V vocabulary.
"""

import math

import torch

import make_golden as golden
from make_golden import attention, layernorm, linear
from recipes import Recipes


def hold(held, old, new):
    """`new`, but `old` for the rows of `held` (B, T); no row is held if it is None."""
    return new if held is None else torch.where(held.unsqueeze(-1), old, new)


def application_order(config):
    """Which layer each application of a sharing model uses (Takase & Kiyono 2023), from 0."""
    M, A = config["nLayer"], config["nApplication"]
    if config["sharing"] == "sequence":
        return [a // (A // M) for a in range(A)]
    if config["sharing"] == "cycle":
        return [a % M for a in range(A)]
    forward = [a % M for a in range(A - M)]
    return forward + list(reversed(range(M)))


def position_time_signal(T, C, t, like):
    """P^t (T, C): at (i, 2j) sin(i/10000^(2j/C)) + sin(t/10000^(2j/C)), at (i, 2j+1) the same with cos."""
    divisor = 10000.0 ** (torch.arange(0, C, 2, dtype=torch.float64) / C)
    position = torch.arange(T, dtype=torch.float64)[:, None] / divisor
    time = float(t) / divisor
    pairs = torch.stack([position.sin() + time.sin(), position.cos() + time.cos()], dim=-1)
    return pairs.reshape(T, C).to(like.dtype)


def universal_block(p, x, config):
    """The Universal Transformer's block on x, which includes the signal: ReLU, LayerNorm after or before."""
    h, n_head = "transformer.h.0", config["nHead"]

    def transition(y):
        return linear(p, f"{h}.mlp.c_proj", torch.relu(linear(p, f"{h}.mlp.c_fc", y)))

    if config["norm"] == "post":
        a = layernorm(p, f"{h}.ln_1", x + attention(p, f"{h}.attn", x, n_head))
        return layernorm(p, f"{h}.ln_2", a + transition(a))
    a = x + attention(p, f"{h}.attn", layernorm(p, f"{h}.ln_1", x), n_head)
    return a + transition(layernorm(p, f"{h}.ln_2", a))


class Walk:
    """A model as a first state `first`, `count` steps `step(n, x, held)` (n from 0) and a `last` part.

    A pass that does not learn draws nothing.
    """

    def __init__(self, p, tokens, config, learns=True):
        self.p, self.config = p, config
        self.inputs = {}  # (slot, layer) → the input of the layer whose keys and values later loops share
        depth, T, C = config["depth"], tokens.shape[1], config["nEmbd"]
        embedding = p["transformer.wte.weight"][tokens]
        if depth == "universal":
            self.first, self.count, self.step = embedding * math.sqrt(C), config["nLoop"], self.universal_step
            return
        self.first = embedding + p["transformer.wpe.weight"][:T]
        layers = list(range(config["nLayer"]))
        if depth == "loop":
            prelude, coda = config.get("nPrelude", 0), config.get("nCoda", 0)
            self.looped = layers[prelude:len(layers) - coda]
            self.coda = layers[len(layers) - coda:]
            self.entry = self.stack(layers[:prelude], self.first, None)
            self.recipes = Recipes(p, config, learns)
            self.first = self.recipes.first(self.entry)
            self.count, self.step = config["nLoop"], self.loop_step
        else:
            order = application_order(config) if depth == "sharing" else layers
            self.count = len(order)
            self.step = lambda n, x, held: self.stack([order[n]], x, held)

    def stack(self, layers, x, held):
        for layer in layers:
            x = hold(held, x, golden.block(self.p, layer, x, self.config))
        return x

    def universal_step(self, n, x, held):
        signal = position_time_signal(*x.shape[1:], n + 1, x)
        return hold(held, x, universal_block(self.p, x + signal, self.config))

    def memory(self, n, layer, x):
        """What loop n makes a layer's keys and values of: None for its own input, or that of an earlier loop."""
        if self.config.get("kvSharing") != "first-loop":
            return None
        slots = self.config.get("kvLoops", 1)
        if n < slots:
            self.inputs[n, layer] = x
            return None
        return self.inputs[n % slots, layer]

    def loop_step(self, n, x, held):
        def run(n, f):
            for layer in self.looped:
                f = hold(held, f, golden.block(self.p, layer, f, self.config, self.memory(n, layer, f)))
            return f

        return hold(held, x, self.recipes.loop(n, x, self.entry, run))

    def last(self, x):
        return self.stack(self.coda, self.recipes.last(x), None) if self.config["depth"] == "loop" else x

    def states(self, backprop=None):
        """The states after each step. With `backprop` = k, only the last k steps are differentiated: the state that
        enters them counts as the first state plus a constant."""
        x, result = self.first, []
        for n in range(self.count):
            if backprop is not None and n < self.count - backprop:
                with torch.no_grad():
                    x = self.step(n, x, None)
                if n == self.count - backprop - 1:
                    x = self.first + (x - self.first).detach()
            else:
                x = self.step(n, x, None)
            result.append(x)
        return result

    def normalised(self, n, x):
        """What exit n's classifier reads of the state x."""
        if self.config.get("exitHead") == "separate" and n < self.count - 1:
            return layernorm(self.p, f"transformer.exits.{n}.ln_f", x)
        return layernorm(self.p, "transformer.ln_f", x) if "transformer.ln_f.weight" in self.p else x

    def logits(self, n, x):
        """Exit n's logits (B, T, V) from the state x."""
        own = self.config.get("exitHead") == "separate" and n < self.count - 1
        head = self.p[f"transformer.exits.{n}.lm_head.weight" if own else "transformer.wte.weight"]
        return self.normalised(n, x) @ head.T
