"""What the checks against Python's libraries share: running loopnn, loading models, and counting what is right and what is not."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("LOOPNN_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).resolve().parents[2]
LOOPNN = ["node", str(ROOT / "dist/src/cli/main.js")]
done, failures = [], []
BEFORE_5 = int(transformers.__version__.split(".")[0]) < 5


def loopnn(*args):
    result = subprocess.run([*LOOPNN, *map(str, args), "--json"], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"loopnn {' '.join(map(str, args))}: {result.stderr}")
    return json.loads(result.stdout)


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32).eval()


def unless_before_5(cases, name, reason):
    """The cases, without one that earlier releases of transformers get wrong themselves."""
    if not BEFORE_5:
        return cases
    print(f"--   {name}: left out, as transformers {transformers.__version__} {reason}", flush=True)
    return {key: value for key, value in cases.items() if key != name}


def report(what, good, found):
    print(f"{'ok  ' if good else 'FAIL'} {what}: {found}", flush=True)
    done.append(what)
    if not good:
        failures.append(what)


def check(what, error, limit):
    report(what, error <= limit, f"{error:.2e} (limit {limit:.0e})")


def same(what, found, expected):
    """Ids, or anything else that is equal or is not."""
    equal = torch.equal(found, expected) if torch.is_tensor(expected) else found == expected
    report(what, equal, "equal" if equal else f"{found} instead of {expected}")


def refused(what, error, pattern, call):
    """Calls what must raise `error` with a message that `pattern` finds."""
    try:
        found = call()
    except Exception as raised:
        good = type(raised) is error and re.search(pattern, str(raised))
        report(f"refused: {what}", good, f"{type(raised).__name__}: {str(raised)[:120]}")
    else:
        report(f"refused: {what}", False, f"accepted, {str(found)[:60]}")
