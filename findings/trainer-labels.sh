#!/usr/bin/env bash
# transformers 5.24.0 (Python) with torch 2.15.0 and accelerate 1.15.0: which labels Trainer means, by a model's class name.
#
# A causal language model is given labels equal to its input, and its own loss compares position t with label t + 1. Trainer
# looks at those labels in two places of its own, and decides by names whether they are to be shifted there:
#
# 1. `label_smoothing_factor`: the loss is Trainer's instead of the model's. Labels are shifted for the class names in
#    transformers' own table of causal models alone. For any other class, with the name and the loss of a causal model, it
#    trains position t on label t: the model learns to copy its input. The loss falls nicely; nothing is said.
#    (Add the class to transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.)
# 2. `num_items_in_batch`, by which a model divides its summed loss: counted without each row's first label, which nothing
#    predicts, where "ForCausalLM" is in the class's name. GPT2LMHeadModel has another name. So with T labels a row, GPT-2's
#    loss and gradients in Trainer are (T - 1) / T of what model(input_ids, labels=...) gives, Llama's and a class of one's
#    own are not.
#
# Seen:
#     BigramForCausalLM, smoothing: trained on the next token False, on the token itself True
#     BigramForCausalLM in the table, smoothing: trained on the next token True, on the token itself False
#     BigramForCausalLM: logged loss / own loss 1.0000
#     LlamaForCausalLM: logged loss / own loss 1.0000
#     GPT2LMHeadModel: logged loss / own loss 0.8750 (7/8, of 8 labels a row)
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.15.0 transformers==5.24.0 accelerate==1.15.0

cat > "$work/labels.py" <<'PY'
import sys

import torch
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
    default_data_collator,
)
from transformers.modeling_outputs import CausalLMOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

torch.set_num_threads(1)
V, T = 11, 8


class BigramConfig(PretrainedConfig):
    model_type = "bigram"


class BigramForCausalLM(PreTrainedModel):
    """A row of logits for each token: what comes after it."""

    config_class = BigramConfig

    def __init__(self, config):
        super().__init__(config)
        self.table = nn.Embedding(V, V)
        self.post_init()

    def _init_weights(self, module):
        nn.init.zeros_(self.table.weight)

    def forward(self, input_ids, labels=None, **kwargs):
        logits = self.table(input_ids)
        loss = None if labels is None else self.loss_function(logits, labels, vocab_size=V, **kwargs)
        return CausalLMOutput(loss=loss, logits=logits)


# Each token is followed by the next number, round and round.
rows = [(torch.arange(T) + i) % V for i in range(V)]
examples = [{"input_ids": row, "labels": row.clone()} for row in rows]


class Logged(Trainer):
    def log(self, logs, *_):
        if "loss" in logs:
            self.last = logs["loss"]


def train(model, steps, **more):
    arguments = TrainingArguments(
        output_dir=sys.argv[1], per_device_train_batch_size=V, max_steps=steps, learning_rate=0.5, optim="sgd",
        lr_scheduler_type="constant", max_grad_norm=0, logging_steps=1, report_to=[], save_strategy="no", use_cpu=True,
        disable_tqdm=True, seed=1, **more,
    )
    trainer = Logged(model=model, args=arguments, train_dataset=examples, data_collator=default_data_collator)
    trainer.train()
    return trainer.last


def smoothed(name):
    model = BigramForCausalLM(BigramConfig())
    train(model, 200, label_smoothing_factor=0.1)
    learnt, tokens = model.table.weight.argmax(-1), torch.arange(V)
    following, itself = torch.equal(learnt, (tokens + 1) % V), torch.equal(learnt, tokens)
    print(f"{name}, smoothing: trained on the next token {following}, on the token itself {itself}")


smoothed("BigramForCausalLM")
MODEL_FOR_CAUSAL_LM_MAPPING_NAMES["bigram"] = "BigramForCausalLM"
smoothed("BigramForCausalLM in the table")

small = {"vocab_size": V, "num_hidden_layers": 1, "num_attention_heads": 1, "hidden_size": 8}
llama = LlamaConfig(**small, intermediate_size=8, max_position_embeddings=T, pad_token_id=0)
gpt2 = GPT2Config(**small, n_positions=T, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=0, eos_token_id=0)
batch = torch.stack(rows)
for model in (BigramForCausalLM(BigramConfig()), LlamaForCausalLM(llama), GPT2LMHeadModel(gpt2)):
    with torch.no_grad():
        own = model(input_ids=batch, labels=batch).loss.item()
    print(f"{type(model).__name__}: logged loss / own loss {train(model, 1) / own:.4f}")
PY

expected="BigramForCausalLM, smoothing: trained on the next token False, on the token itself True
BigramForCausalLM in the table, smoothing: trained on the next token True, on the token itself False
BigramForCausalLM: logged loss / own loss 1.0000
LlamaForCausalLM: logged loss / own loss 1.0000
GPT2LMHeadModel: logged loss / own loss 0.8750"
found=$("$work/venv/bin/python" "$work/labels.py" "$work/out" 2> "$work/stderr") || { cat "$work/stderr"; exit 1; }
echo "$found"
[ "$found" = "$expected" ] || { echo "not what it was:" >&2; echo "$expected" >&2; exit 1; }
