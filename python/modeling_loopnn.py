"""A loop network for `transformers`: GPT-2's blocks, run several times with learned gates.

"Loop Neural Networks for Parameter Sharing" (arXiv 2409.14199, Eq. 1):

    x^n = x^(n-1) + gate^n * f(x^(n-1)),   n = 1..N

f is the stack of blocks (outer loops, `n_loop`), and each block of it may be looped in the same way (inner loops,
`n_inner_loop`). The loop form says what the gate multiplies: `output` the output f(x), `correction` the change f(x) -
x. The first `n_prelude` and the last `n_coda` layers run once, outside the outer loops; every loop may read the looped
stack's first input e again (`input_injection`, see `Injection`). The first loop may start from a random state
(`initial_state`), a learned vector may be added to what each loop reads (`loop_embedding`), the state may be normalised
after each loop (`loop_norm`), and it may be several streams (`hyper_connections`, see `Streams`). With `depth` gpt2 the
stack runs once.

Blocks have GPT-2's parts, or others: RMSNorm in place of layer norm (`norm_type`), squared ReLU (`relu2`), an MLP whose
activation of one half of its wider input layer gates the other half (`gated_mlp`), rotary positions in place of
learned ones (`positions`, `rope_theta`), a norm of queries and keys (`qk_norm`), and key heads that several query heads
share (`n_kv_head`).

This file needs only torch and transformers, and lies in the folder of the checkpoint:

    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    model(input_ids, labels=input_ids).loss.backward()
    model.generate(input_ids, num_loops=2)
    model.save_pretrained(new_folder)           # `loopnn import new_folder --out run` imports it

The number of loops is the argument `num_loops` of `forward` and `generate`, else `generation_config.num_loops` in
`generate`, else `config.n_loop`; loops beyond the trained count reuse the last gate.

Parameter names and layouts are those of loopnn and of GPT-2 in transformers: linear weights are (in, out). An optimizer
should decay neither gates (`*.gates`, `injection.*_scale`, `streams.coefficients`, `streams.gamma`), nor `injection.a`
and `injection.b`, nor biases and layer norms.

Each application of attention - in every loop, layer and inner loop - has its own keys and values. A cache of
transformers, of any kind, gets a layer for each application, and is valid for the `num_loops` with which it was filled.
transformers 5.24 calls it `cache`, and earlier releases `past_key_values`: both names are accepted, and the output has
the name of the release.

Dimensions: B batch, T time, S time with what is cached, C channels, NH query heads, KV key heads, HS head size,
V vocabulary, N loops.
"""

import inspect
from contextvars import ContextVar
from copy import deepcopy
from functools import partial
from itertools import islice
from numbers import Integral

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import Cache, DynamicCache, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging

logger = logging.get_logger(__name__)


def require_count(where, value):
    """`value` as an int. Raises ValueError unless it is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{where}: must be a whole number of at least 1, got {value!r}")
    return int(value)


class LoopConfig(PretrainedConfig):
    """The settings of a loop network; those that GPT-2 also has have GPT-2's names."""

    model_type = "loopnn"
    attribute_map = {
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
        "num_key_value_heads": "n_kv_head",
    }

    def __init__(
        self,
        vocab_size=50257,
        n_positions=1024,
        n_embd=768,
        n_layer=12,
        n_head=12,
        n_inner=None,
        activation_function="gelu_new",
        layer_norm_epsilon=1e-5,
        depth="loop",
        norm_type="layernorm",
        gated_mlp=False,
        n_loop=1,
        n_inner_loop=1,
        loop_form="correction",
        gate="vector",
        gate_init=1,
        residual_init="layers",
        n_prelude=0,
        n_coda=0,
        input_injection="none",
        positions="learned",
        rope_theta=10000.0,
        qk_norm=False,
        n_kv_head=None,
        initial_state="input",
        loop_norm=False,
        loop_embedding=False,
        hyper_connections="none",
        n_stream=2,
        bias=True,
        dropout=0.0,
        initializer_range=0.02,
        tie_word_embeddings=True,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.n_positions = n_positions
        self.n_embd = n_embd
        self.n_layer = n_layer
        self.n_head = n_head
        self.n_inner = n_inner
        self.activation_function = activation_function
        self.layer_norm_epsilon = layer_norm_epsilon
        self.depth = depth
        self.norm_type = norm_type
        self.gated_mlp = gated_mlp
        self.n_loop = n_loop
        self.n_inner_loop = n_inner_loop
        self.loop_form = loop_form
        self.gate = gate
        self.gate_init = gate_init
        self.residual_init = residual_init
        self.n_prelude = n_prelude
        self.n_coda = n_coda
        self.input_injection = input_injection
        self.positions = positions
        self.rope_theta = rope_theta
        self.qk_norm = qk_norm
        self.n_kv_head = n_head if n_kv_head is None else n_kv_head
        self.initial_state = initial_state
        self.loop_norm = loop_norm
        self.loop_embedding = loop_embedding
        self.hyper_connections = hyper_connections
        self.n_stream = n_stream
        self.bias = bias
        self.dropout = dropout
        self.initializer_range = initializer_range
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)


