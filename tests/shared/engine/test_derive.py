"""Data with depth alone train and score normals where the config says that they may be computed."""

from pathlib import Path

import pytest
import torch

from shared.data.shards import Shards, write_shards
from shared.data.surface import normals
from shared.engine import data
from tasks.normal.task import Normal

HW = (64, 48)


@pytest.fixture(scope="module")
def depth_only(small_shards, tmp_path_factory) -> Path:
    folder, shards = tmp_path_factory.mktemp("depth only"), Shards(small_shards)
    people = (shards.read(i) for i in range(3))
    kept = ({name: person[name] for name in ("image", "depth", "intrinsics", "box")} for person in people)
    write_shards(((f"{i}", sample) for i, sample in enumerate(kept)), folder)
    return folder


def test_normals_of_depth_are_trained_and_scored_on_request(tiny, depth_only, tmp_path):
    shards = f"train.shards={depth_only}", f"val={{'shards': '{depth_only}'}}", "jitter=None", "photometric=None"
    with pytest.raises(ValueError, match="no sample has the field 'normal' that the task needs"):
        data.training(tiny("normal", tmp_path, *shards), (Normal(),), HW)
    config = tiny("normal", tmp_path, *shards, "derive=['normal']")
    stream, valid = data.training(config, (Normal(),), HW), data.validation(config, (Normal(),), HW)
    sample = stream[0]
    assert sample.keys() == {"image", "box", "normal", "position"}
    cost = Normal().loss(torch.randn(1, 3, 8, 6), {"normal": sample["normal"][None]})
    assert all(term > 0 for term in cost.values())
    assert valid is not None
    person = Shards(depth_only).read(0)
    wanted = torch.from_numpy(normals(person["depth"], person["intrinsics"]))
    torch.testing.assert_close(valid[0].truth["normal"], wanted, equal_nan=True)
