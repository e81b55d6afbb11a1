"""A TensorBoard that is open while a run is killed and resumed goes on, and has no step twice; not part of the tests.

    pip install tensorboard
    python test/formats/check_tensorboard_resume.py DATA     # a folder of `loopnn prepare`; after `npm run build`
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tensorboard.backend.event_processing import event_accumulator

CLI = ["node", str(Path(__file__).resolve().parents[2] / "dist/src/cli/main.js"), "train", "--data", sys.argv[1]]
SMALL = "--n-layer 1 --n-embd 16 --n-head 1 --block-size 16 --batch-size 2 --checkpoint-interval 100 --eval-interval 100 --warmup-steps 5"
TAG = "loss/train"
STEPS = 1500

with tempfile.TemporaryDirectory() as folder:
    run = f"{folder}/run"
    command = [*CLI, "--out", run, "--max-steps", str(STEPS), "--tensorboard", *SMALL.split()]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    events = None
    seen = 0
    while seen < 150:
        time.sleep(0.05)
        if events is None and list(Path(run).glob("events.out.tfevents*")):
            events = event_accumulator.EventAccumulator(run, size_guidance={"scalars": 0})
        if events:
            events.Reload()
            points = events.Scalars(TAG) if TAG in events.Tags()["scalars"] else []
            seen = max([0, *(event.step for event in points)])
    child.kill()
    child.wait()
    subprocess.run([*CLI, "--out", run, "--resume", "--max-steps", str(STEPS)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    events.Reload()
    steps = [event.step for event in events.Scalars(TAG)]
    assert steps == sorted(set(steps)) == list(range(1, STEPS + 1)), steps
    print(f"killed after step {seen}; the reader that was open has steps {steps[0]} to {steps[-1]}, each once")
