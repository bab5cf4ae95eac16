"""Two processes are one process with the batch of both: the same gradient, the same weights, the same scores.

Run as a script, this file is one of the two processes: python test_distributed.py FOLDER, with the environment of torchrun.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from processes import free_ports, run_two
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import default_collate

from shared import checkpoint
from shared.build import build
from shared.engine import data
from shared.engine.config import Tree
from shared.engine.launch import describe, train
from shared.engine.probe import Probe, eyes
from shared.engine.score import score
from shared.engine.session import Session, session
from shared.engine.step import Step

pytestmark = pytest.mark.timeout(900)  # two more processes start, which takes minutes where many others run
PARTS = ("gradient", "pointmap", "joint", "pretrain", "scores")


def uneven(config: Tree) -> dict[str, Tensor]:
    """Four people; what is known of them differs as much as it can between the first two and the last two."""
    model = build(describe(config))
    stream = data.training(config, model.tasks, (64, 48))
    batch = default_collate([stream[position] for position in range(4)])
    batch["depth"][0] = torch.nan
    if "intrinsics" in batch:
        batch["depth"][1, 30:] = torch.nan
        batch["intrinsics"][3] = torch.nan
        return batch
    batch["seg"][2:] = 255
    batch["seg"][0, :20] = 255
    batch["normal"][1, :, 30:] = torch.nan
    batch["normal"][3] = torch.nan
    batch["keypoints"][:2, 3:, 2] = 0
    return batch


def gradient(config: Tree, here: Session) -> dict[str, Tensor]:
    """Of the sum of all losses, this process seeing its share of the four."""
    torch.manual_seed(0)
    model = build(describe(config))
    for decoder in model.decoders.values():
        nn.init.normal_(decoder.last.weight, std=0.1)  # so that the backbone's gradient is no rounding error
    step: nn.Module = Step(model)
    if here.processes > 1:
        step = MMDistributedDataParallel(step, broadcast_buffers=False)
    share = 4 // here.processes
    batch = {name: tensor[here.rank * share : (here.rank + 1) * share] for name, tensor in uneven(config).items()}
    torch.stack(list(step(**batch).values())).sum().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def scores(config: Tree, path: str, here: Session) -> dict[str, float]:
    model: Any = checkpoint.load(path).model
    valid = data.validation(config, model.tasks, (64, 48))
    assert valid is not None
    return score(model, valid, here, tasks=model.tasks, batch=2)[0]


def work(folder: Path) -> None:
    """Everything that one of the two processes does."""
    torch.set_num_threads(1)
    job = json.loads((folder / "job.json").read_text())
    for part, port in zip(PARTS, job["ports"], strict=True):
        os.environ["MASTER_PORT"] = str(port)
        if part in ("joint", "pretrain"):
            train(job[part])
            continue
        with session("cpu") as here:
            if part in ("gradient", "pointmap"):
                found = gradient(job["joint" if part == "gradient" else part], here)
                if here.first:
                    save_file(found, folder / f"{part}.safetensors")
            else:
                told = scores(job["joint"], job["checkpoint"], here)
                (folder / f"scores{here.rank}.json").write_text(json.dumps(told))


SETTINGS = ("iters=4", "save_every=2", "lr=1e-4", "accumulate=2")


@pytest.fixture(scope="module")
def both(tiny, trained, small_shards, tmp_path_factory):
    """The folder in which two processes have done everything."""
    folder = tmp_path_factory.mktemp("two")
    val = f"val={{'shards': '{small_shards}', 'limit': 5}}"
    job = {"ports": free_ports(len(PARTS)), "checkpoint": str(trained)}
    job["joint"] = tiny("joint", folder / "joint", val, "batch=2", *SETTINGS)
    job["pointmap"] = tiny("pointmap", folder / "pointmap", val, "batch=2", "tasks.0.cap=0.3", *SETTINGS)  # some costs are capped
    probe = f"probe={{'shards': '{small_shards}', 'pictures': 7}}"
    job["pretrain"] = tiny("pretrain", folder / "pretrain", "batch=2", probe, *SETTINGS)
    (folder / "job.json").write_text(json.dumps(job))
    run_two(__file__, folder)
    return folder, job


@pytest.mark.parametrize(("name", "part"), [("joint", "gradient"), ("pointmap", "pointmap")])
def test_the_gradient_of_two_is_the_gradient_of_one(both, name, part):
    folder, job = both
    one, two = gradient(job[name], Session(torch.device("cpu"))), load_file(folder / f"{part}.safetensors")
    assert one.keys() == two.keys()
    total = torch.cat([one[name].flatten() for name in one]).norm()
    for name in one:
        error, size = (one[name] - two[name]).norm(), one[name].norm()
        assert error <= 1e-5 * size or error <= 1e-8 * total, f"{name}: {float(error / size):.1e}"
    for task in ("seg", "depth", "normal", "pose") if part == "gradient" else (part,):
        assert one[f"decoders.{task}.last.weight"].norm() > 1e-6 * total, "a task without a gradient proves nothing"


def agree(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    """Equal but where the gradient is nothing but rounding, which Adam divides by its own size."""
    assert one.keys() == two.keys()
    close = torch.cat([((one[name] - two[name]).abs() < 2e-6).flatten() for name in one])
    assert close.float().mean() > 0.995
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 2 * 4 * 1e-4


@pytest.mark.parametrize("name", ["joint", "pretrain"])
def test_two_processes_train_what_one_trains_with_twice_the_batch(both, tmp_path, name):
    folder, job = both
    one = load_file(train({**job[name], "batch": 4, "work_dir": str(tmp_path)}))
    agree(one, load_file(folder / name / "model.safetensors"))


def test_a_run_of_two_processes_goes_on_in_one(both, tmp_path):
    """The same pictures, dealt to fewer."""
    folder, job = both
    shutil.copytree(folder / "pretrain", tmp_path / "mae")
    (tmp_path / "mae" / "iter_4.pth").unlink()
    with pytest.raises(ValueError, match=r"batch \* processes: 4 -> 2"):
        train({**job["pretrain"], "work_dir": str(tmp_path / "mae")})
    went_on = load_file(train({**job["pretrain"], "batch": 4, "work_dir": str(tmp_path / "mae")}))
    agree(went_on, load_file(folder / "pretrain" / "model.safetensors"))


def test_the_scores_of_two_are_the_scores_of_one(both):
    folder, job = both
    first, second = (json.loads((folder / f"scores{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    one = scores(job["joint"], job["checkpoint"], Session(torch.device("cpu")))
    assert first == pytest.approx(one, rel=1e-6, abs=1e-9, nan_ok=True)


def test_the_probe_of_two_says_what_the_probe_of_one_says(both, small_shards):
    weights = both[0] / "pretrain" / "model.safetensors"
    lines = (weights.parent / "probe.jsonl").read_text().splitlines()
    probe = Probe(small_shards, size=(64, 48), stride=16, pictures=7)
    alone, trivial = probe.scores(eyes(checkpoint.load(weights).model), Session(torch.device("cpu")))
    assert [json.loads(line) for line in lines] == [{"iteration": 4, "scores": alone, "not looking": trivial}]


def test_one_process_alone_writes_the_files(both):
    names = {path.name for path in (both[0] / "joint").iterdir() if path.is_file()}
    assert len([name for name in names if "tfevents" in name]) == 1
    assert {"config.json", "iter_2.pth", "iter_4.pth", "model.safetensors"} <= names
    assert json.loads((both[0] / "joint" / "config.json").read_text())["processes"] == 2


if __name__ == "__main__":
    work(Path(sys.argv[1]))
