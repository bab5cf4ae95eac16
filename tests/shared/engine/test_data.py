"""From a config to data: one data set or several, and a run is of the ones that it began with."""

import pytest
import torch
from safetensors.torch import load_file

from shared.data.blend import Blend
from shared.data.stream import Stream
from shared.engine import data
from shared.engine.hooks import saved
from shared.engine.launch import train
from tasks.seg.task import Seg


def mixed(config: dict, weights: dict) -> dict:
    return {**config, "train": {"shards": [{"shards": str(shards), "weight": weight} for shards, weight in weights.items()]}}


def test_a_run_trains_on_a_mixture_and_stays_with_it(tiny, tmp_path, small_shards, large_shards):
    plain = tiny("seg", tmp_path / "seg", "iters=2", "save_every=1")
    config = mixed(plain, {small_shards: 1.0, large_shards: 3.0})
    stream = data.training(config, [Seg()], (64, 48))
    assert isinstance(stream, Blend)
    assert [stream.proportions[p][0] for p in range(8)].count(1) == 6
    end = load_file(train(config))
    assert all(tensor.isfinite().all() for tensor in end.values())
    alone = load_file(train({**plain, "work_dir": str(tmp_path / "alone")}))
    assert not all(torch.equal(end[name], alone[name]) for name in end)
    saved(tmp_path / "seg")[-1].unlink()
    with pytest.raises(ValueError, match=r"holds a run with other settings \(train\.shards: "):
        train(mixed(plain, {small_shards: 1.0, large_shards: 2.0}))


@pytest.mark.parametrize("several", [False, True])
def test_shards_by_name_are_one_data_set(tiny, tmp_path, small_shards, several):
    config = tiny("seg", tmp_path)
    config["train"]["shards"] = [str(small_shards / f"00000{i}.tar") for i in range(3)] if several else str(small_shards)
    stream = data.training(config, [Seg()], (64, 48))
    assert isinstance(stream, Stream)
    assert stream.samples == 12
