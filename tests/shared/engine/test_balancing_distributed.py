"""Two processes balance what one balances with the batch of both: the same decisions, the same weights of the network.

Run as a script, this file is one of the two: python test_balancing_distributed.py FOLDER, with the environment of torchrun.
"""

import sys
from pathlib import Path

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from processes import run_two
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shared.dense.balance import balancer
from shared.dense.decoder import Spec
from shared.dense.model import DenseModel
from shared.engine.session import Session, session
from shared.engine.step import Autocast, Step
from shared.engine.survive import Guard, Signals
from shared.engine.watch import Stopwatch
from shared.vit.model import ViT
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.seg.task import Seg

pytestmark = pytest.mark.timeout(900)  # two more processes start, which takes minutes where many others run
HW = (32, 32)
TINY = {"dim": 32, "depth": 2, "heads": 2}
NAMES = ["seg", "depth", "normal"]
RULES = {name: name for name in ("uncertainty", "gradnorm", "scalematch", "pcgrad", "mgda")}
RULES |= {"gradnorm at features": {"type": "shared.dense.balance.GradNorm", "where": "features", "rate": 0.1}}
RULES |= {"pcgrad at trunk": {"type": "shared.dense.balance.PCGrad", "where": "trunk"}}


def uneven(number: int) -> dict[str, Tensor]:
    """Four pictures; parts are known in the first two, normals in the last two, and in no picture of the third batch."""
    draw = torch.Generator().manual_seed(number)
    image = torch.randint(0, 256, (4, 3, *HW), generator=draw, dtype=torch.uint8)
    seg = torch.randint(0, 28, (4, *HW), generator=draw, dtype=torch.uint8)
    normal = nn.functional.normalize(torch.randn(4, 3, *HW, generator=draw), dim=1)
    depth = 1 + torch.rand(4, *HW, generator=draw)
    seg[2:] = 255
    normal[: 4 if number == 2 else 2] = torch.nan
    return {"image": image, "seg": seg, "depth": depth, "normal": normal}


def trained(rule, here: Session) -> dict[str, Tensor]:
    """Weights, state of the balance and what it told, after two steps of two micro-batches each, this process seeing its share."""
    torch.manual_seed(0)
    model = DenseModel(ViT(TINY, image_hw=HW), (Seg(), Depth(), Normal()), decoder=Spec(up=(8,), refine=(8,)))
    for decoder in model.decoders.values():
        nn.init.normal_(decoder.last.weight, std=0.1)  # type: ignore[union-attr, arg-type]
    balance = balancer(rule, NAMES, compare=True)
    step = Step(model, balance).train()
    wrapped = MMDistributedDataParallel(step, broadcast_buffers=False) if here.processes > 1 else step
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    guard, watch = Guard(here, Signals(), spike=0.0, skips=1), Stopwatch(here.device)
    wrapper = Autocast(
        device_type="cpu", dtype=None, clip=0.0, guard=guard, watch=watch, optimizer=optimizer, accumulative_counts=2
    )
    wrapper.initialize_count_status(wrapped, 0, 4)
    share, told = 4 // here.processes, {}
    for iteration in range(2):
        balance.begin(iteration, 2)
        for part in range(2):
            batch = uneven(2 * iteration + part)
            own = {name: value[here.rank * share : (here.rank + 1) * share].contiguous() for name, value in batch.items()}
            wrapped.train_step(own, wrapper)
        told |= {f"{iteration} {name}": value for name, value in balance.end().items()}
    state = {name: value.float() for name, value in {**step.state_dict(), **told}.items()}
    return {name: value.clone().contiguous() for name, value in state.items()}


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """The folder in which two processes have written all they found."""
    folder = tmp_path_factory.mktemp("two")
    run_two(__file__, folder)
    return folder


@pytest.mark.parametrize("name", RULES)
def test_two_processes_balance_what_one_balances(two, name):
    torch.set_num_threads(1)
    one = trained(RULES[name], Session(torch.device("cpu")))
    first, second = (load_file(two / f"{name}{rank}.safetensors") for rank in (0, 1))
    assert one.keys() == first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first), "the processes disagree"
    for key, value in one.items():
        if key.startswith("model."):
            assert (value - first[key]).abs().max() < 1e-5, key
        else:
            torch.testing.assert_close(first[key], value, rtol=1e-4, atol=1e-5, msg=lambda told, key=key: f"{key}: {told}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    with session("cpu") as me:
        for title, kind in RULES.items():
            save_file(trained(kind, me), Path(sys.argv[1]) / f"{title}{me.rank}.safetensors")
