#!/usr/bin/env python3
"""Makes the golden values of the systems beyond GPT-2 and the plain loop network; `check_systems.py` proves them.

    python make_systems.py             write one <system>.safetensors per entry of SYSTEMS beside this script
    python make_systems.py NAME ...    write only these

A sibling of `make_golden.py`, whose helpers, precision and file layout it takes over; `README.md` lists what it stores
in addition. It is written from the papers' definitions and shares no code with the product.

Decisions (when a row stops, which exit an oracle names) are integers that a rounding error could flip. Each one's
distance from flipping is recorded, and none of a file's may be below SAFE: a seed that breaks this is refused.

Dimensions: B batch, T time, R = B·T rows, C channels, V vocabulary, N exits.
"""

import argparse
import json
import math
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save as serialize

import make_golden as golden
import recipes
from make_golden import HERE, IGNORED, linear, loop_config, model_config
from recipes import hash_words
from walks import Walk

# ---- the systems -------------------------------------------------------------------------------------------------

T = 17  # of blockSize 24
SMALL = 20  # the width of three-layer models, for small files: no multiple of 8, HS = 5
ACT_EPSILON = 0.01
CHI = 0.5  # a geometric unit stops a row above this
SAFE = 1e-4


def system(config, seed, n_ignored=0, hinted=False, halting_scale=0.3, **train):
    """One file: model configuration, seed, ignored targets per batch and the training objective's configuration.

    hinted: three of four targets are the initial model's prediction at some exit; otherwise next to none is right.
    halting_scale: the standard deviation of the halting weights.
    """
    return {"config": config, "seed": seed, "n_ignored": n_ignored, "hinted": hinted, "halting_scale": halting_scale,
            "train": train}


def extended(config, **fields):
    """The configuration with fields that `make_golden.py` does not know."""
    return {**config, **fields}


def sharing(order, applications):
    return extended(model_config(depth="sharing"), sharing=order, nApplication=applications)


def universal(norm, steps, **fields):
    return extended(model_config(depth="universal", nLayer=1, nLoop=steps), norm=norm, **fields)


def adaptive(exit_head, **fields):
    return extended(model_config(depth="adaptive", nLayer=3, nEmbd=SMALL), exitHead=exit_head, **fields)


SYSTEMS = {
    "sharing-sequence": system(sharing("sequence", 4), 2000),
    "sharing-cycle": system(sharing("cycle", 5), 2001),
    # With M = 2 and A = 5 this is the order 0 1 0 1 0 of the cycle; A = 6 gives 0 1 0 1 1 0.
    "sharing-cycle-rev": system(sharing("cycle-rev", 5), 2002),
    "sharing-cycle-rev-even": system(sharing("cycle-rev", 6), 2003),
    "universal-post": system(universal("post", 3), 2004, n_ignored=5),
    "universal-pre": system(universal("pre", 3), 2005),
    "universal-act": system(
        universal("post", 4, halting="act"), 2103, n_ignored=5, halting_scale=1.0, ponderCost=0.01),
    "loop-act": system(
        extended(loop_config(nLoop=3, loopForm="correction"), halting="act"), 2206, n_ignored=5, halting_scale=3.0,
        ponderCost=0.02),
    "loop-exits": system(
        extended(loop_config(nLayer=1, nLoop=3), exitHead="shared"), 2300, n_ignored=5, exitLoss="linear"),
    "adaptive-exits": system(adaptive("separate"), 2301, exitLoss="uniform"),
    "adaptive-mixed": system(adaptive("shared"), 2302, n_ignored=5, exitLoss="mixed"),
    "adaptive-mixed-separate": system(adaptive("separate"), 2303, n_ignored=5, exitLoss="mixed"),
    "adaptive-geometric": system(
        adaptive("shared", halting="geometric"), 2402, n_ignored=5,
        exitLoss="uniform", oracle="likelihood", oracleLambda=0.02, oracleSigma=2),
    "adaptive-multinomial": system(
        adaptive("separate", halting="multinomial"), 2508, n_ignored=5, hinted=True,
        exitLoss="linear", oracle="correctness", oracleLambda=0.05, oracleSigma=0),
    "adaptive-sequence": system(
        adaptive("shared", halting="sequence"), 2600, n_ignored=5,
        exitLoss="uniform", oracle="likelihood", oracleLambda=0.01),
    "loop-confidence": system(
        extended(loop_config(nLoop=3), exitHead="shared", halting="confidence"), 2710, n_ignored=5,
        exitLoss="uniform", exitThreshold=0.03),
    "loop-layout": system(
        extended(loop_config(nLayer=3, nLoop=3, loopForm="correction", nEmbd=SMALL),
                 nPrelude=1, nCoda=1, inputInjection="add"), 2800),
    "loop-injection": system(extended(loop_config(nLayer=1, nLoop=3), inputInjection="linear"), 2801),
    "loop-first-keys": system(
        extended(loop_config(nLoop=3, loopForm="correction"), kvSharing="first-loop"), 2803, n_ignored=5),
    "loop-first-keys-mod": system(
        extended(loop_config(nLayer=1, nLoop=5), kvSharing="first-loop", kvLoops=2), 2804),
    "loop-stable": system(
        extended(loop_config(nLayer=1, nLoop=3, loopForm="correction", nEmbd=SMALL),
                 inputInjection="stable", loopNorm=True, loopEmbedding=True), 2900, n_ignored=5),
    "loop-stable-exact": system(
        extended(loop_config(nLayer=3, nLoop=3, nEmbd=SMALL), nPrelude=1, nCoda=1, inputInjection="stable-exact",
                 initialState="random", initStd=0.5), 2901),
    "loop-scalars": system(
        extended(loop_config(nLayer=1, nLoop=3, nEmbd=SMALL), inputInjection="scalars"), 2902, backpropLoops=2),
    "loop-streams": system(
        extended(loop_config(nLayer=2, nLoop=3, loopForm="correction", nEmbd=SMALL), nCoda=1,
                 hyperConnections="static", nStream=3), 2903, n_ignored=5),
    "loop-streams-dynamic": system(
        extended(loop_config(nLayer=1, nLoop=3, nEmbd=SMALL), inputInjection="stable", loopNorm=True,
                 hyperConnections="dynamic"), 2904),
    "loop-truncated": system(
        extended(loop_config(nLayer=1, nLoop=4), inputInjection="add"), 2802, backpropLoops=2),
}


