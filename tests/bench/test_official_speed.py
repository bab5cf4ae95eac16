"""Seconds and memory of an official Sapiens 0.3b for one photo of 4096 x 3072, and where they go.

Ten minutes on two cores: .venv/bin/python -m pytest tests/bench/test_official_speed.py -m slow -s
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WAYS = {"float32": {}, "bf16": {"precision": "bf16"}, "compiled": {"compiled": True}}
MAKE = """
import sys, torch
from pathlib import Path
from shared import weights
from shared.convert.official import empty, to_official
model = {"type": "shared.dense.model.DenseModel", "backbone": {"type": "shared.vit.model.ViT", "size": "300m"},
         "tasks": [{"type": "tasks.seg.task.Seg"}]}
torch.manual_seed(0)
state = to_official({"model": model}, empty(model).state_dict())
state = {name: torch.empty(tensor.shape).uniform_(-0.02, 0.02) for name, tensor in state.items()}
weights.save_foreign(Path(sys.argv[1]), state, wrapper="state_dict", meta={"epoch": 1})
"""
ASK = """
import json, resource, sys, time
import numpy as np
import torch
from shared.infer.predictor import Predictor
predictor = Predictor.load(sys.argv[1], **json.loads(sys.argv[2]))
image = np.random.default_rng(0).integers(0, 256, (4096, 3072, 3), dtype=np.uint8)

def seconds(call, *arguments):
    began = time.perf_counter()
    found = call(*arguments)
    return time.perf_counter() - began, found

first, _ = seconds(predictor, image)
total, _ = seconds(predictor, image)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
model, seen = predictor.model, torch.randn(1, 3, *predictor.size)
with torch.inference_mode(), torch.autocast("cpu", predictor.dtype, enabled=predictor.dtype is not None):
    backbone, features = seconds(model.backbone, seen)
    head, _ = seconds(model.decoders["seg"], features)
told = {"first": first, "total": total, "backbone": backbone, "head": head, "rest": total - backbone - head, "peak_gib": peak}
print(json.dumps(told))
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_where_the_seconds_of_a_4k_photo_go(tmp_path):
    path = tmp_path / "sapiens_0.3b.pth"
    subprocess.run([sys.executable, "-c", MAKE, path], check=True, cwd=ROOT)
    found = {}
    for way, options in WAYS.items():
        command = [sys.executable, "-c", ASK, path, json.dumps(options)]
        said = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout
        found[way] = json.loads(said.splitlines()[-1])
        print(way, {name: round(value, 2) for name, value in found[way].items()}, flush=True)
    assert all(row["total"] < row["first"] * 1.5 for row in found.values())
