"""Checks exported ONNX files: python check_onnx.py MODEL.onnx ...

Runs onnx's checker with shape inference, and onnxruntime: prefill must give the logits of token-by-token decoding.
Not in CI. Needs onnx, onnxruntime and numpy.
"""
import sys

import numpy as np
import onnx
import onnxruntime


def check(path):
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = [o.name for o in session.get_outputs()]
    past = {i.name: i.shape for i in session.get_inputs() if i.name not in ("input_ids", "attention_mask", "loops")}
    asks = any(i.name == "loops" for i in session.get_inputs())
    tokens = (np.arange(10, dtype=np.int64) % 7).reshape(2, 5)

    def run(ids, cache):
        total = ids.shape[1] + next(iter(cache.values())).shape[-2]
        feeds = {"input_ids": ids, "attention_mask": np.ones((2, total), np.int64), **cache}
        if asks:
            feeds["loops"] = np.array(loops)
        out = dict(zip(outputs, session.run(None, feeds)))
        return out["logits"], {n: out[n.replace("past_key_values", "present")] for n in cache}

    for loops in [1, 3, 7] if asks else [None]:
        sizes = {"batch": 2, "past": 0, "loops": loops}
        empty = {n: np.zeros([sizes.get(d, d) for d in s], np.float32) for n, s in past.items()}
        whole, _ = run(tokens, empty)
        cache, steps = empty, []
        for t in range(tokens.shape[1]):
            logits, cache = run(tokens[:, t : t + 1], cache)
            steps.append(logits)
        error = np.abs(np.concatenate(steps, 1) - whole).max()
        assert error < 1e-3, error
        what = f"{len(past) // 2} caches" + (f", {loops} loops" if asks else "")
        print(f"{path}: checked, {what}, cached and whole differ by {error:.2g}")


for file in sys.argv[1:]:
    check(file)