class Linear(Conv1D):
    """x W + b with W (in, out), as in GPT-2's checkpoints; b is optional here. PEFT recognises it by its base class."""

    def __init__(self, n_in, n_out, bias):
        super().__init__(n_out, n_in)
        if not bias:
            self.bias = None

    def forward(self, x):
        return F.linear(x, self.weight.T, self.bias)


class LayerNorm(nn.Module):
    """Layer normalisation over `width` channels, C by default, with a gain and, if `config.bias`, a bias."""

    def __init__(self, config, width=None):
        super().__init__()
        width = config.n_embd if width is None else width
        self.weight = nn.Parameter(torch.empty(width))
        self.bias = nn.Parameter(torch.empty(width)) if config.bias else None
        self.eps = config.layer_norm_epsilon

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class RMSNorm(nn.Module):
    """x / sqrt(mean of x^2 + eps) over `width` channels, C by default, with a gain, in float32 at least."""

    def __init__(self, config, width=None):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.n_embd if width is None else width))
        self.bias = None
        self.eps = config.layer_norm_epsilon

    def forward(self, x):
        y = x.to(torch.promote_types(x.dtype, torch.float32))
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * y.to(x.dtype)


NORMS = {"layernorm": LayerNorm, "rmsnorm": RMSNorm}


def choice(config, field, known):
    """The value of `known` for the configuration's word. Raises ValueError for an unknown word."""
    word = getattr(config, field)
    if word not in known:
        raise ValueError(f"config.{field}: must be one of {', '.join(known)}, got {word!r}")
    return known[word]


def norm(config, width=None):
    """A norm of the configuration's type over `width` channels, C by default."""
    return choice(config, "norm_type", NORMS)(config, width)


def rotations(position_ids, HS, theta, dtype):
    """Cosines and sines of the positions' angles, (B, 1, T, HS / 2) each, in double precision if the device has it."""
    device = position_ids.device
    exact = torch.float32 if device.type == "mps" else torch.float64
    channels = torch.arange(0, HS, 2, device=device, dtype=exact)
    angles = position_ids[:, None, :, None] * theta ** (-channels / HS)
    return angles.cos().to(dtype), angles.sin().to(dtype)


class Attention(nn.Module):
    """Causal self-attention of NH query heads over KV key heads.

    Queries and keys may be normalised by their root mean square (`qk_norm`), and rotated where positions are rotary.
    """

    def __init__(self, config):
        super().__init__()
        C, NH, KV = config.n_embd, config.n_head, config.n_kv_head
        if NH % KV:
            raise ValueError(f"config.n_kv_head: must divide n_head = {NH}, got {KV}")
        self.heads = (NH, KV, KV)
        self.head_size = C // NH
        self.dropout = config.dropout
        self.eps = config.layer_norm_epsilon if config.qk_norm else None
        self.c_attn = Linear(C, sum(self.heads) * self.head_size, config.bias)
        self.c_proj = Linear(C, C, config.bias)

    def forward(self, x, mask, turns, past):
        B, T, C = x.shape
        parts = self.c_attn(x).view(B, T, -1, self.head_size).split(self.heads, dim=2)
        q, k, v = (part.transpose(1, 2) for part in parts)
        q, k = self.place(q, turns), self.place(k, turns)
        if past is not None:
            k, v = past.update(k, v)
        if (group := self.heads[0] // self.heads[1]) > 1:
            k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        p = self.dropout if self.training else 0.0
        causal = mask is None and T > 1
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p, is_causal=causal)
        y = self.c_proj(y.transpose(1, 2).reshape(B, T, C))
        return F.dropout(y, self.dropout) if self.training else y

    def place(self, heads, turns):
        """Queries or keys (B, heads, T, HS), normalised and rotated."""
        if self.eps is not None:
            y = heads.to(torch.promote_types(heads.dtype, torch.float32))
            heads = (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)).to(heads.dtype)
        if turns is None:
            return heads
        (cos, sin), (a, b) = turns, heads.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


ACTIVATIONS = {
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu": F.gelu,
    "relu": F.relu,
    "relu2": lambda x: F.relu(x).square(),
    "silu": F.silu,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
}


