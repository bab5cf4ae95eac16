"""Two processes that distil are one with the pictures of both: neighbours, centre and teacher are those of all of them.

Run as a script, this file is one of the two processes: python test_course_distributed.py FOLDER, with the environment of torchrun.
"""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from processes import free_ports, run_two

from pretrain.everyone import averaged, gathered
from shared.engine.launch import train
from shared.engine.session import session

pytestmark = pytest.mark.timeout(900)  # two more processes start, which takes minutes where many others run
DISTIL = {"type": "pretrain.distil.Distil", "prototypes": 16, "hidden": 16, "bottleneck": 8, "momentum": (0.5, 0.9), "apart": 0.5}
CROPS = {"type": "shared.data.crops.Crops", "local": 2, "local_hw": (32, 32)}
COURSE = (f"model.distil={DISTIL}", f"crops={CROPS}", "model.ratio=(0.4,0.9)", "model.block_share=0.5")
WAYS = ("ddp", "fsdp2")
ROWS = torch.arange(8.0).view(4, 2)


def pulled(rank: int) -> list:
    """What comes back to this process's rows if each asks for the rows of all, times its number and one."""
    rows = ROWS.chunk(2)[rank].clone().requires_grad_()
    together, first = gathered(rows)
    (together * (rank + 1)).sum().backward()
    assert rows.grad is not None
    return [together.tolist(), first, rows.grad.tolist(), averaged(rows.detach()).tolist()]


def work(folder: Path) -> None:
    """Everything that one of the two processes does."""
    torch.set_num_threads(1)
    job = json.loads((folder / "job.json").read_text())
    ports = iter(job["ports"])
    os.environ["MASTER_PORT"] = str(next(ports))
    with session("cpu") as here:
        (folder / f"rows{here.rank}.json").write_text(json.dumps(pulled(here.rank)))
    for way in WAYS:
        os.environ["MASTER_PORT"] = str(next(ports))
        train({**job["config"], "parallel": way, "work_dir": str(folder / way)})


@pytest.fixture(scope="module")
def two(tiny, tmp_path_factory):
    """The folder in which two processes have done everything, and the settings for both."""
    folder = tmp_path_factory.mktemp("two")
    config = tiny("pretrain", folder / "one", "batch=2", "iters=3", "optimizer=adamw", "lr=1e-4", "preview=1", *COURSE)
    (folder / "job.json").write_text(json.dumps({"ports": free_ports(1 + len(WAYS)), "config": config}))
    run_two(__file__, folder)
    return folder, config


@pytest.mark.slow
def test_rows_of_everyone_bring_back_what_everyone_wants_of_them(two):
    for rank in (0, 1):
        together, first, pull, mean = json.loads((two[0] / f"rows{rank}.json").read_text())
        assert together == ROWS.tolist()
        assert first == 2 * rank
        assert pull == [[3.0, 3.0]] * 2
        assert mean == ROWS.view(2, 2, 2).mean(0).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_two_processes_distil_what_one_distils_with_twice_the_batch(two, tmp_path, way):
    folder, config = two
    train({**config, "batch": 4, "work_dir": str(tmp_path)})
    one, pair = (torch.load(path / "iter_3.pth", weights_only=True)["state_dict"] for path in (tmp_path, folder / way))
    assert one.keys() == pair.keys()
    close = torch.cat([((one[name] - pair[name]).abs() < 2e-6).flatten() for name in one])
    assert close.float().mean() > 0.99, "but where a gradient is nothing but rounding, which Adam divides by its own size"
    torch.testing.assert_close(pair["model.distil.centre"], one["model.distil.centre"], rtol=0, atol=2e-5)
    assert (folder / way / "preview").is_dir()


if __name__ == "__main__":
    work(Path(sys.argv[1]))
