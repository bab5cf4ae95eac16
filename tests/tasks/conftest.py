"""What the tests of all tasks look at: three small people, alone and as a batch. Do not write into them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.data.fields import CORE
from shared.data.shards import Shards
from shared.data.wanted import Wanted
from tasks.pose.task import Pose
from tasks.seg.task import Seg


@pytest.fixture(scope="session")
def people(small_shards) -> list[dict[str, np.ndarray]]:
    """Three people, parts in the vocabulary of Sapiens, keypoints in that of COCO."""
    shards = Shards(small_shards)
    wanted = Wanted({"seg": Seg().vocabulary, "keypoints": Pose().vocabulary}).over(shards)
    return [wanted.translate(shards.read(number)) for number in (0, 1, 3)]


@pytest.fixture(scope="session")
def batch(people) -> dict[str, Tensor]:
    stacked = {name: torch.from_numpy(np.stack([person[name] for person in people])) for name in CORE}
    return stacked | {name: stacked[name].movedim(-1, 1) for name in ("image", "normal")}
