"""A model that is shared out on a GPU, its blocks gathered in bf16, learns what the whole one learns."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed.tensor import DTensor

from shared.dense.decoder import Spec
from shared.dense.model import DenseModel
from shared.engine import optim, parallel
from shared.engine.session import Session, session
from shared.engine.step import Autocast, Step
from shared.engine.survive import Guard, Signals
from shared.engine.watch import Stopwatch
from shared.vit.model import ViT
from tasks.depth.task import Depth
from tasks.seg.task import Seg

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU")]
SIZES = {"sapiens": "nano", "sapiens2": {"dim": 128, "depth": 4, "heads": 4, "family": "sapiens2"}}


def losses(here: Session, way: str, dtype: torch.dtype | None, family: str) -> list[float]:
    """Of ten steps on the same two pictures."""
    torch.manual_seed(0)
    model = DenseModel(ViT(SIZES[family], image_hw=(64, 48), recompute=True), [Seg(), Depth()], decoder=Spec((32,), (16,)))
    nn.init.normal_(model.decoders["seg"].last.weight, std=0.1)  # type: ignore[union-attr, arg-type]
    step = parallel.spread(Step(model).to(here.device).train(), way, here, dtype=dtype)
    assert any(isinstance(parameter, DTensor) for parameter in model.parameters()) is (way == "fsdp2")
    wrapper = Autocast(
        device_type="cuda",
        dtype=dtype,
        clip=1.0,
        guard=Guard(here, Signals(), spike=0.0, skips=10),
        watch=Stopwatch(here.device, active=False),
        optimizer=optim.adamw(model, lr=1e-3, weight_decay=0.1, layer_decay=0.85, betas=(0.9, 0.999)),
    )
    batch = {
        "image": torch.randint(0, 256, (2, 3, 64, 48), dtype=torch.uint8),
        "seg": torch.randint(0, 28, (2, 64, 48), dtype=torch.uint8),
        "depth": 1 + torch.rand(2, 64, 48),
    }
    batch = {name: value.to(here.device) for name, value in batch.items()}
    return [float(step.train_step(batch, optim_wrapper=wrapper)["loss"].detach()) for _ in range(10)]  # type: ignore[operator]


@pytest.fixture(scope="module")
def shared_out(tmp_path_factory) -> dict[str, list[float]]:
    """What a job of one process found: its shares are everything, and all is cut and gathered as in a job of many."""
    path = tmp_path_factory.mktemp("job") / "losses.json"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    place |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    job = subprocess.run([sys.executable, __file__, str(path)], env={**os.environ, **place}, capture_output=True, text=True)
    assert job.returncode == 0, job.stderr[-4000:]
    return json.loads(path.read_text())


@pytest.mark.parametrize("family", SIZES)
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.03)])
def test_shares_on_a_gpu_learn_what_the_whole_learns(shared_out, family, precision, tolerance):
    dtype = torch.bfloat16 if precision == "bf16" else None
    whole = losses(Session(torch.device("cuda", 0)), "single", dtype, family)
    assert whole[-1] < whole[0]
    assert shared_out[f"{family} {precision}"] == pytest.approx(whole, rel=tolerance)


if __name__ == "__main__":
    with session("cuda") as me:
        found = {
            f"{family} {name}": losses(me, "fsdp2", dtype, family)
            for family in SIZES
            for name, dtype in (("fp32", None), ("bf16", torch.bfloat16))
        }
    Path(sys.argv[1]).write_text(json.dumps(found))
