"""What the tests of the engine, of checkpoints and of inference have in common: configs shrunk to seconds, one trained model."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from shared.engine.config import Tree, load
from shared.engine.launch import train

ROOT = Path(__file__).parents[2]
SMALL = (
    *(
        "device=cpu",
        "precision=fp32",
        "seed=0",
        "init=None",
        "backbone.image_hw=(64,48)",
        "backbone.patch=16",
        "batch=2",
        "accumulate=1",
        "workers=0",
    ),
    *("iters=3", "warmup=0", "lr=1e-3", "schedule=cosine", "clip=1.0", "ema=0.0"),
    *("framing=whole", "photometric={'type': 'shared.data.photometric.Photometric'}"),
    *("val_every=0", "log_every=1000", "save_every=1000", "keep=2", "preview=0"),
)
Tiny = Callable[..., Tree]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small matrices lose more by waiting for one another than two threads gain."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(small_shards) -> Tiny:
    """tiny("joint", folder, "lr=1e-2", ...) -> `joint/synthetic_nano` with everything small, then with these overrides."""

    def make(name: str, folder: Path, *overrides: str) -> Tree:
        overrides = (*SMALL, f"work_dir={folder}", f"train.shards={small_shards}", *overrides)
        if name != "pretrain":
            overrides = (f"val.shards={small_shards}", "decoder.up=(16,)", "decoder.refine=(16,)", "val=None", *overrides)
        return load(ROOT / f"configs/{name}/synthetic_nano.py", overrides)

    return make


@pytest.fixture(scope="session")
def trained(tiny, tmp_path_factory) -> Path:
    """The checkpoint of a model that answers seg, depth, normal and pose, after two iterations. Do not write beside it."""
    return train(tiny("joint", tmp_path_factory.mktemp("runs") / "joint", "iters=2"))


@pytest.fixture(scope="session")
def pretrained(tiny, tmp_path_factory) -> Path:
    """The checkpoint of a masked autoencoder after two iterations."""
    return train(tiny("pretrain", tmp_path_factory.mktemp("runs") / "mae", "iters=2"))
