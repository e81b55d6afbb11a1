"""Recipes for loops, as `walks.py` runs them: what a loop reads, what the state is. Written from the papers' equations.

Dimensions: B batch, T time, C channels, N loops, M streams.
"""

import math

import torch

from make_golden import layernorm, linear

FIELDS = ("initialState", "loopNorm", "loopEmbedding", "hyperConnections", "nStream")


def used(config):
    """Whether a configuration has a recipe of these."""
    return any(field in config for field in FIELDS) or config.get("inputInjection") in (
        "scalars", "stable", "stable-exact")


def shapes(config):
    """Name to shape of the recipes' parameters."""
    C, N, M = config["nEmbd"], config["nLoop"], config.get("nStream", 2)
    injection, t = config.get("inputInjection", "none"), "transformer."
    found = {}
    if injection.startswith("stable"):
        found.update({t + "injection.a": (C,), t + "injection.b": (C,), t + "injection.input.weight": (C, C)})
    if injection == "scalars":
        found.update({t + "injection.state_scale": (N, 1), t + "injection.input_scale": (N, 1)})
    if config.get("loopEmbedding"):
        found[t + "loop_embedding"] = (N, C)
    if config.get("loopNorm"):
        found.update({t + "ln_loop.weight": (C,), t + "ln_loop.bias": (C,)})
    kind = config.get("hyperConnections", "none")
    if kind != "none":
        found[t + "streams.coefficients"] = (N, M * (M + 2))
    if kind == "dynamic":
        found.update({
            t + "streams.norm.weight": (M * C,),
            t + "streams.norm.bias": (M * C,),
            t + "streams.dynamic.weight": (M * C, M * (M + 2)),
            t + "streams.gamma": (N, 1),
        })
    return found


def around(name, shape, noise):
    """Values near those that a parameter starts with; `noise` (shape) is normal with deviation 1. None for others."""
    if name.endswith("streams.coefficients"):
        N, M = shape[0], round(math.sqrt(shape[1] + 1)) - 1
        start = torch.zeros(N, M, M + 2, dtype=noise.dtype)
        for n in range(N):
            start[n, :, :M] = torch.eye(M)
            start[n, n % M, M] = 1.0
            start[n, :, M + 1] = 1.0
        return start.reshape(shape) + 0.2 * noise
    if name.endswith("streams.gamma"):
        return 0.3 + 0.05 * noise
    if name.endswith(("injection.state_scale", "streams.norm.weight")):
        return 1.0 + 0.2 * noise
    if name.endswith("injection.input.weight"):
        return torch.eye(shape[0], dtype=noise.dtype) + 0.1 * noise
    if name.endswith(("injection.a", "injection.b", "injection.input_scale")):
        return 0.5 * noise
    if name.endswith(("loop_embedding", "streams.dynamic.weight")):
        return 0.1 * noise
    return None


def mix32(x):
    """A bijection of 32-bit numbers."""
    x &= 0xFFFFFFFF
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return x ^ (x >> 16)


def hash_words(*words):
    h = 0x6A09E667
    for word in words:
        h = mix32((h ^ mix32(word)) + 0x9E3779B9)
    return h


def normal(name, count, std):
    """Counter-based Box–Muller draws (count, even) of the stream `name` with seed 0."""
    text = hash_words(*map(ord, name))
    a, b = hash_words(0, text, 1), hash_words(0, text, 2)

    def uniform(i):
        return (mix32(mix32(i + a) ^ b) + 0.5) / 2**32

    values = []
    for i in range(0, count, 2):
        radius, angle = std * math.sqrt(-2 * math.log(uniform(i))), 2 * math.pi * uniform(i + 1)
        values += [radius * math.cos(angle), radius * math.sin(angle)]
    return torch.tensor(values, dtype=torch.float64)


class Recipes:
    """The recipes of one pass; `learns` where it draws the first state with seed, step and micro-step 0."""

    def __init__(self, p, config, learns):
        self.p, self.config, self.learns = p, config, learns
        self.injection = config.get("inputInjection", "none")
        self.streams = config.get("hyperConnections", "none") != "none"
        self.M = config.get("nStream", 2)

    def row(self, name, n):
        return self.p[f"transformer.{name}"][min(n, self.config["nLoop"] - 1)]

    def first(self, e):
        """The state that the first loop starts from; for streams (B, T, M, C)."""
        if self.config.get("initialState") == "random":
            (B, T, C), P = e.shape, self.config["blockSize"]
            std = math.sqrt(2) * self.config["initStd"]
            table = normal("initial_state", P * C, std).reshape(P, C).to(e.dtype)
            rows = torch.arange(T).expand(B, T)
            if self.learns:
                word = hash_words(0, 0, 0, 0x53746174)
                rows = torch.tensor([hash_words(word, r) % P for r in range(B * T)]).reshape(B, T)
            e = table[rows]
        return torch.stack([e] * self.M, dim=2) if self.streams else e

    def last(self, state):
        return state.mean(2) if self.streams else state

    def loop(self, n, state, e, run):
        """One loop; run(f's input, n) is the stack."""
        if not self.streams:
            return self.update(n, state, e, run)
        k = self.row("streams.coefficients", n)
        if self.config["hyperConnections"] == "dynamic":
            normal = layernorm(self.p, "transformer.streams.norm", state.flatten(2))
            bounded = torch.tanh(normal @ self.p["transformer.streams.dynamic.weight"])
            k = k + self.row("streams.gamma", n) * bounded
        else:
            k = k.expand(*state.shape[:2], -1)
        k = k.unflatten(-1, (self.M, self.M + 2))
        mix, read, write = k[..., :self.M], k[..., self.M], k[..., self.M + 1]
        u = torch.einsum("bti,btic->btc", read, state)
        change = self.update(n, u, e, run) - u
        return torch.einsum("btij,btjc->btic", mix, state) + write[..., None] * change[:, :, None]

    def update(self, n, x, e, run):
        h, origin = x, x
        if self.injection == "add":
            h = x + e
        elif self.injection == "linear":
            h = linear(self.p, "transformer.injection.state", x) + linear(self.p, "transformer.injection.input", e)
        elif self.injection == "scalars":
            h = origin = self.row("injection.state_scale", n) * x + self.row("injection.input_scale", n) * e
        elif self.injection.startswith("stable"):
            A = torch.exp(self.p["transformer.injection.a"])
            delta = torch.log(1 + torch.exp(self.p["transformer.injection.b"]))
            keep = torch.exp(-delta * A)
            gain = (1 - keep) / A if self.injection == "stable-exact" else delta
            h = origin = keep * x + gain * (e @ self.p["transformer.injection.input.weight"])
        if self.config.get("loopEmbedding"):
            h = h + self.row("loop_embedding", n)
        f = run(n, h)
        x = origin + self.row("gates", n) * (f if self.config["loopForm"] == "output" else f - origin)
        return layernorm(self.p, "transformer.ln_loop", x) if self.config.get("loopNorm") else x
