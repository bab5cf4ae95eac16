"""The command in this process, and a detector without training, for the tests of what looks for people."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from shared.infer.cli import infer

SMALL = "ssdlite320_mobilenet_v3_large"


@pytest.fixture(scope="session")
def detector(tmp_path_factory) -> Path:
    """Weights of the smallest of torchvision's, random but for the bias of a class: there are people everywhere. Read it only."""
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    torch.manual_seed(0)
    model = models.get_model(SMALL, weights=None, weights_backbone=None)
    with torch.no_grad():
        for block in model.head.classification_head.module_list:
            block[1].bias.view(-1, 91)[:, 1] += 6
    path = tmp_path_factory.mktemp("weights") / f"{SMALL}_coco-a79551df.pth"
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture
def called(monkeypatch) -> Callable[..., int]:
    """called(photo, "--out", folder, ..., only=Seg) -> the exit code of `tasks/seg/infer.py`; without `only`, of the joint one."""
    monkeypatch.setenv("TORCH_HOME", "nowhere")  # no detector is in the cache

    def call(*arguments: object, only: type | None = None) -> int:
        monkeypatch.setattr(sys, "argv", ["infer.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            infer(only)
        return exit_.value.code  # type: ignore[return-value]

    return call