class MLP(nn.Module):
    """Linear to `n_inner` (4 C if None), the activation, linear back; gated: to two halves, activation(a) * b."""

    def __init__(self, config):
        super().__init__()
        self.dropout = config.dropout
        self.activation = choice(config, "activation_function", ACTIVATIONS)
        self.gated = config.gated_mlp
        inner = 4 * config.n_embd if config.n_inner is None else config.n_inner
        self.c_fc = Linear(config.n_embd, 2 * inner if self.gated else inner, config.bias)
        self.c_proj = Linear(inner, config.n_embd, config.bias)

    def forward(self, x):
        y = self.c_fc(x)
        if self.gated:
            gate, y = y.chunk(2, dim=-1)
            y = self.activation(gate) * y
        else:
            y = self.activation(y)
        y = self.c_proj(y)
        return F.dropout(y, self.dropout) if self.training else y


class Gates(nn.Module):
    """Base of modules that may have gates: `gates` (count, C) or (count, 1), and none for a count of 1."""

    def declare_gates(self, config, field):
        count = require_count(f"config.{field}", getattr(config, field))
        width = config.n_embd if config.gate == "vector" else 1
        self.loop_form = config.loop_form
        self.trained_count = count
        self.register_parameter("gates", nn.Parameter(torch.empty(count, width)) if count > 1 else None)

    def update(self, x, f, n):
        """The update rule; loops beyond the trained count reuse the last gate."""
        if self.gates is None:
            return f
        gate = self.gates[min(n, self.trained_count - 1)]
        return x + gate * (f if self.loop_form == "output" else f - x)


class Block(Gates):
    """A transformer block, x + Attention(norm(x)) and then x + MLP(norm(x)), looped `n_inner_loop` times."""

    def __init__(self, config):
        super().__init__()
        self.n_inner_loop = config.n_inner_loop
        self.ln_1 = norm(config)
        self.attn = Attention(config)
        self.ln_2 = norm(config)
        self.mlp = MLP(config)
        self.declare_gates(config, "n_inner_loop")

    def forward(self, x, mask, turns, past):
        for n in range(self.n_inner_loop):
            h = x + self.attn(self.ln_1(x), mask, turns, past)
            x = self.update(x, h + self.mlp(self.ln_2(h)), n)
        return x


INJECTIONS = ("none", "add", "linear", "scalars", "stable", "stable-exact")


class Injection(nn.Module):
    """How loop n reads the looped stack's first input e again, before its stack f.

    none: f reads x; add: x + e; linear: x A + e B. In these, the gate adds to x. In the others, f reads h, and the gate
    adds to h: scalars, h = state_scale^n x + input_scale^n e; stable (Parcae, arXiv 2604.12946), h = exp(-d A) x +
    gain (e B) with A = exp(a), d = softplus(b), the gain being Euler's d, or with stable-exact (1 - exp(-d A)) / A.
    """

    def __init__(self, config):
        super().__init__()
        self.kind = kind = config.input_injection
        if kind not in INJECTIONS:
            raise ValueError(f"config.input_injection: must be one of {', '.join(INJECTIONS)}, got {kind!r}")
        C, N = config.n_embd, config.n_loop
        if kind == "linear":
            self.state = Linear(C, C, config.bias)
        if kind == "scalars":
            self.state_scale, self.input_scale = (nn.Parameter(torch.empty(N, 1)) for _ in range(2))
        if kind.startswith("stable"):
            self.a, self.b = (nn.Parameter(torch.empty(C)) for _ in range(2))
        if kind == "linear" or kind.startswith("stable"):
            self.input = Linear(C, C, False)

    def prepare(self, e):
        """What every loop reads of e, computed once."""
        return self.input(e) if self.kind.startswith("stable") else e

    def forward(self, x, e, n):
        """What f reads, and what the gate adds to; `e` is the result of `prepare`."""
        if self.kind == "add":
            return x + e, x
        if self.kind == "linear":
            return self.state(x) + self.input(e), x
        if self.kind == "scalars":
            n = min(n, len(self.state_scale) - 1)
            x = self.state_scale[n] * x + self.input_scale[n] * e
        elif self.kind.startswith("stable"):
            rate, step = self.a.exp(), F.softplus(self.b)
            gain = -torch.expm1(-step * rate) / rate if self.kind == "stable-exact" else step
            x = torch.exp(-step * rate) * x + gain * e
        return x, x


