"""What many tests look at: one person, a few shards of people, and the numbers of the official code where they lie beside us."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.data import tarindex
from shared.data.fields import Sample
from shared.data.shards import Shards

PEOPLE = Path(__file__).parent / "data" / "people"  # rendered once; its README has the command
BESIDE = Path(__file__).parents[2] / "shared"
OURS = {  # what the official code calls a layer, and what we do
    r"^patch_embed\.projection": "patch_embed",
    r"^layers\.": "blocks.",
    r"^ln1": "norm",
    r"\.ln(\d)": r".norm\1",
    r"ffn\.layers\.0\.0": "mlp.fc1",
    r"ffn\.layers\.1": "mlp.fc2",
    r"^deconv_layers\.(\d)": lambda found: f"up.{int(found[1]) // 3}.0",
    r"^conv_layers\.(\d)": lambda found: f"refine.{int(found[1]) // 3}.0",
    r"^(conv_seg|final_layer)": "last",
}


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder beside the repository that holds the specification; without it the test is skipped."""
    if not BESIDE.is_dir():
        pytest.skip("the specification's folder does not lie beside the repository")
    return BESIDE


@pytest.fixture(scope="session")
def person(large_shards) -> Sample:
    """A person at 256 x 192 with every field. Do not write into it."""
    return Shards(large_shards).read(0)


@pytest.fixture(scope="session")
def names(large_shards) -> dict[str, list[str]]:
    """What the ids of `seg` and the rows of `keypoints` of these people are called."""
    return Shards(large_shards).names


@pytest.fixture(scope="session")
def large_shards(tmp_path_factory) -> Path:
    """Two people of 256 x 192 with every field: one from head to foot, one from the hips up. Do not write into it."""
    return indexed(PEOPLE / "large", tmp_path_factory.mktemp("large"))


@pytest.fixture(scope="session")
def small_shards(tmp_path_factory) -> Path:
    """Twelve people of 64 x 48 with every field, in three shards. Do not write into it."""
    return indexed(PEOPLE / "small", tmp_path_factory.mktemp("people"))


def indexed(shards: Path, folder: Path) -> Path:
    """The folder with copies of shards and their indices, which would look stale after a checkout if they were kept."""
    for number, shard in enumerate(sorted(shards.glob("*.tar"))):
        tarindex.load(Path(shutil.copy(shard, folder / f"{number:06d}.tar")))
    return folder


class Golden(dict):
    """Numbers that the official code gave, and the rules by which its weights and inputs were filled."""

    @staticmethod
    def wave(shape: tuple[int, ...], frequency: float) -> Tensor:
        """sin(frequency * k) for the flat index k, float32."""
        return torch.from_numpy(np.sin(frequency * np.arange(np.prod(shape)))).reshape(shape).float()

    @staticmethod
    def state(listed: list) -> dict[str, Tensor]:
        """The weights of a model, by our names."""
        state = {}
        for i, (name, shape) in enumerate(listed):
            values = 0.05 * np.sin(0.37 * np.arange(np.prod(shape)) + i) + name.endswith(("ln1.weight", "ln2.weight"))
            for official, ours in OURS.items():
                name = re.sub(official, ours, name)
            state[name] = torch.from_numpy(values).reshape(shape).float()
        return state

    @staticmethod
    def agrees(tensor: Tensor, told: dict, *, tolerance: float = 2e-5) -> bool:
        """Whether shape, mean, deviation and the first and last values are those that were told."""
        flat = tensor.detach().double().flatten()
        numbers = [flat.mean(), flat.std(), *flat[:6], *flat[-3:]]
        wanted = [told["mean"], told["std"], *told["first"], *told["last"]]
        return list(tensor.shape) == told["shape"] and np.allclose(numbers, wanted, rtol=0, atol=tolerance)


@pytest.fixture(scope="session")
def golden(shared_folder) -> Golden:
    path = shared_folder / "spec" / "sapiens1_golden.json"
    if not path.is_file():
        pytest.skip(f"there is no {path.name} beside the repository")
    return Golden(json.loads(path.read_text(encoding="utf-8")))
