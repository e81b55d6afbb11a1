"""A loop network for `transformers`: GPT-2's blocks, run several times with learned gates.

"Loop Neural Networks for Parameter Sharing" (arXiv 2409.14199, Eq. 1):

    x^n = x^(n-1) + gate^n * f(x^(n-1)),   n = 1..N

f is the stack of blocks (outer loops, `n_loop`), and each block of it may be looped in the same way (inner loops,
`n_inner_loop`). The loop form says what the gate weighs: `output` the output f(x), `correction` the change f(x) - x. The first
`n_prelude` and the last `n_coda` layers run once, outside the outer loops; every loop may meet the looped stack's first input
e again (`input_injection`: `add` feeds f with x + e, `linear` with x A + e B).

This file needs torch and transformers alone and travels with the checkpoint:

    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    model(input_ids, labels=input_ids).loss.backward()
    model.save_pretrained(new_folder)           # `loopnn import new_folder --out run` brings it back

Parameter names and layouts are those of loopnn and of GPT-2 in transformers: linear weights are (in, out). An optimizer should
decay neither gates (`*.gates`) nor biases and layer norms. There is no key/value cache: `generate` computes the whole
sequence for each token.

Dimensions: B batch, T time, C channels, V vocabulary, N loops.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


class LoopConfig(PretrainedConfig):
    """The settings of a loop network; those that GPT-2 has too bear GPT-2's names."""

    model_type = "loopnn"
    attribute_map = {
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

    def __init__(
        self,
        vocab_size=50257,
        n_positions=1024,
        n_embd=768,
        n_layer=12,
        n_head=12,
        n_loop=1,
        n_inner_loop=1,
        loop_form="correction",
        gate="vector",
        gate_init=1,
        residual_init="layers",
        n_prelude=0,
        n_coda=0,
        input_injection="none",
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
        self.n_loop = n_loop
        self.n_inner_loop = n_inner_loop
        self.loop_form = loop_form
        self.gate = gate
        self.gate_init = gate_init
        self.residual_init = residual_init
        self.n_prelude = n_prelude
        self.n_coda = n_coda
        self.input_injection = input_injection
        self.bias = bias
        self.dropout = dropout
        self.initializer_range = initializer_range
        kwargs["use_cache"] = False
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)


class Conv1D(nn.Module):
    """x W + b with W (in, out), as GPT-2's checkpoints have it."""

    def __init__(self, n_in, n_out, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out))
        self.bias = nn.Parameter(torch.empty(n_out)) if bias else None

    def forward(self, x):
        y = x @ self.weight
        return y if self.bias is None else y + self.bias


class LayerNorm(nn.Module):
    """Layer normalisation with a gain and, if wanted, a bias."""

    def __init__(self, width, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.bias = nn.Parameter(torch.empty(width)) if bias else None

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, config):
        super().__init__()
        C = config.n_embd
        self.n_head = config.n_head
        self.dropout = config.dropout
        self.c_attn = Conv1D(C, 3 * C, config.bias)
        self.c_proj = Conv1D(C, C, config.bias)

    def forward(self, x, mask):
        B, T, C = x.shape
        q, k, v = (
            part.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
            for part in self.c_attn(x).split(C, dim=2)
        )
        p = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p, is_causal=mask is None)
        return F.dropout(self.c_proj(y.transpose(1, 2).reshape(B, T, C)), self.dropout, self.training)


class MLP(nn.Module):
    """Linear to 4 C, GELU in its tanh form, linear back."""

    def __init__(self, config):
        super().__init__()
        self.dropout = config.dropout
        self.c_fc = Conv1D(config.n_embd, 4 * config.n_embd, config.bias)
        self.c_proj = Conv1D(4 * config.n_embd, config.n_embd, config.bias)

    def forward(self, x):
        return F.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")), self.dropout, self.training)


class Gates(nn.Module):
    """Base of modules that may have gates: `gates` (count, C) or (count, 1), and none for a count of 1."""

    def declare_gates(self, config, count):
        width = config.n_embd if config.gate == "vector" else 1
        self.loop_form = config.loop_form
        self.register_parameter("gates", nn.Parameter(torch.empty(count, width)) if count > 1 else None)

    def update(self, x, f, n):
        """The update rule; loops beyond the trained count reuse the last gate."""
        if self.gates is None:
            return f
        gate = self.gates[min(n, len(self.gates) - 1)]
        return x + gate * (f if self.loop_form == "output" else f - x)


class Block(Gates):
    """A transformer block, x + Attention(LN(x)) and then x + MLP(LN(x)), looped `n_inner_loop` times."""

    def __init__(self, config):
        super().__init__()
        self.n_inner_loop = config.n_inner_loop
        self.ln_1 = LayerNorm(config.n_embd, config.bias)
        self.attn = Attention(config)
        self.ln_2 = LayerNorm(config.n_embd, config.bias)
        self.mlp = MLP(config)
        self.declare_gates(config, config.n_inner_loop)

    def forward(self, x, mask):
        for n in range(self.n_inner_loop):
            h = x + self.attn(self.ln_1(x), mask)
            x = self.update(x, h + self.mlp(self.ln_2(h)), n)
        return x