class Streams(nn.Module):
    """Hyper-connections at the loops (arXiv 2409.19606): the state is M streams s (B, T, M, C).

    Loop n reads u = sum_j read_j s_j, and s_i becomes sum_j mix_ij s_j + write_i (L(u) - u). L is the loop without
    streams.
    `coefficients` has mix_i1 .. mix_iM, read_i, write_i of each stream i; with `dynamic` connections,
    gamma^n tanh(norm(s) W) is added for each token.
    """

    def __init__(self, config):
        super().__init__()
        self.count, C, N = config.n_stream, config.n_embd, config.n_loop
        width = self.count * (self.count + 2)
        self.coefficients = nn.Parameter(torch.empty(N, width))
        self.norm = None
        if config.hyper_connections == "dynamic":
            self.norm = norm(config, self.count * C)
            self.dynamic = Linear(self.count * C, width, False)
            self.gamma = nn.Parameter(torch.empty(N, 1))

    def copies(self, x):
        return x.unsqueeze(2).expand(-1, -1, self.count, -1)

    def forward(self, s, n, loop):
        M, n = self.count, min(n, len(self.coefficients) - 1)
        k = self.coefficients[n]
        if self.norm is not None:
            k = k + self.gamma[n] * torch.tanh(self.dynamic(self.norm(s.flatten(2))))
        k = k.unflatten(-1, (M, M + 2))
        mix, read, write = k[..., :M], k[..., M], k[..., M + 1]
        u = (read.unsqueeze(-1) * s).sum(-2)
        change = loop(u) - u
        return mix @ s + write.unsqueeze(-1) * change.unsqueeze(-2)

    def initial_coefficients(self):
        """Coefficients that make the network equal to the one without streams; loop n reads stream n mod M."""
        M, N = self.count, len(self.coefficients)
        k = torch.zeros(N, M, M + 2)
        k[:, :, :M], k[:, :, M + 1] = torch.eye(M), 1
        k[range(N), [n % M for n in range(N)], M] = 1
        return k.flatten(1)


def hash_words(*words):
    """One 32-bit word out of several, as loopnn hashes them."""
    h = 0x6A09E667
    for word in words:
        h = mix32((h ^ mix32(word)) + 0x9E3779B9)
    return h


def mix32(x):
    """A bijection of 32-bit words, each a number or an element of an int64 tensor."""
    x = x & 0xFFFFFFFF
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = ((x ^ (x >> shift)) * factor) & 0xFFFFFFFF
    return x ^ (x >> 16)


def initial_states(config):
    """The table (n_positions, C) of first states, N(0, 2 initializer_range^2): the same draws as loopnn's."""
    P, C = config.n_positions, config.n_embd
    text = hash_words(*map(ord, "initial_state"))
    a, b = hash_words(0, text, 1), hash_words(0, text, 2)
    uniform = (mix32(mix32(torch.arange(P * C + P * C % 2) + a) ^ b).double() + 0.5) / 2**32
    radius, angle = (-2 * uniform[::2].log()).sqrt(), 2 * torch.pi * uniform[1::2]
    draws = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1).flatten()[: P * C]
    return (2**0.5 * config.initializer_range * draws).view(P, C)


class GrowingLayer(DynamicLayer):
    """A layer of a growing cache with room at its end, so that a new position does not copy the former ones.

    `keys` and `values` (B, KV, S, HS) are the beginning of `room`, until transformers replaces them.
    """

    room = None

    def update(self, key_states, value_states, *args, **kwargs):
        """Keys and values of all positions, with the new ones at their end."""
        new, length = (key_states, value_states), self.get_seq_length()
        if length == 0 or (torch.is_grad_enabled() and key_states.requires_grad):
            return super().update(*new)
        end = length + key_states.shape[-2]
        old = (self.keys, self.values)
        fits = self.room is not None and self.room[0].shape[2] >= end
        # A tensor made in inference mode cannot be written to outside it.
        fits = fits and self.room[0].is_inference() == torch.is_inference_mode_enabled()
        if not fits or any(a.data_ptr() != b.data_ptr() for a, b in zip(self.room, old)):
            B, KV, _, HS = key_states.shape
            self.room = [states.new_empty(B, KV, 2 * end, HS) for states in new]
            for room, states in zip(self.room, old):
                room[:, :, :length] = states
        for room, states in zip(self.room, new):
            room[:, :, length:end] = states
        self.keys, self.values = (room[:, :, :end] for room in self.room)
        return self.keys, self.values


