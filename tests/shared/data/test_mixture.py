"""Shards of several data sets as one list: every sample is read by its own shard's names."""

import numpy as np
import pytest
import torch

from shared.data.mixture import Mixture
from shared.data.shards import Shards, write_shards
from shared.data.stream import Stream
from shared.data.wanted import Wanted
from shared.vocabulary import Vocabulary


def words(*names):
    return Vocabulary.parse({"entries": [{"name": name, "colour": [0, 0, 0]} for name in names]})


WANTED = Wanted({"keypoints": words("nose", "chin", "ear")})


def packed(folder, names, count=2, *, start=0, **fields):
    """Samples whose points say who they are: x is ten times the sample's number plus the point's."""
    image = np.zeros((40, 60, 3), np.uint8)
    samples = []
    for i in range(start, start + count):
        points = np.array([[10 * i + k, 5, 1] for k in range(len(names or "ab"))], np.float32)
        samples.append((f"{i}", {"image": image, "keypoints": points} | fields))
    write_shards(samples, folder, names={"keypoints": names} if names else {}, per_shard=count)
    return folder


def xs(sample):
    """x of each point of the model, None where it is unknown."""
    return [float(x) if v else None for x, _, v in sample["keypoints"]]


def test_every_sample_is_mapped_by_the_names_of_its_own_shard(tmp_path):
    folders = [packed(tmp_path / "a", ["nose", "chin"]), packed(tmp_path / "b", ["chin", "mouth", "nose", "ear"], start=2)]
    mixed = Mixture(folders, WANTED)
    assert len(mixed) == 4
    assert mixed.counts == [2, 2]
    assert [mixed.key(i) for i in range(4)] == ["0", "1", "2", "3"]
    assert [xs(mixed.read(i, only={"keypoints"})) for i in (0, 1, 2, 3)] == [
        [0, 1, None],
        [10, 11, None],
        [22, 20, 23],
        [32, 30, 33],
    ]


def test_shards_that_agree_lie_together_and_none_is_lost(tmp_path):
    names = (["nose", "chin"], ["chin", "nose"])
    folders = [packed(tmp_path / str(i), names[i % 2], start=2 * i) for i in range(5)]
    mixed = Mixture(folders, WANTED)
    assert len(mixed.parts) == 2
    assert [mixed.key(i) for i in range(10)] == ["0", "1", "4", "5", "8", "9", "2", "3", "6", "7"]


def test_where_all_agree_it_is_what_it_was(small_shards):
    shards, mixed = Shards(small_shards), Mixture(small_shards, Wanted({"depth": None}))
    assert mixed.counts == shards.counts
    assert [mixed.key(i) for i in range(len(mixed))] == [shards.key(i) for i in range(len(shards))]


def test_a_stream_deals_samples_of_both_and_their_shapes_agree(tmp_path):
    folders = [packed(tmp_path / "a", ["nose", "chin"]), packed(tmp_path / "b", ["ear"], start=2)]
    stream = Stream(folders, size=(40, 60), wanted=WANTED)
    seen = [stream[p] for p in range(4)]
    assert torch.stack([sample["keypoints"] for sample in seen]).shape == (4, 3, 3)
    known = {tuple(sample["keypoints"][:, 2].bool().tolist()) for sample in seen}
    assert known == {(True, True, False), (False, False, True)}


def test_a_part_may_lack_a_field_that_another_has_but_not_all_parts(tmp_path):
    depth = np.ones((40, 60), np.float32)
    folders = [packed(tmp_path / "a", ["nose", "chin"], depth=depth), packed(tmp_path / "b", ["ear"], start=2)]
    wanted = Wanted({"keypoints": WANTED.fields["keypoints"], "depth": None})
    stream = Stream(folders, size=(40, 60), wanted=wanted)
    assert sorted(stream[p]["depth"].isfinite().all().item() for p in range(4)) == [False, False, True, True]
    with pytest.raises(ValueError, match="no sample has the field 'normal' that the task needs"):
        Mixture(folders, Wanted({"keypoints": WANTED.fields["keypoints"], "normal": None}))


def test_a_part_that_the_model_knows_nothing_of_is_refused(tmp_path):
    folders = [packed(tmp_path / "a", ["nose", "chin"]), packed(tmp_path / "b", ["wheel"])]
    with pytest.raises(ValueError, match="share no name in 'keypoints': the data say 'wheel'"):
        Mixture(folders, WANTED)


def test_points_without_names_do_not_mix_with_named_ones(tmp_path):
    named, other, bare = (
        packed(tmp_path / "a", ["nose", "chin"]),
        packed(tmp_path / "b", ["chin", "ear"]),
        packed(tmp_path / "c", None),
    )
    for folders in ([named, other, bare], [bare, named, other], [named, bare]):
        with pytest.raises(ValueError, match=r"names its keypoints not at all, but|, but .* not at all"):
            Mixture(folders, WANTED)
