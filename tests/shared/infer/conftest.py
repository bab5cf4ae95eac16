"""A detector without training, for the tests of what looks for people."""

from pathlib import Path

import pytest
import torch

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