class Injection(nn.Module):
    """x A + e B."""

    def __init__(self, config):
        super().__init__()
        self.state = Conv1D(config.n_embd, config.n_embd, config.bias)
        self.input = Conv1D(config.n_embd, config.n_embd, False)

    def forward(self, x, e):
        return self.state(x) + self.input(e)


class LoopTransformer(Gates):
    """Embeddings, the prelude, the looped layers, the coda and the final layer norm."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.declare_gates(config, config.n_loop)
        self.injection = Injection(config) if config.input_injection == "linear" else None
        self.ln_f = LayerNorm(config.n_embd, config.bias)
        self.gradient_checkpointing = False

    def stack(self, x, first, end, mask):
        for block in self.h[first:end]:
            if self.gradient_checkpointing and self.training:
                x = checkpoint(block, x, mask, use_reentrant=False)
            else:
                x = block(x, mask)
        return x

    def inject(self, x, e):
        if self.injection is not None:
            return self.injection(x, e)
        return x + e if self.config.input_injection == "add" else x

    def forward(self, input_ids, position_ids, mask, loops):
        config = self.config
        if loops > 1 and self.gates is None:
            raise ValueError(f"num_loops: must be 1 for a model without outer gates, got {loops}")
        first, end = config.n_prelude, config.n_layer - config.n_coda
        x = self.wte(input_ids) + self.wpe(position_ids)
        x = F.dropout(x, config.dropout, self.training)
        e = x = self.stack(x, 0, first, mask)
        for n in range(loops):
            x = self.update(x, self.stack(self.inject(x, e), first, end, mask), n)
        return self.ln_f(self.stack(x, end, config.n_layer, mask))


class LoopForCausalLM(PreTrainedModel, GenerationMixin):
    """A loop network with its head over the vocabulary; where it is tied, the head is the token embedding itself."""

    config_class = LoopConfig
    base_model_prefix = "transformer"
    supports_gradient_checkpointing = True
    _no_split_modules = ["Block"]
    _supports_sdpa = True

    def __init__(self, config):
        super().__init__(config)
        self.transformer = LoopTransformer(config)
        tied = config.tie_word_embeddings
        self.lm_head = None if tied else nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.post_init()

    def _init_weights(self, module):
        """Loopnn's initial weights, for a model trained from the start."""
        config = self.config
        std = config.initializer_range
        if isinstance(module, (nn.Embedding, nn.Linear)):
            nn.init.normal_(module.weight, std=std)
        elif isinstance(module, LayerNorm):
            nn.init.ones_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, Injection):
            # What comes out has the variance of what goes in.
            for part in (module.state, module.input):
                nn.init.normal_(part.weight, std=(2 * config.n_embd) ** -0.5)
        elif isinstance(module, Conv1D):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (Attention, MLP)):
            nn.init.normal_(module.c_proj.weight, std=std / self._residual_divisor())
        if isinstance(module, Gates) and module.gates is not None:
            value = 1 / len(module.gates) if config.gate_init == "1/n" else config.gate_init
            nn.init.constant_(module.gates, value)

    def _residual_divisor(self):
        config = self.config
        once = config.n_prelude + config.n_coda
        applications = (once + (config.n_layer - once) * config.n_loop) * config.n_inner_loop
        if config.residual_init == "loops":
            return config.n_loop * config.n_inner_loop * (2 * config.n_layer) ** 0.5
        return (2 * (config.n_layer if config.residual_init == "layers" else applications)) ** 0.5

    def get_input_embeddings(self):
        return self.transformer.wte

    def set_input_embeddings(self, embeddings):
        self.transformer.wte = embeddings

    def get_output_embeddings(self):
        return self.lm_head

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **kwargs):
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def forward(
        self, input_ids, attention_mask=None, position_ids=None, labels=None, num_loops=None, **kwargs
    ):
        """Logits (B, T, V), and the mean loss in nats a token where `labels` (B, T) are given.

        `labels` are the inputs themselves, as everywhere in transformers: position t is scored on label t + 1, and -100 is
        ignored. `num_loops` overrides the trained count of outer loops.
        """
        T = input_ids.shape[1]
        if T > self.config.n_positions:
            raise ValueError(f"input_ids: must have at most {self.config.n_positions} positions, got {T}")
        mask = None
        if attention_mask is not None and not attention_mask.all():
            seen = attention_mask[:, None, None, :].bool()
            causal = torch.ones(T, T, dtype=torch.bool, device=input_ids.device).tril()
            # A row of padding sees itself, or its softmax would be over nothing.
            mask = (causal & seen) | torch.eye(T, dtype=torch.bool, device=input_ids.device)
            if position_ids is None:
                position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)
        if position_ids is None:
            position_ids = torch.arange(T, device=input_ids.device)[None]
        x = self.transformer(input_ids, position_ids, mask, num_loops or self.config.n_loop)
        head = self.transformer.wte if self.lm_head is None else self.lm_head
        logits = F.linear(x, head.weight)
        loss = None
        if labels is not None:
            flat = logits[:, :-1].reshape(-1, logits.shape[-1]).float()
            loss = F.cross_entropy(flat, labels[:, 1:].reshape(-1))
        return CausalLMOutput(loss=loss, logits=logits)
