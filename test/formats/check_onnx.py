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
    past = {i.name: i.shape for i in session.get_inputs() if i.name != "input_ids"}
    tokens = (np.arange(10, dtype=np.int64) % 7).reshape(2, 5)

    def run(ids, cache):
        out = dict(zip(outputs, session.run(None, {"input_ids": ids, **cache})))
        return out["logits"], {n: out[n.replace("past_key_values", "present")] for n in cache}

    empty = {n: np.zeros((2, s[1], 0, s[3]), np.float32) for n, s in past.items()}
    whole, _ = run(tokens, empty)
    cache, steps = empty, []
    for t in range(tokens.shape[1]):
        logits, cache = run(tokens[:, t : t + 1], cache)
        steps.append(logits)
    error = np.abs(np.concatenate(steps, 1) - whole).max()
    assert error < 1e-3, error
    print(f"{path}: checked, {len(past) // 2} applications, cached and whole differ by {error:.2g}")


for file in sys.argv[1:]:
    check(file)
