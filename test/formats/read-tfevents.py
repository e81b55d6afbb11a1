"""Reads a run's event file with TensorBoard itself and compares it with metrics.jsonl; not part of the tests.

    pip install tensorboard
    npx loopnn train --tensorboard --data … --out runs/x
    python test/formats/read-tfevents.py runs/x
"""

import json
import sys

import numpy as np
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

folder = sys.argv[1]
events = event_accumulator.EventAccumulator(folder, size_guidance={"scalars": 0, "tensors": 0})
events.Reload()
with open(f"{folder}/metrics.jsonl") as file:
    lines = [json.loads(line) for line in file]
with open(f"{folder}/config.json") as file:
    config = json.load(file)

CURVES = {
    "loss/train": ("step", "loss"),
    "loss/val": ("eval", "valLoss"),
    "loss/trainFixed": ("eval", "trainLoss"),
    "lr": ("step", "lr"),
    "gradNorm": ("step", "gradNorm"),
    "tokensPerSecond": ("step", "tokensPerSecond"),
    "auxLoss": ("step", "auxLoss"),
    "meanSteps": ("step", "meanSteps"),
}
for tag in events.Tags()["scalars"]:
    kind, field = CURVES[tag]
    found = [(event.step, event.value) for event in events.Scalars(tag)]
    expected = [(line["step"], float(np.float32(line[field]))) for line in lines if line["kind"] == kind]
    assert found == expected, tag
    print(f"{tag}: {len(found)} points")

texts = [event.tensor_proto.string_val[0].decode() for event in events.Tensors("config")]
first, last = (
    dict(row.strip("| ").split(" | ") for row in text.split("\n")[2:]) for text in (texts[0], texts[-1])
)
assert last["nEmbd"] == str(config["model"]["nEmbd"]) and last["maxSteps"] == str(config["train"]["maxSteps"])
print(f"config: {len(texts)} texts")

content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
session = metadata.parse_session_start_info_plugin_data(content)
found = {name: getattr(value, value.WhichOneof("kind")) for name, value in session.hparams.items()}
# The HParams tab shows what the run began with; a resumed run may have changed it.
assert found.keys() == first.keys()
for name, value in found.items():
    text = str(value).lower() if isinstance(value, bool) else value
    assert text == (float(first[name]) if isinstance(text, float) else first[name]), name
print(f"hparams: {len(found)} values")
