#!/usr/bin/env python3
"""Decodes GPT-2 greedily with PyTorch, onnxruntime or llama.cpp, when `studies/decoding-peers.ts` asks for it.

    python decode.py make FOLDER              a GPT-2 of 124M parameters with random weights, in Hugging Face's layout
    python decode.py gguf FOLDER FILE TYPE    the same for llama.cpp, TYPE being F32, BF16 or Q8_0
    python decode.py serve KIND PATH TYPE     KIND is torch, onnx or llama; TYPE is the precision where it is torch

`serve` reads one JSON line per request from stdin, {"prompt": [ids], "tokens": n}, and answers each with one on stdout:
{"ids": [n ids], "ms": [n − 1 times of a token after the first], "prefillMs": x}. It is idle between requests.
"""

import json
import sys
import time

THREADS = 2


def make(folder):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    GPT2LMHeadModel(GPT2Config()).save_pretrained(folder)


def gguf(folder, file, kind):
    import gguf
    import numpy as np
    from safetensors.numpy import load_file

    config = json.load(open(f"{folder}/config.json"))
    tensors = load_file(f"{folder}/model.safetensors")
    writer = gguf.GGUFWriter(file, "gpt2")
    writer.add_block_count(config["n_layer"])
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    # Ids are all that is decoded: any vocabulary will do that has a new line in it.
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([b"\xc4\x8a"] + [f"t{i}".encode() for i in range(1, config["vocab_size"])])
    writer.add_token_types([1] * config["vocab_size"])
    writer.add_token_merges(["t 1"])
    names = {
        "wte.weight": "token_embd.weight", "wpe.weight": "position_embd.weight",
        "ln_f.weight": "output_norm.weight", "ln_f.bias": "output_norm.bias",
    }
    parts = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm",
             "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
    for layer in range(config["n_layer"]):
        for ours, theirs in parts.items():
            for end in ("weight", "bias"):
                names[f"h.{layer}.{ours}.{end}"] = f"blk.{layer}.{theirs}.{end}"
    quantised = getattr(gguf.GGMLQuantizationType, kind)
    for name, value in tensors.items():
        short = name.removeprefix("transformer.")
        if short not in names:
            continue
        if ".c_" in short and short.endswith("weight"):
            value = np.ascontiguousarray(value.T)  # Conv1D's (in, out)
        matrix = value.ndim == 2 and short != "wpe.weight"
        kept = quantised if matrix else gguf.GGMLQuantizationType.F32
        writer.add_tensor(names[short], gguf.quants.quantize(value, kept), raw_dtype=kept)
        if short == "wte.weight":
            writer.add_tensor("output.weight", gguf.quants.quantize(value, kept), raw_dtype=kept)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Torch:
    def __init__(self, folder, kind):
        import torch
        from transformers import GPT2LMHeadModel

        torch.set_num_threads(THREADS)
        self.torch = torch
        self.model = GPT2LMHeadModel.from_pretrained(folder).to(getattr(torch, kind)).eval()

    def begin(self):
        self.cache = None

    def next(self, ids):
        with self.torch.inference_mode():
            out = self.model(self.torch.tensor([ids]), past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        self.cache = out.past_key_values
        return int(out.logits[0, -1].argmax())


class Onnx:
    """The graph that `loopnn export --format onnx` writes."""

    def __init__(self, file, _):
        import numpy as np
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.np = np
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.caches = [i for i in self.session.get_inputs() if i.name.startswith("past")]

    def begin(self):
        self.past = {i.name: self.np.zeros((1, i.shape[1], 0, i.shape[3]), self.np.float32) for i in self.caches}
        self.length = 0

    def next(self, ids):
        self.length += len(ids)
        inputs = {"input_ids": self.np.array([ids]), "attention_mask": self.np.ones((1, self.length), self.np.int64)}
        logits, *present = self.session.run(None, {**inputs, **self.past})
        self.past = dict(zip(self.past, present))
        return int(logits[0, -1].argmax())


class Llama:
    def __init__(self, file, _):
        import llama_cpp
        import numpy as np

        self.np, self.llama = np, llama_cpp
        self.model = llama_cpp.Llama(file, n_ctx=1024, n_batch=1024, n_threads=THREADS, n_threads_batch=THREADS,
                                     verbose=False)

    def begin(self):
        self.model.reset()

    def next(self, ids):
        self.model.eval(ids)
        last = self.llama.llama_get_logits_ith(self.model.ctx, -1)
        return int(self.np.ctypeslib.as_array(last, shape=(self.model.n_vocab(),)).argmax())


def serve(kind, path, precision):
    runner = {"torch": Torch, "onnx": Onnx, "llama": Llama}[kind](path, precision)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        ids, ms = list(request["prompt"]), []
        runner.begin()
        made = []
        for _ in range(request["tokens"]):
            start = time.perf_counter()
            token = runner.next(ids)
            ms.append(1000 * (time.perf_counter() - start))
            made.append(token)
            ids = [token]
        print(json.dumps({"ids": made, "prefillMs": ms[0], "ms": ms[1:]}), flush=True)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"make": make, "gguf": gguf, "serve": serve}[command](*arguments)