class Past:
    """A cache during one call of the network, for T new positions; each attention takes the next slot.

    A slot is a layer of the cache, for one application of a layer of the model. transformers makes a slot for each
    layer of the model; an empty cache gets the others here.
    """

    def __init__(self, cache, slots, T, device):
        if not isinstance(cache, Cache):
            raise TypeError(f"{CACHE_NAME}: must be a Cache of transformers, got {type(cache).__name__}")
        self.cache = cache
        self.slot = 0
        self.length = int(cache.get_seq_length())
        self.end = self.length + T
        # Releases before 5 need the positions at which a static cache continues.
        self.where = {"cache_position": torch.arange(self.length, self.end, device=device)}
        if self.length == 0:
            kind = type(cache.layers[0]) if cache.layers else cache.layer_class_to_replicate
            if kind is DynamicLayer:
                cache.layers = [GrowingLayer() for _ in range(slots)]
            elif cache.layers:
                cache.layers.extend(deepcopy(cache.layers[0]) for _ in range(slots - len(cache.layers)))
        elif self.length != cache.get_seq_length(slots - 1) or cache.get_seq_length(slots) != 0:
            rule = f"must have been filled with the same num_loops, which takes {slots} layers of it"
            raise ValueError(f"{CACHE_NAME}: {rule}, got {len(cache.layers)}")

    def update(self, k, v):
        """Keys and values of all positions so far, with those of the new ones at their end."""
        k, v = self.cache.update(k, v, self.slot, self.where)
        self.slot += 1
        if k.shape[2] == self.end:
            return k, v
        # A static cache returns all its room, which is empty from `end` on.
        return k[:, :, : self.end], v[:, :, : self.end]


