"""What the tests of all tasks look at: three small people, alone and as a batch. Do not write into them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.data import geometric
from shared.data.fields import CORE
from tasks.pose.task import Pose


@pytest.fixture(scope="session")
def people() -> list[dict[str, np.ndarray]]:
    """Three people, keypoints in the vocabulary of COCO."""
    rows = [geometric.NAMES["keypoints"].index(name) for name in Pose().vocabulary.names]
    found = [geometric.person(seed, (64, 48)) for seed in (0, 1, 3)]
    return [person | {"keypoints": person["keypoints"][rows]} for person in found]


@pytest.fixture(scope="session")
def batch(people) -> dict[str, Tensor]:
    stacked = {name: torch.from_numpy(np.stack([person[name] for person in people])) for name in CORE}
    return stacked | {name: stacked[name].movedim(-1, 1) for name in ("image", "normal")}
