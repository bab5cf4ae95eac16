"""The table of `make gpu`: on a GPU as it is, on processors with sizes that take no time."""

import sys
from functools import partial

import pytest
import torch
from answering import Joint
from gpu_table import LIMIT_S, Plan, Steps, everything, on_gpu, rows
from speed_table import Bench, table
from training import Setup, ours

from shared.dense.decoder import Spec
from shared.engine import mfu

CPU = torch.device("cpu")
SIZE = {"dim": 32, "depth": 1, "heads": 2}
STEP = Steps("steps", "seg", Setup(SIZE, (64, 64), 1, CPU, None, head=(16,)), (ours,))
JOINT = Joint("passes", SIZE, (64, 48), CPU, Spec((16,), (16,)), batches=(1,), skeleton="coco17")


@pytest.mark.gpu
@pytest.mark.timeout(LIMIT_S + 120)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")  # of the compiler
def test_the_table_of_this_gpu(tmp_path):
    found = everything(tmp_path, say=partial(print, file=sys.stderr, flush=True))
    name = torch.cuda.get_device_name()
    print("\n" + table(found, device=name, peak_tflops=mfu.peak_of(name)))
    assert [row for row in found if row.broken] == []


def test_steps_passes_and_photos_are_in_one_table(tmp_path):
    found = list(rows(Bench(CPU), Plan([STEP], [(JOINT, False)], 4, (64, 48), late=[STEP]), tmp_path))
    names = [row.name.partition(",")[0] for row in found]
    assert names == ["steps", *["passes"] * 7, "steps"]
    assert found[7].name == "passes, photos, all in one pass"
    assert not any(row.broken for row in found)
    assert len(table(found, device="none", peak_tflops=1.0).splitlines()) == 2 + 9


def test_a_gpu_is_asked_for_every_step_once_and_for_both_sizes_with_official_heads():
    plan = on_gpu(CPU)
    steps = [f"{some.name}, {maker.__name__}" for some in [*plan.steps, *plan.late] for maker in some.makers]
    assert len(set(steps)) == len(steps) == 12
    assert [(joint.size, joint.image_hw, joint.batches, joint.decoder) for joint, _ in plan.joints] == [
        ("1b", (1024, 768), (1, 8), None),
        ("300m", (1024, 768), (1, 8), None),
    ]