# ---- parameters --------------------------------------------------------------------------------------------------

def n_exits(config):
    """How many exits a model has: one per layer (adaptive) or per step."""
    return config["nLayer"] if config["depth"] == "adaptive" else config["nLoop"]


def parameter_shapes(config):
    """Name to shape of every parameter: `make_golden.py`'s, with what the system adds or leaves out."""
    V, C, N = config["vocabSize"], config["nEmbd"], n_exits(config)
    shapes = golden.parameter_shapes(config)
    if config["depth"] == "universal":
        del shapes["transformer.wpe.weight"], shapes["transformer.gates"]
        if config["norm"] == "post":
            del shapes["transformer.ln_f.weight"], shapes["transformer.ln_f.bias"]
    if config.get("inputInjection") == "linear":
        shapes["transformer.injection.state.weight"] = (C, C)
        shapes["transformer.injection.state.bias"] = (C,)
        shapes["transformer.injection.input.weight"] = (C, C)
    if config["depth"] == "loop":
        shapes.update(recipes.shapes(config))
    if config.get("exitHead") == "separate":
        for n in range(N - 1):
            shapes[f"transformer.exits.{n}.ln_f.weight"] = (C,)
            shapes[f"transformer.exits.{n}.ln_f.bias"] = (C,)
            shapes[f"transformer.exits.{n}.lm_head.weight"] = (V, C)
    units = {
        "act": [("transformer.halting", 1)],
        "geometric": [(f"transformer.halting.{n}", 1) for n in range(N - 1)],
        "multinomial": [("transformer.halting", N)],
        "sequence": [("transformer.halting", N)],
    }
    for name, width in units.get(config.get("halting"), []):
        shapes[f"{name}.weight"] = (C, width)
        shapes[f"{name}.bias"] = (width,)
    return shapes


def initial_parameters(config, halting_scale, rng):
    """`make_golden.py`'s random parameters, with halting weights large enough to tell rows apart."""
    parameters = golden.initial_parameters(parameter_shapes(config), rng)
    own = recipes.shapes(config) if config["depth"] == "loop" else {}
    for name, value in parameters.items():
        if (near := recipes.around(name, value.shape, value.double() / 0.08)) is not None and name in own:
            parameters[name] = near.float()
        elif ".halting." in name and name.endswith(".weight"):
            parameters[name] = (value.double() * (halting_scale / 0.08)).float()
        elif ".injection." in name and name.endswith(".weight"):
            parameters[name] = (value.double() * 2.5).float()
    return parameters


def is_kept_trained(name, parameter):
    """Whether `trained.*` is stored: `make_golden.py`'s choice and the systems' own parameters."""
    own = (".halting.", ".injection.", ".exits.", ".streams.", ".loop_embedding")
    return golden.is_kept_trained(name, parameter) or any(part in name for part in own)


