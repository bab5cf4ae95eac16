"""However processes share a model, it is one training: the same losses, the same norms of gradients, the same files.

Run as a script, this file is one of the two processes: python test_parallel.py FOLDER, with the environment of torchrun.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from processes import free_ports, run_two
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.data import default_collate

from shared.build import build
from shared.dense.balance import balancer
from shared.engine import data, optim, parallel
from shared.engine.config import Tree
from shared.engine.launch import describe, train
from shared.engine.session import Session, session
from shared.engine.states import newest, saved
from shared.engine.step import Autocast, Step
from shared.engine.survive import Guard, Signals
from shared.engine.watch import Stopwatch

pytestmark = pytest.mark.timeout(900)  # two more processes start, which takes minutes where many others run
STEPS = 20
STILL = {"frozen": {"frozen": 1}, "lora": {"lora": {"rank": 4, "alpha": 8}}}
WHOLE, SHARES = {"parallel": "fsdp2", "states": "whole"}, {"parallel": "fsdp2", "states": "shares"}
RUNS = {"run": WHOLE, "run again": WHOLE, "shares": SHARES, "shares again": SHARES, "shares ddp": {"parallel": "ddp"}}
CLIP = 0.1  # less than any gradient here, so that every step is clipped


def followed(config: Tree, here: Session, way: str, *, steps: int = STEPS) -> dict[str, list[float]]:
    """Loss and norm of the gradient over some steps, four people in each; of all processes together."""
    torch.manual_seed(0)
    model = build(describe(config))
    optim.hold(model.backbone, frozen=config["frozen"], lora=config["lora"])
    stream = data.training(config, model.tasks, (64, 48))
    step = parallel.spread(Step(model).train(), way, here, static=True)
    guard = Guard(here, Signals(), spike=0.0, skips=10)
    wrapper = Autocast(
        device_type="cpu",
        dtype=None,
        clip=CLIP,
        guard=guard,
        watch=Stopwatch(here.device, active=False),
        optimizer=optim.adamw(model, lr=1e-4, weight_decay=0.1, layer_decay=0.85, betas=(0.9, 0.999)),
    )
    share, told = 4 // here.processes, {"loss": [], "norm": []}
    for number in range(steps):
        first = 4 * number + share * here.rank
        batch = default_collate([stream[position] for position in range(first, first + share)])
        loss = step.train_step(batch, optim_wrapper=wrapper)["loss"].detach()  # type: ignore[operator]
        if here.processes > 1:
            dist.all_reduce(loss)
        told["loss"].append(float(loss) / here.processes)
        told["norm"].append(guard.norm)
    return told | {"cut": [float(sum(isinstance(p, DTensor) for p in model.parameters()))]}


def work(folder: Path) -> None:
    """Everything that one of the two processes does."""
    torch.set_num_threads(1)
    job = json.loads((folder / "job.json").read_text())
    ports = iter(job["ports"])
    os.environ["MASTER_PORT"] = str(next(ports))
    with session("cpu") as here:
        for way in ("ddp", "fsdp2"):
            told = followed(job["seg"], here, way)
            if here.first:
                (folder / f"{way}.json").write_text(json.dumps(told))
        for name, settings in STILL.items():
            told = followed({**job["seg"], **settings}, here, "fsdp2", steps=3)
            if here.first:
                (folder / f"{name}.json").write_text(json.dumps(told))
    for name, settings in RUNS.items():
        os.environ["MASTER_PORT"] = str(next(ports))
        train({**job["seg"], **settings, "work_dir": str(folder / name)})
        for later in RUNS:
            if later.startswith(f"{name} ") and here.first:
                begun(folder / name, folder / later)


def begun(run: Path, copy: Path) -> None:
    """A folder as a run leaves it that is killed after its second iteration, while it writes its second state."""
    shutil.copytree(run, copy)
    (copy / "model.safetensors").unlink()
    (last := saved(copy)[-1]).rename(copy / ".partial")
    if last.name == "iter_4":
        (copy / ".partial" / "files.json").unlink()


@pytest.fixture(scope="module")
def two(tiny, small_shards, tmp_path_factory):
    """The folder in which two processes have done everything."""
    folder = tmp_path_factory.mktemp("two")
    val = f"val={{'shards': '{small_shards}', 'limit': 3}}"  # two for one process, one for the other
    settings = ("iters=4", "save_every=2", "lr=1e-4", "accumulate=2", "preview=1", "val_every=2", "backbone.recompute=True")
    config = tiny("seg", folder / "seg", val, "batch=2", "optimizer=adamw", *settings)
    config["backbone"]["size"] = {"dim": 64, "depth": 2, "heads": 2}
    (folder / "job.json").write_text(json.dumps({"ports": free_ports(1 + len(RUNS)), "seg": config}))
    run_two(__file__, folder, options=("-W", "error::UserWarning"))
    return folder, config


def test_one_process_two_with_whole_models_and_two_with_shares_have_the_same_losses(two):
    folder, config = two
    one = followed(config, Session(torch.device("cpu")), "single")
    assert max(one["loss"]) > 1.0001 * min(one["loss"]), "losses that stay prove nothing"
    assert min(one["norm"]) > CLIP
    for way in ("ddp", "fsdp2"):
        told = json.loads((folder / f"{way}.json").read_text())
        assert told["loss"] == pytest.approx(one["loss"], rel=1e-5, abs=0)
        assert told["norm"] == pytest.approx(one["norm"], rel=1e-4, abs=0)
        assert bool(told["cut"][0]) is (way == "fsdp2")


@pytest.mark.parametrize("name", STILL)
def test_shares_of_what_stands_still_change_nothing(two, name):
    folder, config = two
    one = followed({**config, **STILL[name]}, Session(torch.device("cpu")), "single", steps=3)
    told = json.loads((folder / f"{name}.json").read_text())
    assert told["loss"] == pytest.approx(one["loss"], rel=1e-5, abs=0)
    assert told["norm"] == pytest.approx(one["norm"], rel=1e-4, abs=0)


def agree(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    """Equal but where the gradient is nothing but rounding, which Adam divides by its own size."""
    assert one.keys() == two.keys()
    close = torch.cat([((one[name] - two[name]).abs() < 2e-6).flatten() for name in one])
    assert close.float().mean() > 0.995
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 2 * 4 * 1e-4


def test_a_run_of_shares_that_was_killed_ends_as_if_it_never_was(two):
    folder, _ = two
    whole, again = (torch.load(folder / name / "iter_4.pth", weights_only=True) for name in ("run", "run again"))
    assert all(torch.equal(again["state_dict"][name], tensor) for name, tensor in whole["state_dict"].items())
    assert whole["optimizer"]["state"].keys() == again["optimizer"]["state"].keys()
    for number, moments in whole["optimizer"]["state"].items():
        assert all(torch.equal(again["optimizer"]["state"][number][name], value) for name, value in moments.items())
    assert (folder / "run" / "model.safetensors").read_bytes() != b""
    assert len(list((folder / "run" / "preview").iterdir())) == 2


def test_its_weights_are_those_of_one_process_and_whole(two, tmp_path):
    folder, config = two
    one = load_file(train({**config, "batch": 4, "work_dir": str(tmp_path)}))
    agree(one, load_file(folder / "run" / "model.safetensors"))


def test_one_process_goes_on_from_the_shares_of_two(two, tmp_path):
    folder, config = two
    begun(folder / "run", tmp_path / "run")
    went_on = load_file(train({**config, "batch": 4, "work_dir": str(tmp_path / "run")}))
    agree(went_on, load_file(folder / "run" / "model.safetensors"))


def test_states_of_shares_change_nothing_and_a_run_that_was_killed_ends_as_if_it_never_was(two):
    folder, _ = two
    whole = load_file(folder / "run" / "model.safetensors")
    for name in ("shares", "shares again"):
        left = load_file(folder / name / "model.safetensors")
        assert left.keys() == whole.keys()
        assert all(torch.equal(left[key], tensor) for key, tensor in whole.items())
        assert [path.name for path in saved(folder / name)] == ["iter_2", "iter_4"]
    parts = sorted((folder / "shares" / "iter_4").glob("shard-*"))
    sizes = [path.stat().st_size for path in parts]
    assert len(parts) == 2, "each process wrote its own"
    assert max(sizes) < 1.2 * min(sizes)


def test_processes_with_whole_models_go_on_from_a_folder(two):
    folder, _ = two
    assert [path.name for path in saved(folder / "shares ddp")] == ["iter_2", "iter_4.pth"]
    agree(*(load_file(folder / name / "model.safetensors") for name in ("shares ddp", "run")))


def test_one_process_goes_on_from_a_folder_that_two_wrote(two, tmp_path):
    folder, config = two
    begun(folder / "shares", tmp_path / "run")
    assert newest(tmp_path / "run") == tmp_path / "run" / "iter_2"
    went_on = load_file(train({**config, "batch": 4, "work_dir": str(tmp_path / "run")}))
    agree(went_on, load_file(folder / "run" / "model.safetensors"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("parallel=fsdp3",), "no parallel='fsdp3'; choose one of auto, ddp, fsdp2, single"),
        (("parallel=fsdp2",), "parallel=fsdp2 shares a model among processes; start it with torchrun"),
        (("parallel=fsdp2", "optimizer=muon"), "optimizer=muon turns whole matrices"),
        (("parallel=fsdp2", "optimizer=adamw8bit"), "adamw8bit keeps blocks of 256 numbers"),
        (("parallel=fsdp2", "ema=0.9"), r"ema=0\.9 averages whole weights"),
        (("parallel=fsdp2", "compare=True"), "looks at gradients"),
        (("parallel=fsdp2", "balance=pcgrad"), "looks at gradients .* use a rule that looks at losses"),
    ],
)
def test_what_cannot_be_shared_is_refused_before_anything_is_written(tiny, tmp_path, settings, told):
    with pytest.raises(ValueError, match=told):
        train(tiny("joint", tmp_path / "joint", "optimizer=adamw", *settings))
    assert not (tmp_path / "joint" / "config.json").exists()


def test_one_process_is_one_unless_there_are_more(tiny, tmp_path):
    config = tiny("seg", tmp_path)
    one, many = Session(torch.device("cpu")), Session(torch.device("cpu"), 0, 2)
    assert [parallel.way({**config, "parallel": name}, one) for name in ("auto", "ddp", "single")] == ["single"] * 3
    assert [parallel.way({**config, "parallel": name}, many) for name in ("auto", "ddp")] == ["ddp"] * 2
    with pytest.raises(ValueError, match="parallel=single is for one process, and 2 were started; use ddp or fsdp2"):
        parallel.way({**config, "parallel": "single"}, many)


def test_rules_that_look_at_losses_alone_may_share(tiny, tmp_path):
    config = tiny("joint", tmp_path, "parallel=fsdp2", "optimizer=adamw")
    with pytest.raises(ValueError, match="start it with torchrun"):
        parallel.way(config, Session(torch.device("cpu")), balancer("uncertainty", ["seg", "depth"]))


def test_a_module_that_is_not_cut_stays_what_it_is():
    step = nn.Linear(2, 2)
    assert parallel.spread(step, "single", Session(torch.device("cpu"))) is step


if __name__ == "__main__":
    work(Path(sys.argv[1]))
