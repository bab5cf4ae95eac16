"""Two processes learn from a teacher what one learns with the batch of both.

Run as a script, this file is one of the two: python test_teaching_distributed.py FOLDER, with the environment of torchrun.
"""

import sys
from pathlib import Path

import pytest
import torch
from processes import run_two
from safetensors.torch import load_file, save_file
from torch import Tensor

from shared.dense.balance import balancer
from shared.dense.decoder import Spec
from shared.dense.distil import Distillation
from shared.dense.model import DenseModel
from shared.engine import parallel
from shared.engine.session import Session, session
from shared.engine.step import Autocast, Step
from shared.engine.survive import Guard, Signals
from shared.engine.watch import Stopwatch
from shared.vit.model import ViT
from tasks.depth.task import Depth
from tasks.seg.task import Seg

pytestmark = pytest.mark.timeout(900)  # two more processes start, which takes minutes where many others run
HW = (32, 32)
CASES = {"ddp": ("ddp", None), "pcgrad": ("ddp", "pcgrad"), "fsdp2": ("fsdp2", None)}  # way, balance


def model(seed: int, dim: int) -> DenseModel:
    torch.manual_seed(seed)
    made = DenseModel(ViT({"dim": dim, "depth": 1, "heads": 2}, image_hw=HW), (Seg(), Depth()), decoder=Spec(up=(8,), refine=(8,)))
    for decoder in made.decoders.values():
        torch.nn.init.normal_(decoder.last.weight, std=0.1)  # type: ignore[union-attr, arg-type]
    return made


def pictures(number: int) -> dict[str, Tensor]:
    """Four; parts are known in the first, depth in none."""
    draw = torch.Generator().manual_seed(number)
    seg = torch.randint(0, 28, (4, *HW), generator=draw, dtype=torch.uint8)
    seg[1:] = 255
    image = torch.randint(0, 256, (4, 3, *HW), generator=draw, dtype=torch.uint8)
    return {"image": image, "seg": seg, "depth": torch.full((4, *HW), torch.nan)}


def learnt(case: str, here: Session) -> dict[str, Tensor]:
    """Weights after two steps of two micro-batches, this process seeing its share; of shared-out ones the first process has all."""
    way, rule = CASES[case]
    student = model(1, 16)
    balance = balancer(rule, ["seg", "depth"]) if rule else None
    teachers = Distillation(student, [model(0, 32)], features=0.5)
    step = Step(student, balance, teachers).train()
    wrapped = parallel.spread(step, way if here.processes > 1 else "single", here)
    optimizer = torch.optim.SGD([*student.parameters(), *teachers.parameters()], lr=0.05)
    guard, watch = Guard(here, Signals(), spike=0.0, skips=1), Stopwatch(here.device)
    wrapper = Autocast(
        device_type="cpu", dtype=None, clip=0.0, guard=guard, watch=watch, optimizer=optimizer, accumulative_counts=2
    )
    wrapper.initialize_count_status(wrapped, 0, 4)
    share = 4 // here.processes
    for iteration in range(2):
        if balance:
            balance.begin(iteration, 2)
        for part in range(2):
            own = {n: v[here.rank * share : (here.rank + 1) * share] for n, v in pictures(2 * iteration + part).items()}
            wrapped.train_step(own, wrapper)  # type: ignore[operator]
    return {name: value.clone().contiguous() for name, value in step.state_dict().items() if value is not None}


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """The folder in which two processes have written what they learnt."""
    folder = tmp_path_factory.mktemp("two")
    run_two(__file__, folder)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_from_a_teacher_what_one_learns(two, case):
    torch.set_num_threads(1)
    one, start = learnt(case, Session(torch.device("cpu"))), model(1, 16).state_dict()
    first, second = (load_file(two / f"{case}{rank}.safetensors") for rank in (0, 1))
    assert one.keys() == first.keys()
    assert case == "fsdp2" or first.keys() == second.keys()
    for name, value in one.items():
        assert case == "fsdp2" or torch.equal(first[name], second[name]), "the processes disagree"
        assert (value - first[name]).abs().max() < 1e-5, name
        if name.startswith("model.") and value.ndim > 1:  # a bias before a norm moves nothing
            assert not torch.equal(value, start[name.removeprefix("model.")]), f"{name} learns nothing"


if __name__ == "__main__":
    torch.set_num_threads(1)
    with session("cpu") as me:
        for kind in CASES:
            save_file(learnt(kind, me), Path(sys.argv[1]) / f"{kind}{me.rank}.safetensors")
