"""Writes fixture.safetensors with the Python package safetensors, and checks a file that ours wrote, if one is named.

    python make-safetensors-fixture.py            # writes fixture.safetensors
    python make-safetensors-fixture.py ours.st    # checks what SAMPLE of safetensors.test.ts gives when written
"""
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

if len(sys.argv) > 1:
    ours = load_file(sys.argv[1])
    assert sorted(ours) == ["doubles", "empty", "ints", "weights"], sorted(ours)
    np.testing.assert_array_equal(ours["weights"], np.array([[1.5, -2, 3], [0.25, 5, -6]], np.float32))
    np.testing.assert_array_equal(ours["doubles"], np.array([0.1, -1e300]))
    np.testing.assert_array_equal(ours["ints"], np.array([-7], np.int32))
    assert ours["empty"].shape == (0, 4)
    print("ok")
else:
    values = torch.tensor([[1.5, -2.0, 0.0], [65504.0, 6.103515625e-05, -0.333251953125]])
    save_file(
        {
            "f32": values,
            "f64": values.double(),
            "f16": values.half(),
            "bf16": values.bfloat16(),
            "i64": torch.tensor([-(2**62), 5]),
            "i32": torch.tensor([-7, 2**31 - 1], dtype=torch.int32),
            "u8": torch.tensor([0, 255, 3], dtype=torch.uint8),
            "u16": torch.tensor([65535, 1], dtype=torch.uint16),
            "bool": torch.tensor([True, False, True]),
            "scalar": torch.tensor(2.5),
            "empty": torch.zeros(0, 4),
        },
        Path(__file__).parent / "fixture.safetensors",
        metadata={"format": "pt", "note": "größe"},
    )