# ---- decisions ---------------------------------------------------------------------------------------------------

MARGINS = []  # how far the decisions since the last reset are from flipping


def decided(distances):
    """Records the distances of decisions from flipping."""
    if distances.numel():
        MARGINS.append(distances.detach().abs().min().item())


def lead(scores, dim):
    """How far the best of `scores` is from the second best along `dim`."""
    two = scores.topk(2, dim=dim).values
    return two.select(dim, 0) - two.select(dim, 1)


def row_losses(logits, targets):
    """Cross-entropy (B, T) of each row; 0 where the target is ignored."""
    log_p = torch.log_softmax(logits, dim=-1)
    picked = log_p.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return torch.where(targets == IGNORED, torch.zeros_like(picked), -picked)


def at_exit(values, exits):
    """values[exits[b, t]][b, t] of a list of N tensors (B, T, ...)."""
    result = values[0]
    for n, value in enumerate(values[1:], start=1):
        chosen = exits == n
        result = torch.where(chosen if value.ndim == 2 else chosen.unsqueeze(-1), value, result)
    return result


def drawn_exits(B, T, N):
    """Each row's exit (B, T) in mixed training, with seed, step and micro-step 0."""
    word = hash_words(0, 0, 0, 0x45786974)
    return torch.tensor([hash_words(word, row) % N for row in range(B * T)]).reshape(B, T)


# ---- adaptive computation time -----------------------------------------------------------------------------------

def act(walk):
    """Graves's halting: output Σ p_n s_n (B, T, C), steps N (B, T) and remainders (B, T)."""
    x = walk.first
    running = torch.ones(x.shape[:2], dtype=torch.bool)
    total = torch.zeros(x.shape[:2], dtype=x.dtype)  # Σ h of the steps before
    output, steps, remainder = torch.zeros_like(x), torch.zeros(x.shape[:2], dtype=torch.long), total
    for n in range(walk.count):
        x = walk.step(n, x, ~running)
        h = torch.sigmoid(linear(walk.p, "transformer.halting", x)).squeeze(-1)
        if n == walk.count - 1:
            stops = running
        else:
            decided((total + h - (1 - ACT_EPSILON))[running])
            stops = running & (total + h >= 1 - ACT_EPSILON)
        probability = torch.where(stops, 1 - total, h)
        output = output + torch.where(running, probability, torch.zeros_like(h)).unsqueeze(-1) * x
        remainder = torch.where(stops, 1 - total, remainder)
        steps = steps + running
        total = torch.where(running, total + h, total)
        running = running & ~stops
    return output, steps, remainder


# ---- learned halting ---------------------------------------------------------------------------------------------

def smoothed(costs, sigma):
    """Each row's weighted mean of its sequence's costs (N, B, T) with weights exp(−Δt²/σ), |Δt| ≤ ⌊√(16σ)⌋."""
    if sigma == 0:
        return costs
    T = costs.shape[-1]
    distance = torch.arange(T)[:, None] - torch.arange(T)[None, :]
    near = distance.abs() <= math.floor(math.sqrt(16 * sigma))
    weights = torch.exp(-(distance * distance).to(costs.dtype) / sigma) * near
    return costs @ (weights / weights.sum(0)[None, :])


def oracle_exits(exit_logits, targets, config, train):
    """The exit (B, T) that the halting unit should choose for each row: least cost + λ·n, the first on ties."""
    costs = []
    for logits in exit_logits:
        logits = logits.detach()
        if train["oracle"] == "likelihood":
            costs.append(row_losses(logits, targets))
        else:
            costs.append((logits.argmax(-1) != targets).to(logits.dtype))
            counted = targets != IGNORED
            own = logits.gather(-1, targets.clamp(min=0).unsqueeze(-1))
            others = logits.scatter(-1, targets.clamp(min=0).unsqueeze(-1), -math.inf)
            decided((own.squeeze(-1) - others.max(-1).values)[counted])
    costs = torch.stack(costs)  # (N, B, T)
    if config["halting"] == "sequence":
        costs = costs.mean(-1, keepdim=True).expand_as(costs)
    else:
        costs = smoothed(costs, train["oracleSigma"])
    N = len(exit_logits)
    costs = costs + train["oracleLambda"] * torch.arange(N, dtype=costs.dtype)[:, None, None]
    decided(lead(-costs, 0))
    return costs.argmin(0)


def chi(walk, n, z):
    """Exit n's logit of leaving (B, T), geometric halting."""
    return linear(walk.p, f"transformer.halting.{n}", z).squeeze(-1)


