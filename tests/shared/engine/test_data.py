"""From a config to data: one data set or several, and a run is of the ones that it began with."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from shared.data.blend import Blend
from shared.data.remote import NEEDS
from shared.data.shards import write_shards
from shared.data.stream import Stream
from shared.engine import data
from shared.engine.launch import train
from shared.engine.states import saved
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


def test_shards_behind_addresses_are_kept_where_the_config_says(tiny, tmp_path, small_shards, monkeypatch):
    memory = pytest.importorskip("fsspec").filesystem("memory")  # in memory instead of a server
    monkeypatch.setitem(NEEDS, "memory", "fsspec")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    memory.put(str(small_shards), "/people", recursive=True)
    try:
        cache = {"type": "shared.data.cache.Cache", "folder": str(tmp_path / "kept"), "gigabytes": 1.0}
        config = {**tiny("seg", tmp_path), "train": {"shards": "memory://people/"}, "val": {"shards": "memory://people/"}}
        for count, kept in ((0, None), (2, cache)):
            valid = data.validation({**config, "cache": kept}, [Seg()], (64, 48))
            assert valid is not None
            assert valid[0].source.shape == valid[11].source.shape
            assert len(list((tmp_path / "kept").glob("*.tar"))) == count
        assert data.training({**config, "cache": cache}, [Seg()], (64, 48)).samples == 12
        with pytest.raises(ValueError, match="shuffled together"):
            data.training({**config, "cache": {**cache, "gigabytes": 1e-6}}, [Seg()], (64, 48))
    finally:
        memory.rm("/people", recursive=True)


def test_a_secret_in_an_address_is_refused_before_anything_is_written(tiny, tmp_path):
    with pytest.raises(ValueError, match="name or password"):
        train(tiny("seg", tmp_path / "run", "train.shards=https://ann:secret@host/x.tar"))
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]


def test_pretraining_sees_pictures_at_their_own_aspect_and_goes_on_where_it_was(tiny, tmp_path):
    shapes = [(40, 40), (60, 30), (30, 60)]
    noise = np.random.default_rng(0)
    pictures = [(str(i), {"image": noise.integers(0, 255, (*shapes[i % 3], 3), np.uint8)}) for i in range(12)]
    write_shards(pictures, tmp_path / "pictures")
    sizes = ((32, 32), (48, 32), (32, 48))
    options = (f"train.shards={tmp_path / 'pictures'}", f"buckets={sizes}", "backbone.image_hw=(32,32)", "preview=2", "val_every=3")
    options = (*options, "save_every=2", "iters=6")
    config = tiny("pretrain", tmp_path / "run", *options)
    stream = data.training(config, (), (32, 32))
    seen = [tuple(stream[position]["image"].shape[1:]) for position in range(12)]
    assert seen[::2] == seen[1::2], "batches of two"
    assert set(seen) == {*sizes}
    joined = data.training(config, (), (32, 32), processes=2)
    assert len({tuple(joined[position]["image"].shape) for position in range(4)}) == 1
    end = load_file(train(config))
    begun = {**config, "work_dir": str(tmp_path / "again")}
    train(begun)
    saved(tmp_path / "again")[-1].unlink()
    (tmp_path / "again" / "model.safetensors").unlink()
    again = load_file(train(begun))
    assert all(torch.equal(end[name], again[name]) for name in end)
    other = load_file(train({**config, "work_dir": str(tmp_path / "other"), "buckets": None}))
    assert not all(torch.equal(end[name], other[name]) for name in end)


def test_a_cache_that_is_none_is_a_sentence(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"cache='/scratch' keeps nothing; write \{'type'"):
        data.training(tiny("seg", tmp_path, "cache=/scratch"), [Seg()], (64, 48))
