#!/usr/bin/env bash
# lm_eval 0.4.13 (transformers 5.24.0, torch 2.15.0): how much of a long prompt `local-completions` keeps, against `hf`.
#
# Both model types take `max_length`, cut a prompt that is longer from the left, and are meant to give the same figures for the
# same model. But at the same `max_length` the server sees two tokens less of it: the harness reserves one position for the
# token that a completion must generate, and then counts the answer's last token against the rest too, which `hf` does not
# feed to the model. So accuracies of tasks with prompts longer than the model differ between the two, and agree again
# with max_length + 2 on the server's side.
#
# Output:
#   hf, max_length=33: 33 tokens before an answer of one token
#   local-completions, max_length=33: 31 tokens before an answer of one token
#   local-completions, max_length=35: 33 tokens before an answer of one token
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check 'lm_eval[hf,api]==0.4.13' transformers==5.24.0 torch==2.15.0

cat >probe.py <<'PY'
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.openai_completions import LocalCompletionsAPI
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

words = Tokenizer(models.WordLevel({"<eos>": 0, "word": 1, "answer": 2}, unk_token="<eos>"))
words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", pad_token="<eos>").save_pretrained("model")
GPT2LMHeadModel(GPT2Config(vocab_size=3, n_positions=64, n_embd=8, n_layer=1, n_head=1)).save_pretrained("model")
question = [Instance("loglikelihood", {}, ("word " * 59 + "word", " answer"), 0)]
prompts, inputs = [], []


class Server(BaseHTTPRequestHandler):
    """Gives every token of the prompt the same log-probability."""

    def do_POST(self):
        prompt = json.loads(self.rfile.read(int(self.headers["content-length"])))["prompt"][0]
        prompts.append(prompt)
        count = len(prompt)
        logprobs = {
            "tokens": ["a"] * (count + 1),
            "token_logprobs": [None] + [-1.0] * count,
            "top_logprobs": [None] + [{"a": -1.0}] * count,
            "text_offset": list(range(count + 1)),
        }
        body = json.dumps({"choices": [{"index": 0, "text": "", "logprobs": logprobs}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def tell(name, length, tokens):
    print(f"{name}, max_length={length}: {tokens} tokens before an answer of one token")


hf = HFLM(pretrained="model", device="cpu", max_length=33)
hf.model.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
hf.loglikelihood(question, disable_tqdm=True)
tell("hf", 33, inputs[-1].shape[1])

server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/v1/completions"
for length in (33, 35):
    api = LocalCompletionsAPI(model="model", base_url=address, tokenizer="model", max_length=length)
    api.loglikelihood(question, disable_tqdm=True)
    tell("local-completions", length, len(prompts[-1]) - 1)
server.shutdown()
PY
HF_HUB_OFFLINE=1 venv/bin/python probe.py 2>errors.txt | tee found.txt || { tail errors.txt; exit 1; }
diff found.txt - <<'EXPECTED'
hf, max_length=33: 33 tokens before an answer of one token
local-completions, max_length=33: 31 tokens before an answer of one token
local-completions, max_length=35: 33 tokens before an answer of one token
EXPECTED