class LoopTransformer(Gates):
    """Embeddings, the prelude, the looped layers, the coda and the final norm."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.rotary = config.positions == "rotary"
        self.wpe = None if self.rotary else nn.Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.declare_gates(config, "n_loop")
        self.injection = Injection(config)
        vectors = nn.Parameter(torch.empty(config.n_loop, config.n_embd)) if config.loop_embedding else None
        self.register_parameter("loop_embedding", vectors)
        self.ln_loop = norm(config) if config.loop_norm else None
        self.streams = None if config.hyper_connections == "none" else Streams(config)
        self.initial_states = None
        self.ln_f = norm(config)
        self.gradient_checkpointing = False

    def loop_count(self, num_loops):
        """The number of loops: `num_loops`, or `config.n_loop` if None. Raises ValueError for an invalid count."""
        where = "num_loops"
        if num_loops is None:
            where, num_loops = "config.n_loop", self.config.n_loop
        loops = require_count(where, num_loops)
        if loops > 1 and self.gates is None:
            raise ValueError(f"{where}: must be 1 for a model without outer gates, got {loops}")
        if loops > self.trained_count:
            beyond = f"beyond the {self.trained_count} trained ones, which reuses the last gate"
            logger.warning_once(f"{where} {loops}: {beyond}")
        return loops

    def applications(self, loops):
        """The number of applications in a call, of all layers together: each has its own keys and values."""
        config = self.config
        once = config.n_prelude + config.n_coda
        return (once + (config.n_layer - once) * loops) * config.n_inner_loop

    def stack(self, x, first, end, mask, turns, past, states):
        # Recomputation must not write to a cache a second time.
        recompute = self.gradient_checkpointing and self.training and past is None
        for block in islice(self.h, first, end):
            if recompute:
                x = checkpoint(block, x, mask, turns, past, use_reentrant=False)
            else:
                x = block(x, mask, turns, past)
            if states is not None:
                states.append(x)
        return x

    def first_state(self, e, position_ids):
        """The state before the first loop: e, or a row of the table, random in training, else by position."""
        if self.config.initial_state != "random":
            return e
        if self.initial_states is None:
            self.initial_states = initial_states(self.config)
        if self.training:
            position_ids = torch.randint(self.config.n_positions, e.shape[:2])
        self.initial_states = self.initial_states.to(e.device)
        return self.initial_states[position_ids.to(e.device)].to(e.dtype).expand_as(e)

    def loop(self, x, e, n, stack):
        """One loop without streams, by the update rule; `e` is prepared for injection."""
        h, origin = self.injection(x, e, n)
        if self.loop_embedding is not None:
            h = h + self.loop_embedding[min(n, self.trained_count - 1)]
        x = self.update(origin, stack(h), n)
        return x if self.ln_loop is None else self.ln_loop(x)

    def forward(self, embeds, position_ids, mask, loops, past=None, states=None):
        """The normalised state (B, T, C). A list `states` receives the hidden states of `output_hidden_states`."""
        config = self.config
        first, end = config.n_prelude, config.n_layer - config.n_coda
        size = config.n_embd // config.n_head
        turns = rotations(position_ids, size, config.rope_theta, embeds.dtype) if self.rotary else None
        x = embeds if self.rotary else embeds + self.wpe(position_ids)
        x = F.dropout(x, config.dropout, self.training)
        if states is not None:
            states.append(x)
        e = x = self.stack(x, 0, first, mask, turns, past, states)
        x, e = self.first_state(e, position_ids), self.injection.prepare(e)
        s = None if self.streams is None else self.streams.copies(x)
        for n in range(loops):
            loop = partial(
                self.loop, e=e, n=n, stack=lambda h: self.stack(h, first, end, mask, turns, past, states)
            )
            if s is None:
                x = loop(x)
            else:
                s = self.streams(s, n, loop)
                x = s.mean(2)
            if states is not None:
                states[-1] = x
        x = self.ln_f(self.stack(x, end, config.n_layer, mask, turns, past, states))
        if states is not None:
            states[-1] = x
        return x


def mask_and_positions(attention_mask, position_ids, embeds, past):
    """Attention's mask, None if it is the causal one, and the positions (B, T) or (1, T), as transformers reads them.

    `attention_mask` (B, S) has zeros for padding, in the cache too; (B, 1, T, S) is the mask itself, booleans or terms
    that are added to the scores. Without mask and cache, a position that is not one more than its predecessor begins
    another text, packed into the same row.
    """
    T, device = embeds.shape[1], embeds.device
    start = 0 if past is None else past.length
    S = start + T
    mask, causal = None, lambda: torch.ones(T, S, dtype=torch.bool, device=device).tril(start)
    if attention_mask is None:
        packed = past is None and position_ids is not None
        if packed and (new := position_ids.diff(dim=-1) != 1).any():
            text = F.pad(new, (1, 0)).cumsum(-1)
            mask = causal() & (text[:, None, :, None] == text[:, None, None, :])
    elif attention_mask.ndim == 4:
        # A mask for a static cache also covers its empty room.
        mask = attention_mask if past is None else attention_mask[..., :S]
        mask = mask if mask.dtype == torch.bool else mask.to(embeds.dtype)
    elif attention_mask.ndim != 2 or attention_mask.shape[1] != S:
        shape = tuple(attention_mask.shape)
        raise ValueError(f"attention_mask: must have shape (B, {S}) or (B, 1, {T}, {S}), got {shape}")
    elif not attention_mask.all():
        seen = attention_mask[:, None, None, :].bool()
        # A row of padding sees itself, or its softmax would be over nothing.
        itself = F.pad(torch.eye(T, dtype=torch.bool, device=device), (start, 0))
        mask = (causal() & seen) | itself
        if position_ids is None:
            position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, start:]
    if mask is None and start > 0 and T > 1:
        mask = causal()
    if position_ids is None:
        position_ids = torch.arange(start, S, device=device)[None]
    return mask, position_ids


def kept(x, positions):
    """The states (B, T, C) at `logits_to_keep`: the last n (0: all), or those that a tensor selects."""
    if isinstance(positions, int):
        return x[:, -positions:]
    if positions.ndim == 1:
        return x[:, positions]
    return x[positions] if positions.dtype == torch.bool else x.take_along_dim(positions[..., None], dim=1)


# `num_loops` of the running `generate`. transformers has no other way to pass it to the model: it withholds an argument
# that generation_config also has, and peft passes only arguments that `forward` names.
ASKED_LOOPS = ContextVar("num_loops", default=None)

# The name of a cache in this release of transformers.
CACHE_NAMES = ("cache", "past_key_values")
CACHE_NAME = next(
    name
    for name in CACHE_NAMES
    if name in inspect.signature(GenerationMixin.prepare_inputs_for_generation).parameters
)


def take_cache(arguments):
    """Removes the cache, under either name, from `arguments` and returns it; None without one."""
    given = [cache for name in CACHE_NAMES if (cache := arguments.pop(name, None)) is not None]
    if len(given) > 1:
        raise ValueError("cache: must be given once, got past_key_values too")
    return given[0] if given else None


class LoopForCausalLM(PreTrainedModel, GenerationMixin):
    """A loop network with its head over the vocabulary; where it is tied, the head is the token embedding itself."""

    config_class = LoopConfig
    base_model_prefix = "transformer"
    supports_gradient_checkpointing = True
    _no_split_modules = ["Block"]
    _supports_sdpa = True
    # Trainer then passes `num_items_in_batch`, and does not scale the loss when it accumulates gradients.
    accepts_loss_kwargs = True

    def __init__(self, config):
        super().__init__(config)
        self.transformer = LoopTransformer(config)
        tied = config.tie_word_embeddings
        self.lm_head = None if tied else nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.post_init()

    def _init_weights(self, module):
        """Initialises weights as loopnn does, for a model trained from scratch."""
        config = self.config
        std = config.initializer_range
        if isinstance(module, (nn.Embedding, nn.Linear)):
            nn.init.normal_(module.weight, std=std)
        elif isinstance(module, (LayerNorm, RMSNorm)):
            nn.init.ones_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, Injection):
            self._init_injection(module)
        elif isinstance(module, Streams):
            if not getattr(module.coefficients, "_is_hf_initialized", False):
                with torch.no_grad():
                    module.coefficients.copy_(module.initial_coefficients())
            if module.norm is not None:
                nn.init.zeros_(module.dynamic.weight)
                nn.init.constant_(module.gamma, 0.01)
        elif isinstance(module, Linear):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (Attention, MLP)):
            nn.init.normal_(module.c_proj.weight, std=std / self._residual_divisor())
        if isinstance(module, Gates) and module.gates is not None:
            value = 1 / len(module.gates) if config.gate_init == "1/n" else config.gate_init
            nn.init.constant_(module.gates, value)
        if isinstance(module, LoopTransformer) and module.loop_embedding is not None:
            nn.init.zeros_(module.loop_embedding)

    def _init_injection(self, module):
        if module.kind == "linear":
            # The output has the variance of the input.
            for part in (module.state, module.input):
                nn.init.normal_(part.weight, std=(2 * self.config.n_embd) ** -0.5)
        elif module.kind == "scalars":
            nn.init.ones_(module.state_scale)
            nn.init.constant_(module.input_scale, float(self.config.initial_state == "random"))
        elif module.kind.startswith("stable"):
            nn.init.zeros_(module.a)
            nn.init.zeros_(module.b)
            nn.init.eye_(module.input.weight)

    def _residual_divisor(self):
        config, applications = self.config, self.transformer.applications(self.config.n_loop)
        if config.residual_init == "loops":
            return config.n_loop * config.n_inner_loop * (2 * config.n_layer) ** 0.5
        return (2 * (config.n_layer if config.residual_init == "layers" else applications)) ** 0.5

    def get_input_embeddings(self):
        return self.transformer.wte

    def set_input_embeddings(self, embeddings):
        self.transformer.wte = embeddings

    def get_output_embeddings(self):
        return self.lm_head

    @classmethod
    def from_pretrained(cls, *args, output_loading_info=False, **kwargs):
        """As in transformers. Raises ValueError for weights with gates that the configuration lacks."""
        model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        unused = sorted(name for name in info["unexpected_keys"] if name.endswith(".gates"))
        if unused:
            raise ValueError(
                f"config: n_loop and n_inner_loop must be as they were trained, got weights with {', '.join(unused)}; "
                "num_loops says how often to loop"
            )
        return (model, info) if output_loading_info else model

    def save_pretrained(self, *args, **kwargs):
        """As in transformers. Raises ValueError if `config.n_loop` was changed: the weights would not fit."""
        count, asked = self.transformer.trained_count, self.config.n_loop
        if asked != count:
            raise ValueError(
                f"config.n_loop: must be {count} where the model is saved, as it was trained, got {asked!r}; "
                "generation_config.num_loops says how often generate loops"
            )
        # A generation config that transformers derived from the model's loses entries such as num_loops when loaded.
        self.generation_config._from_model_config = False
        return super().save_pretrained(*args, **kwargs)

    def generate(self, inputs=None, generation_config=None, *args, **kwargs):
        """As in transformers; `num_loops` may also be an argument, or a field of `generation_config`.

        Assisted decoding works as in transformers; an assistant may be the same network with fewer loops. Raises
        ValueError for ways of decoding that would run parts of the network by themselves.
        """

        def setting(name):
            configs = (generation_config, self.generation_config)
            given = [kwargs.get(name), *(getattr(config, name, None) for config in configs)]
            return next((value for value in given if value is not None), None)

        if setting("assistant_early_exit") is not None:
            rule = "must be None, as a part of the layers is no network here"
            raise ValueError(f"assistant_early_exit: {rule}; an assistant_model may have fewer num_loops")
        if setting("cache_implementation") == "paged":
            raise ValueError("cache_implementation: must not be paged, which needs attention of its own")
        loops = setting("num_loops")
        if setting("guidance_scale") not in (None, 1) and loops not in (None, self.config.n_loop):
            rule = "must be None where num_loops is not config.n_loop: transformers would guide by another network"
            raise ValueError(f"guidance_scale: {rule}; set config.n_loop to {loops}")
        kwargs.pop("num_loops", None)
        if (cache := take_cache(kwargs)) is not None:
            kwargs[CACHE_NAME] = cache
        before = ASKED_LOOPS.set(loops)
        try:
            return super().generate(inputs, generation_config, *args, **kwargs)
        finally:
            ASKED_LOOPS.reset(before)

    @staticmethod
    def create_masks_for_generate(attention_mask=None, **_):
        """`forward` makes its own masks, for static caches too."""
        return attention_mask

    def prepare_inputs_for_generation(self, input_ids, inputs_embeds=None, position_ids=None, **kwargs):
        """As in transformers; in some releases the model must continue the positions."""
        if position_ids is not None and (more := input_ids.shape[1] - position_ids.shape[1]) > 0:
            steps = torch.arange(1, more + 1, device=position_ids.device)
            position_ids = torch.cat([position_ids, position_ids[:, -1:] + steps], dim=1)
        if (cache := take_cache(kwargs)) is not None:
            kwargs[CACHE_NAME] = cache
        elif kwargs.get("attention_mask") is None:
            # All tokens belong to one text, whatever their positions, as with a cache.
            kwargs["attention_mask"] = torch.ones_like(input_ids)
        given = {"inputs_embeds": inputs_embeds, "position_ids": position_ids, **kwargs}
        prepared = super().prepare_inputs_for_generation(input_ids, **given)
        prepared.pop("cache_position", None)
        return {**prepared, "num_loops": ASKED_LOOPS.get()}

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        labels=None,
        num_loops=None,
        inputs_embeds=None,
        token_type_ids=None,
        use_cache=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
        logits_to_keep=0,
        cache=None,
        past_key_values=None,
        **kwargs,
    ):
        """Logits (B, T, V), and the mean loss in nats a token where `labels` (B, T) are given.

        `labels` are the inputs themselves, as in transformers: position t is scored on label t + 1, and -100 is
        ignored; `shift_labels` are scored at their own positions. With `num_items_in_batch` the loss is the sum divided
        by that number of tokens. `num_loops` overrides `config.n_loop`. Hidden states are those at the start, after
        each block in the order of execution (the last block of a loop: after the loop's update), and at the end after
        the norm. There is one segment only, so `token_type_ids` must be zeros. `cache`, or `past_key_values`, has the
        positions before these; `use_cache=True` makes one. Raises ValueError or TypeError for what this model does not
        have.
        """
        shift_labels, num_items = kwargs.pop("shift_labels", None), kwargs.pop("num_items_in_batch", None)
        for name, value in kwargs.items():
            if value is not None:
                raise TypeError(f"LoopForCausalLM.forward() got an unexpected keyword argument '{name}'")
        config = self.config
        if output_attentions or (output_attentions is None and config.output_attentions):
            raise ValueError("output_attentions: must be False, as attention weights are not kept")
        if token_type_ids is not None and token_type_ids.any():
            raise ValueError("token_type_ids: must be zeros, as there is one segment alone")
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("input_ids: must be given, or inputs_embeds, and not both")
        loops = self.transformer.loop_count(num_loops)
        x = self.transformer.wte(input_ids) if inputs_embeds is None else inputs_embeds
        cache = take_cache({"cache": cache, "past_key_values": past_key_values})
        if cache is None and use_cache:
            cache = DynamicCache()
        past = None
        if cache is not None:
            past = Past(cache, self.transformer.applications(loops), x.shape[1], x.device)
        S = x.shape[1] if past is None else past.end
        if S > config.n_positions:
            raise ValueError(f"input_ids: must have at most {config.n_positions} positions, got {S}")
        mask, position_ids = mask_and_positions(attention_mask, position_ids, x, past)
        wanted = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        states = [] if wanted else None
        x = self.transformer(x, position_ids, mask, loops, past, states)
        head = self.transformer.wte if self.lm_head is None else self.lm_head
        logits = F.linear(kept(x, logits_to_keep), head.weight)
        loss = None
        if labels is not None or shift_labels is not None:
            counts = {"num_items_in_batch": num_items, "shift_labels": shift_labels}
            loss = self.loss_function(logits, labels, vocab_size=config.vocab_size, **counts)
        states = None if states is None else tuple(states)
        output = CausalLMOutputWithPast(loss=loss, logits=logits, hidden_states=states, **{CACHE_NAME: cache})
        as_dict = config.return_dict if return_dict is None else return_dict
        return output if as_dict else output.to_tuple()


# By this table of names, Trainer knows that it must shift labels when it smooths them, and pipelines know which models
# they can run.
MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.setdefault(LoopConfig.model_type, LoopForCausalLM.__name__)
