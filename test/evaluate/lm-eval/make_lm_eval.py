"""Golden values of lm-evaluation-harness 0.4.13 for `loopnn eval --tasks` and for the server's `echo`.

    python -m venv venv && venv/bin/pip install torch transformers==5.24.0 'lm_eval[api]==0.4.13'
    venv/bin/python test/evaluate/lm-eval/make_lm_eval.py            # writes samples_*.jsonl and golden.json beside itself
    venv/bin/python test/evaluate/lm-eval/make_lm_eval.py --check    # compares `loopnn serve` and `loopnn eval` with them

The model is the run of test/fixtures/35e8274, exported by this checkout; the questions are made up here. `--model hf` scores the
export at 1, 2 and 3 loops; the samples are the harness's own logs (`--log_samples`), as it writes them. `--check` then has the
harness score the same tasks over `local-completions` against `loopnn serve --loops N`, without a tokenizer of its own, and
`loopnn eval --tasks` score the logs; both must find what `--model hf` does.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
RUN = ROOT / "test/fixtures/35e8274/run"
CLI = ["node", str(ROOT / "dist/src/cli/main.js")]
LOOPS = [1, 2, 3]
TASKS = ["toy_choice", "toy_last_word", "toy_text"]

COLOURS = ["red", "green", "blue", "grey", "yellow and grey"]
THINGS = ["the bird", "a stone", "the old house", "her coat"]
# The last two are longer than the model's 32 positions.
QUESTIONS = [
    {
        "question": f"Line {i} of document {i % 7}: {' '.join(['the same words'] * (1 if i < 14 else 9))}, {THINGS[i % 4]} is",
        "choices": [COLOURS[(i + k) % 5] for k in range(2 + i % 3)],
        "answer": i % 2,
    }
    for i in range(16)
]
LAST_WORDS = [{"text": f"Line {i} of document {i}: the same words come again and {'again ' * (i % 3)}again"} for i in range(10)]
TEXTS = [{"text": "\n".join(f"Line {i} of document {n}:\tthe same  words." for i in range(1 + 3 * n))} for n in range(4)]

YAML = {
    "toy_choice": """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
""",
    "toy_last_word": """
output_type: loglikelihood
doc_to_text: "{{text.split(' ')[:-1]|join(' ')}}"
doc_to_target: "{{' '+text.split(' ')[-1]}}"
metric_list:
  - {metric: perplexity, aggregation: perplexity, higher_is_better: false}
  - {metric: acc, aggregation: mean, higher_is_better: true}
""",
    "toy_text": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list:
  - {metric: word_perplexity}
  - {metric: byte_perplexity}
  - {metric: bits_per_byte}
""",
}


def write_tasks(folder):
    for name, records in zip(TASKS, [QUESTIONS, LAST_WORDS, TEXTS]):
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(record) + "\n" for record in records))
        head = f"task: {name}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {data}}}}}\ntest_split: test\n"
        (folder / f"{name}.yaml").write_text(head + YAML[name].lstrip())


def run_harness(model, arguments, folder, **more):
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    return lm_eval.simple_evaluate(
        model=model, model_args=arguments, tasks=TASKS, task_manager=manager, log_samples=True, bootstrap_iters=0, device="cpu", **more
    )


def metrics(results):
    """What can be said of each task, without the names of filters, and the stderr of means."""
    found = {}
    for name in TASKS:
        values = {key.split(",")[0]: value for key, value in results["results"][name].items() if isinstance(value, float)}
        found[name] = {key: value for key, value in sorted(values.items()) if "stderr" not in key}
    return found


def stderr(values):
    mean = sum(values) / len(values)
    return (sum((x - mean) ** 2 for x in values) / (len(values) - 1)) ** 0.5 / len(values) ** 0.5