def choice_logits(walk, z):
    """Logits (B, T, N) over the exits from the first exit's z (B, T, C): of the row, or of the sequence so far."""
    if walk.config["halting"] == "sequence":
        z = z.cumsum(1) / torch.arange(1, z.shape[1] + 1, dtype=z.dtype)[:, None]
    return linear(walk.p, "transformer.halting", z)


def halting_loss(walk, states, oracle):
    """Mean over all rows of the halting unit's cross-entropy to the oracle; the states are constants to it."""
    z = [walk.normalised(n, state).detach() for n, state in enumerate(states)]
    if walk.config["halting"] != "geometric":
        log_q = torch.log_softmax(choice_logits(walk, z[0]), dim=-1)
        return -log_q.gather(-1, oracle.unsqueeze(-1)).mean()
    loss = 0.0
    for n in range(walk.count - 1):
        logit = chi(walk, n, z[n])
        loss = loss - F.logsigmoid(logit) * (oracle == n)  # leaves: log χ
        loss = loss - F.logsigmoid(-logit) * (oracle > n)  # stays: log (1 − χ)
    return loss.mean()


# ---- objectives --------------------------------------------------------------------------------------------------

def objective(p, tokens, targets, config, train):
    """What is minimised, the loss to report, and whatever else a file stores of a training pass."""
    walk = Walk(p, tokens, config)
    end = walk.count - 1
    if config.get("halting") == "act":
        output, steps, remainder = act(walk)
        logits = walk.logits(end, output)
        loss, aux = golden.mean_loss(logits, targets), (steps + remainder).mean()
        return loss + train["ponderCost"] * aux, loss, {"logits": logits, "auxLoss": aux, "steps": steps.flatten()}

    exit_loss = train.get("exitLoss")
    if exit_loss is None:
        logits = walk.logits(end, walk.last(walk.states(train.get("backpropLoops"))[-1]))
        loss = golden.mean_loss(logits, targets)
        if config.get("initialState") == "random":
            still = Walk(p, tokens, config, learns=False)
            logits = still.logits(end, still.last(still.states()[-1]))
        return loss, loss, {"logits": logits}

    if exit_loss == "mixed":
        exits = drawn_exits(*tokens.shape, walk.count)
        x = walk.first
        for n in range(walk.count):
            x = walk.step(n, x, exits < n)
        mixed = at_exit([walk.logits(n, x) for n in range(walk.count)], exits)
        loss = golden.mean_loss(mixed, targets)
        return loss, loss, {"logits": walk.logits(end, walk.states()[-1]), "exits": exits.flatten()}

    states = walk.states()
    exit_logits = [walk.logits(n, state) for n, state in enumerate(states)]
    losses = [golden.mean_loss(logits, targets) for logits in exit_logits]
    weights = [1.0 if exit_loss == "uniform" else n + 1.0 for n in range(walk.count)]
    minimised = sum(w * loss for w, loss in zip(weights, losses)) / sum(weights)
    extras = {"logits": exit_logits[-1]}
    if "oracle" in train:
        oracle = oracle_exits(exit_logits, targets, config, train)
        aux = halting_loss(walk, states, oracle)
        minimised = minimised + aux
        extras.update({"auxLoss": aux, "oracle": oracle.flatten()})
    return minimised, losses[-1], extras


# ---- inference ---------------------------------------------------------------------------------------------------

def evaluate(p, tokens, targets, config, train):
    """Rows leave when the halting unit says so: their losses (B, T) and how many steps they took (B, T)."""
    walk = Walk(p, tokens, config)
    if config["halting"] == "act":
        output, steps, _ = act(walk)
        return row_losses(walk.logits(walk.count - 1, output), targets), steps
    end = walk.count - 1
    x, running, chosen = walk.first, torch.ones_like(tokens, dtype=torch.bool), None
    exits = torch.full_like(tokens, end)
    for n in range(end + 1):
        x = walk.step(n, x, ~running)
        if n == end:
            break
        if config["halting"] == "geometric":
            probability = torch.sigmoid(chi(walk, n, walk.normalised(n, x)))
            decided((probability - CHI)[running])
            leaves = running & (probability > CHI)
        elif config["halting"] == "confidence":
            confidence = torch.softmax(walk.logits(n, x), dim=-1).max(-1).values
            decided((confidence - train["exitThreshold"])[running])
            leaves = running & (confidence > train["exitThreshold"])
        else:
            if n == 0:
                scores = choice_logits(walk, walk.normalised(0, x))
                decided(lead(scores, -1))
                chosen = scores.argmax(-1)
            leaves = running & (chosen == n)
        exits = torch.where(leaves, torch.full_like(exits, n), exits)
        running = running & ~leaves
    losses = at_exit([row_losses(walk.logits(n, x), targets) for n in range(end + 1)], exits)
    return losses, exits + 1


