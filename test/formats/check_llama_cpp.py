#!/usr/bin/env python3
"""Checks that llama.cpp's converter takes an exported GPT-2: every weight, and what it says of the model; run by hand.

    python test/formats/check_llama_cpp.py RUN

RUN is a run of depth gpt2 with the tokenizer gpt2. The converter is the one in llama-cpp-python's sources on PyPI, which pip
downloads; needs torch, transformers, safetensors, pyyaml and sentencepiece. Passes with llama-cpp-python 0.3.36.
"""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import torch
from checks import failures, loopnn, report, same
from safetensors.torch import load_file

SOURCES = "llama-cpp-python==0.3.36"
NAMES = {
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "ln_f": "output_norm",
    "wpe": "position_embd",
    "wte": "token_embd",
}


def converter(folder):
    """Its folder in the sources, which pip need not build for that."""
    pip = [sys.executable, "-m", "pip", "-q"]
    subprocess.run([*pip, "install", "scikit-build-core"], check=True)
    options = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", "-d", str(folder)]
    subprocess.run([*pip, "download", *options, SOURCES], check=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as sources:
        wanted = [m for m in sources if "/vendor/llama.cpp/" in m.name and m.name.endswith((".py", ".json"))]
        sources.extractall(folder, wanted, filter="data")
    return next(folder.glob("*/vendor/llama.cpp"))


def main(run):
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        home = converter(work)
        sys.path.insert(0, str(home / "gguf-py"))
        from gguf import GGUFReader

        exported = work / "exported"
        loopnn("export", "--model", run, "--out", exported)
        file = work / "model.gguf"
        script = [sys.executable, str(home / "convert_hf_to_gguf.py"), str(exported)]
        subprocess.run([*script, "--outfile", str(file), "--outtype", "f32"], check=True, capture_output=True)

        reader = GGUFReader(file)
        found = {tensor.name: torch.tensor(tensor.data.copy()) for tensor in reader.tensors}
        for name, weight in load_file(exported / "model.safetensors").items():
            layer, _, kind = name.removeprefix("transformer.").rpartition(".")
            place = layer.split(".", 2)
            block, own = (f"blk.{place[1]}.", place[2]) if place[0] == "h" else ("", layer)
            transposed = kind == "weight" and weight.dim() == 2 and block
            expected = weight.T if transposed else weight
            same(name, found.pop(f"{block}{NAMES[own]}.{kind}"), expected)
        same("other tensors", list(found), [])
        architecture = bytes(reader.fields["general.architecture"].parts[-1]).decode()
        report("architecture", architecture == "gpt2", architecture)
    sys.exit(len(failures) > 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