def export(folder):
    out = folder / "hf"
    subprocess.run([*CLI, "export", "--model", str(RUN), "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    return out


def hf_model(exported, loops, **more):
    """As `--model hf --model_args pretrained=…,trust_remote_code=True,dtype=float32` loads it, with another number of loops."""
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(exported, trust_remote_code=True, dtype="float32")
    model.config.n_loop = loops
    tokenizer = AutoTokenizer.from_pretrained(exported, trust_remote_code=True)
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, device="cpu", **more)


def make(folder):
    exported = export(folder)
    golden = {"lm_eval": "0.4.13", "results": {}}
    for loops in LOOPS:
        results = run_harness(hf_model(exported, loops), None, folder)
        found = metrics(results)
        for name in TASKS:
            samples = sorted(results["samples"][name], key=lambda sample: sample["doc_id"])
            for metric in ["acc", "acc_norm"]:
                if metric in found[name]:
                    found[name][f"{metric}_stderr"] = stderr([sample[metric] for sample in samples])
            found[name]["scores"] = [sample["filtered_resps"] for sample in samples]
            if loops == LOOPS[0]:
                write_log(HERE / f"samples_{name}.jsonl", samples)
        golden["results"][str(loops)] = found
    text = json.dumps(golden, indent=1)
    (HERE / "golden.json").write_text(re.sub(r"\[\s+([^\[\]]+?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text) + "\n")


def write_log(path, samples):
    """As lm_eval's EvaluationTracker writes them."""
    from lm_eval.utils import handle_non_serializable, sanitize_list

    lines = []
    for sample in samples:
        arguments = {}
        for i, given in enumerate(sample["arguments"]):
            arguments[f"gen_args_{i}"] = {f"arg_{j}": text for j, text in enumerate(given)}
        sample = {**sample, "arguments": arguments, "target": str(sample["target"])}
        sample["resps"] = sanitize_list(sample["resps"])
        sample["filtered_resps"] = sanitize_list(sample["filtered_resps"])
        lines.append(json.dumps(sample, default=handle_non_serializable, ensure_ascii=False) + "\n")
    path.write_text("".join(lines))


def served(loops):
    server = subprocess.Popen(
        [*CLI, "serve", "--model", str(RUN), "--port", "0", "--model-name", "toy", "--loops", str(loops)],
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in server.stderr:
        if match := re.search(r"listening on (\S+)", line):
            url = match[1]
        if "is loaded" in line:
            break
    return server, url


def check(folder):
    golden = json.loads((HERE / "golden.json").read_text())["results"]
    exported = export(folder)
    wrong = 0

    def compare(who, loops, found, expected):
        nonlocal wrong
        for name in TASKS:
            for metric, value in expected[name].items():
                if metric not in found[name]:
                    continue
                same = abs(found[name][metric] - value) <= 1e-5 * abs(value)
                wrong += not same
                print(f"{who} loops {loops} {name:14} {metric:16} hf {value:.6f} {found[name][metric]:.6f}{'' if same else '  DIFFERS'}")

    for loops in LOOPS:
        # The harness asks for a token more than it scores, so `local-completions` keeps two tokens less of a long prompt.
        server, url = served(loops)
        try:
            arguments = {"model": "toy", "base_url": f"{url}/v1/completions", "max_length": 33, "num_concurrent": 1, "batch_size": 8}
            over_http = metrics(run_harness("local-completions", arguments, folder))
        finally:
            server.terminate()
        compare("server", loops, over_http, metrics(run_harness(hf_model(exported, loops, max_length=31), None, folder)))
        logs = [str(HERE / f"samples_{name}.jsonl") for name in TASKS]
        command = [*CLI, "eval", "--model", str(RUN), "--loops", str(loops), "--json", "--precision", "f32", "--tasks", *logs]
        tasks = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["tasks"]
        expected = {name: {k: v for k, v in golden[str(loops)][name].items() if k != "scores"} for name in TASKS}
        compare("eval  ", loops, {name: task["results"][0] for name, task in zip(TASKS, tasks)}, expected)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tasks(folder)
        (check if "--check" in sys.argv else make)(folder)