# ---- files -------------------------------------------------------------------------------------------------------

def hinted_targets(parameters, tokens, targets, config, rng):
    """`targets`, three of four of those that count replaced by the initial model's prediction at a random exit."""
    p = {name: value.double() for name, value in parameters.items()}
    walk = Walk(p, tokens, config)
    predictions = [walk.logits(n, state).argmax(-1) for n, state in enumerate(walk.states())]
    exits = torch.from_numpy(rng.randint(0, walk.count, size=tuple(tokens.shape)))
    replaced = torch.from_numpy(rng.random_sample(tuple(tokens.shape)) < 0.75) & (targets != IGNORED)
    return torch.where(replaced, at_exit(predictions, exits), targets)


def compute(name, dtype=torch.float64):
    """Configuration and all values of one file; floating-point results stay in `dtype` (`param.*` is float32)."""
    spec = SYSTEMS[name]
    config, train = spec["config"], spec["train"]
    rng = np.random.RandomState(spec["seed"])
    parameters = initial_parameters(config, spec["halting_scale"], rng)

    def batch():
        tokens, targets = golden.random_batch(config, T, spec["n_ignored"], rng)
        if spec["hinted"]:
            targets = hinted_targets(parameters, tokens, targets, config, rng)
        return tokens, targets

    tokens, targets = batch()
    batches = [batch() for _ in range(golden.TRAIN_STEPS)]
    MARGINS.clear()

    p = golden.leaves(parameters, dtype)
    minimised, loss, extras = objective(p, tokens, targets, config, train)
    minimised.backward()
    losses, norms, trained = golden.train(
        parameters, batches, dtype, lambda *arguments: objective(*arguments, config, train)[:2])
    values = {f"param.{key}": value for key, value in parameters.items()}
    values.update({f"grad.{key}": value.grad for key, value in p.items()})
    values.update({f"trained.{key}": value for key, value in trained.items() if is_kept_trained(key, value)})
    values.update({
        "loss": loss.detach().reshape(1),
        "tokens": tokens,
        "targets": targets,
        "train_tokens": torch.stack([tokens for tokens, _ in batches]),
        "train_targets": torch.stack([targets for _, targets in batches]),
        "losses": losses,
        "gradNorms": norms,
    })
    values.update({key: torch.atleast_1d(value.detach()) for key, value in extras.items()})
    if "halting" in config:
        with torch.no_grad():
            eval_losses, eval_steps = evaluate(p, tokens, targets, config, train)
        values.update({"eval.losses": eval_losses.flatten(), "eval.steps": eval_steps.flatten()})
    margin = min(MARGINS, default=math.inf)
    assert margin >= SAFE, f"{name}: a decision lies {margin:.1e} from flipping: choose another seed"
    for key in ("steps", "oracle", "eval.steps"):
        assert key not in values or len(values[key].unique()) > 1, f"{name}: all {key} are equal: choose another seed"
    return config, values


def save(values, path, metadata):
    """Writes a file with its metadata in order: safetensors keeps them in a hash map, whose order is random."""
    data = serialize(golden.stored_form(values), metadata=metadata)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    header["__metadata__"] = metadata
    text = json.dumps(header, separators=(",", ":")).encode().ljust(size)
    assert len(text) == size
    path.write_bytes(data[:8] + text + data[8 + size:])


def write(names):
    """Writes the files of the systems `names`; returns the exit status."""
    for name in names:
        config, values = compute(name)
        path = HERE / f"{name}.safetensors"
        save(values, path, golden.metadata(config, SYSTEMS[name]["train"]))
        path.chmod(0o644)
        counts = "  ".join(f"{key} {values[key].unique(return_counts=True)[1].tolist()}"
                           for key in ("steps", "oracle", "exits", "eval.steps") if key in values)
        print(f"{path.name:36s} {path.stat().st_size:8d} bytes  loss {values['loss'].item():.4f}  "
              f"training {values['losses'][0]:.4f} -> {values['losses'][-1]:.4f}  "
              f"norms {values['gradNorms'].min():.2f}..{values['gradNorms'].max():.2f}  "
              f"margin {min(MARGINS, default=math.inf):.1e}  {counts}")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="systems to write (all)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # more threads would change the last bits of sums
    return write(arguments.names or list(SYSTEMS))


if __name__ == "__main__":
    sys.exit(main())
