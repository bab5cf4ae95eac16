"""The validation set: in order, to the end, and the truth as it was packed."""

import inspect
import pickle
import shutil

import numpy as np
import pytest
import torch

from shared.data.fields import warp
from shared.data.indexed import Indexed
from shared.data.shards import DamagedSample, Shards, write_shards
from shared.data.view import View
from shared.data.wanted import Wanted
from shared.vocabulary import Vocabulary

SIZE = (32, 32)


def wanted(shards):
    seg = Vocabulary.parse({"entries": [{"name": name, "colour": [0, 0, 0]} for name in Shards(shards).names["seg"]]})
    return Wanted({"seg": seg, "depth": None, "normal": None})


def made(shards, **options):
    return Indexed(shards, **{"size": SIZE, "wanted": wanted(shards), **options})


def test_the_truth_is_never_resampled(small_shards):
    data, shards = made(small_shards), Shards(small_shards)
    assert len(data) == 12
    for i in (0, 5, 11):
        item, packed = data[i], shards.read(i)
        assert item.index == i
        assert item.source_hw == (64, 48)
        assert np.array_equal(item.source, packed["image"])
        for name in ("seg", "depth", "normal", "box"):
            np.testing.assert_array_equal(item.truth[name].numpy(), packed[name])
        assert "image" not in item.truth


def test_the_image_is_the_whole_picture_in_the_networks_frame(small_shards):
    item = made(small_shards)[3]
    assert item.image.shape == (3, *SIZE)
    assert item.image.dtype == torch.uint8
    assert np.array_equal(item.view.matrix, View.whole((64, 48), SIZE).matrix)
    assert np.array_equal(item.image.permute(1, 2, 0), warp({"image": item.source}, item.view)["image"])


def test_pictures_of_different_sizes_keep_them(person, names, tmp_path):
    sizes = [(64, 48), (30, 50), (7, 5)]
    write_shards(((str(i), warp(person, View.whole((256, 192), hw))) for i, hw in enumerate(sizes)), tmp_path, names=names)
    items = [made(tmp_path)[i] for i in range(3)]
    assert [item.source_hw for item in items] == sizes
    assert [tuple(item.truth["depth"].shape) for item in items] == sizes
    assert {item.image.shape for item in items} == {(3, *SIZE)}


def test_a_missing_field_is_unknown_at_the_pictures_own_size(person, names, tmp_path):
    write_shards([("whole", person), ("bare", {"image": np.zeros((9, 4, 3), np.uint8)})], tmp_path, names=names)
    truth = made(tmp_path)[1].truth
    assert truth["depth"].shape == (9, 4)
    assert truth["normal"].shape == (9, 4, 3)
    assert (truth["seg"] == 255).all()


@pytest.mark.parametrize("processes", [1, 2, 5, 20])
@pytest.mark.parametrize("batch", [1, 3, 12])
def test_every_picture_belongs_to_one_process_once(small_shards, processes, batch):
    data = made(small_shards)
    seen = [
        item.index for rank in range(processes) for items in data.batches(batch, rank=rank, processes=processes) for item in items
    ]
    assert sorted(seen) == list(range(12))
    assert all(len(items) <= batch for items in data.batches(batch))


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_that_leaves_nothing_is_a_sentence(small_shards, limit):
    with pytest.raises(ValueError, match=f"limit={limit} leaves no picture; it is at least 1"):
        Indexed(small_shards, size=(16, 16), wanted=Wanted({}), limit=limit)


def test_an_index_past_the_end_ends_a_loop(small_shards):
    data = made(small_shards, limit=2)
    assert [item.index for item in data] == [0, 1]
    for outside in (-1, 2):
        with pytest.raises(IndexError):
            data[outside]
    assert len(made(small_shards, limit=100)) == 12


CHANGES = {
    "shards": None,
    "size": ((16, 16), lambda d: d[0].image.shape),
    "wanted": (Wanted({"depth": None}), lambda d: sorted(d[0].truth)),
    "framing": ("boxes", lambda d: d[0].view.matrix.tolist()),
    "limit": (3, len),
    "lenient": (True, lambda d: d.lenient),
}


@pytest.mark.parametrize("argument", sorted(set(inspect.signature(Indexed).parameters) - {"cache"}))  # which changes no sample
def test_every_argument_changes_the_set(small_shards, argument):
    change, look = CHANGES[argument] or (small_shards / "000000.tar", len)
    assert look(made(small_shards)) != look(made(**{"shards": small_shards, argument: change}))


def test_a_damaged_picture_ends_a_set_unless_it_may_be_left_out(small_shards, tmp_path, caplog):
    for shard in small_shards.glob("*.tar"):
        shutil.copy(shard, tmp_path)
    strict, lenient = made(tmp_path), made(tmp_path, lenient=True)
    second = tmp_path / "000001.tar"
    second.write_bytes(second.read_bytes()[:1000])  # while it is in use
    with pytest.raises(DamagedSample, match=r"000001\.tar"):
        list(strict.batches(4))
    assert [[item.index for item in items] for items in lenient.batches(3)] == [[0, 1, 2], [3, 8, 9], [10, 11]]
    assert len(caplog.messages) == 4
    assert caplog.text.rstrip().endswith("it is left out of the scores")


def test_a_set_can_be_sent_to_another_process(small_shards):
    data = made(small_shards)
    data[0]
    assert torch.equal(pickle.loads(pickle.dumps(data))[4].image, data[4].image)
