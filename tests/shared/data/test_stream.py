"""The stream: what comes at a position depends on the seed and the position alone."""

import inspect
import logging
import os
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from shared.data.backdrops import Backdrops
from shared.data.crops import Crops
from shared.data.half import HalfBody
from shared.data.occlusion import Occlusion
from shared.data.order import Positions
from shared.data.photometric import Photometric
from shared.data.shards import DamagedSample, Shards, write_shards
from shared.data.stream import Stream, largest_share
from shared.data.view import Jitter, View
from shared.data.wanted import Wanted
from shared.vocabulary import Vocabulary

SIZE = (32, 24)


HALVES = {
    "upper_body": ["nose", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow"],
    "lower_body": ["left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"],
}


def vocabulary(names, groups: Mapping[str, list[str]] = MappingProxyType({})):
    there = {group: words for group, words in groups.items() if set(words) <= set(names)}
    return Vocabulary.parse({"entries": [{"name": name, "colour": [0, 0, 0]} for name in names], "groups": there})


def everything(shards):
    seg, points = (vocabulary(Shards(shards).names[field], HALVES) for field in ("seg", "keypoints"))
    return Wanted({"seg": seg, "depth": None, "normal": None, "keypoints": points})


def made(shards, **options):
    return Stream(
        shards, **{"size": SIZE, "wanted": everything(shards), "jitter": Jitter(), "photometric": Photometric(), **options}
    )


def same(a, b):
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and torch.equal(a[k].nan_to_num(-7), b[k].nan_to_num(-7)) for k in a
    )


@pytest.fixture
def halves(tmp_path):
    """A picture of two classes, half and half, and one of a single class."""
    seg = np.zeros((32, 24), np.uint8)
    seg[:, 12:] = 1
    samples = [(str(i), {"image": np.zeros((32, 24, 3), np.uint8), "seg": labels}) for i, labels in enumerate((seg, 0 * seg))]
    write_shards(samples, tmp_path, names={"seg": ["wall", "hat"]})
    return tmp_path


def test_views_of_nearly_one_class_are_drawn_again_but_not_for_ever(halves):
    wanted, far = Wanted({"seg": vocabulary(["wall", "hat"])}), {"scale": (2.0, 2.0), "degrees": 0.0, "shift": 0.5}
    shares = {}
    for largest in (1.0, 0.75):
        stream = Stream(halves, size=SIZE, wanted=wanted, jitter=Jitter(**far, largest=largest))
        found = [largest_share(stream[p]["seg"].numpy()) for p in range(120)]
        shares[largest] = np.array([share for p, share in enumerate(found) if stream.order[p] == 0])
        assert len(shares[largest]) == 60
        assert all(share == 1 for p, share in enumerate(found) if stream.order[p] == 1), "there is nothing else to see"
    assert (shares[1.0] > 0.75).mean() > 0.3
    assert (shares[0.75] > 0.75).mean() < 0.3 * (shares[1.0] > 0.75).mean(), "the tenth stands, whatever it shows"
    again = Stream(halves, size=SIZE, wanted=wanted, jitter=Jitter(**far, largest=0.75))
    assert torch.equal(again[5]["seg"], stream[5]["seg"])


def test_the_largest_share_is_of_labelled_pixels():
    assert largest_share(np.array([[0, 0, 1], [255, 255, 2]], np.uint8)) == 0.5
    assert largest_share(np.full((2, 2), 255, np.uint8)) == 1


def test_views_that_lose_too_many_points_are_drawn_again(tmp_path):
    points = np.array([[12, 16, 1]] * 2 + [[5, 6, 1]] * 6, np.float32)  # two in the middle, six off it
    write_shards(
        [("a", {"image": np.zeros((32, 24, 3), np.uint8), "keypoints": points})], tmp_path, names={"keypoints": list("abcdefgh")}
    )
    wanted, far = Wanted({"keypoints": vocabulary("abcdefgh")}), {"scale": (1.0, 2.0), "degrees": 0.0, "shift": 0.2}
    lost = {}
    for fewest in (0, 3, 99):  # of 8 known points 99 is all 8
        stream = Stream(tmp_path, size=SIZE, wanted=wanted, jitter=Jitter(**far, fewest=fewest))
        kept = np.array([(stream[p]["keypoints"][:, 2] > 0).sum().item() for p in range(40)])
        lost[fewest] = (kept < 8).mean()
    assert lost[0] > 0.3
    assert lost[3] == lost[99] < 0.1, "the tenth stands, whatever it shows"


def test_half_of_a_person_fills_the_view_and_labels_go_with_it(large_shards):
    halves = {}
    for upper in (1.0, 0.0):
        half = HalfBody(probability=1.0, upper=upper)
        stream = made(large_shards, size=(64, 48), framing="boxes", half_body=half, jitter=None, photometric=None)
        names = Shards(large_shards).names["keypoints"]  # those of the table, too
        seen = next(stream[p] for p in range(2) if stream.shards.key(stream.order[p]) == stream.shards.key(0))  # head to foot
        halves[upper] = {name: seen["keypoints"][names.index(name)] for name in ("nose", "left_ankle")}
        assert (seen["seg"] > 0).float().mean() > 0.1
    assert halves[1.0]["nose"][2] == halves[0.0]["left_ankle"][2] == 1
    assert halves[1.0]["left_ankle"][2] == halves[0.0]["nose"][2] == 0


def test_half_a_body_without_points_is_refused(small_shards):
    with pytest.raises(ValueError, match="half_body needs a task with keypoints"):
        Stream(small_shards, size=SIZE, wanted=Wanted({"depth": None}), half_body=HalfBody())


def test_what_is_covered_is_asked_for_all_the_same(small_shards):
    plain, covered = (made(small_shards, occlusion=occlusion)[3] for occlusion in (None, Occlusion()))
    assert not torch.equal(plain.pop("image"), covered.pop("image"))
    assert same(plain, covered)


def test_a_sample_has_one_shape_at_every_position(small_shards):
    stream = made(small_shards)
    wanted = {
        "image": ((3, *SIZE), torch.uint8),
        "seg": (SIZE, torch.uint8),
        "depth": (SIZE, torch.float32),
        "normal": ((3, *SIZE), torch.float32),
        "keypoints": ((388, 3), torch.float32),
        "box": ((4,), torch.float32),
        "position": ((), torch.int64),
    }
    for position in (0, 11, 12, 10**9):
        assert {name: (tuple(t.shape), t.dtype) for name, t in stream[position].items()} == wanted
        assert stream[position]["position"] == position


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(small_shards):
    first, again, other = made(small_shards), made(small_shards), made(small_shards, seed=1)
    for position in (5, 0, 30):
        assert same(first[position], again[position])
        assert not same(first[position], other[position])


def test_workers_change_nothing(small_shards):
    stream = made(small_shards)
    loads = [list(DataLoader(stream, batch_sampler=Positions(4, start=1, stop=4), num_workers=workers)) for workers in (0, 2)]
    assert len(loads[0]) == 3
    assert all(same(a, b) for a, b in zip(*loads))
    assert same({k: v[0] for k, v in loads[0][0].items()}, stream[4])


def test_two_processes_see_what_one_sees(small_shards):
    alone = next(iter(DataLoader(made(small_shards), batch_sampler=Positions(8, start=2, stop=3))))
    shares = [
        next(iter(DataLoader(made(small_shards), batch_sampler=Positions(4, start=2, stop=3, rank=rank, processes=2))))
        for rank in range(2)
    ]
    assert same({name: torch.cat([share[name] for share in shares]) for name in alone}, alone)


def test_no_global_generator_is_read(small_shards):
    states = []
    for seed in (1, 2):
        kept = np.random.get_state()  # noqa: NPY002
        with torch.random.fork_rng():
            np.random.seed(seed)  # noqa: NPY002
            torch.manual_seed(seed)
            states.append(made(small_shards)[3])
        np.random.set_state(kept)  # noqa: NPY002
    assert same(*states)


def test_without_changes_a_sample_is_what_was_packed(small_shards):
    stream = made(small_shards, size=(64, 48), jitter=None, photometric=None)
    for position in range(12):
        sample, packed = stream[position], Shards(small_shards).read(stream.order[position])
        assert np.array_equal(sample["image"].permute(1, 2, 0), packed["image"])
        assert np.array_equal(sample["seg"], packed["seg"])
        assert np.array_equal(sample["depth"], packed["depth"], equal_nan=True)
        assert np.array_equal(sample["normal"].permute(1, 2, 0), packed["normal"], equal_nan=True)
        assert np.allclose(sample["keypoints"], packed["keypoints"])


@pytest.fixture
def damaged(small_shards, tmp_path) -> Path:
    """The same shards with three bytes of one picture changed."""
    folder = tmp_path / "damaged"
    shutil.copytree(small_shards, folder)
    shard = folder / "000001.tar"
    with tarfile.open(shard) as tar:
        member = next(m for m in tar.getmembers() if m.name == "000006.jpg")
    times = shard.stat()
    with shard.open("r+b") as file:
        file.seek(member.offset_data + member.size // 2)
        file.write(b"\xff\xff\xff")
    os.utime(shard, ns=(times.st_atime_ns, times.st_mtime_ns))
    return folder


def test_a_damaged_sample_is_replaced_by_its_successor_with_a_warning(small_shards, damaged, caplog):
    plain = {"jitter": None, "photometric": None}
    whole, torn = made(small_shards, **plain), made(damaged, **plain)
    position = next(p for p in range(12) if torn.order[p] == 6)
    with caplog.at_level(logging.WARNING):
        seen = torn[position]
    successor = whole[position + 1]
    assert same({k: v for k, v in seen.items() if k != "position"}, {k: v for k, v in successor.items() if k != "position"})
    assert seen["position"] == position
    assert "000006" in caplog.text
    assert caplog.text.rstrip().endswith("the next sample takes its place")
    assert all(same(torn[p], whole[p]) for p in range(12) if p != position)


def test_shards_that_are_all_damaged_end_the_stream(damaged, tmp_path):
    only = write_shards([("one", Shards(damaged).read(0))], tmp_path / "one")[0]
    stream = Stream(only, size=SIZE)
    times = only.stat()
    content = bytearray(only.read_bytes())
    start = content.index(b"\xff\xd8\xff")  # where a JPEG begins
    content[start : start + 3] = b"XXX"
    only.write_bytes(content)
    os.utime(only, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(DamagedSample, match="100 samples in a row are damaged, the last is 'one'; pack the shards again"):
        stream[0]


def test_a_missing_field_is_filled_with_unknown(small_shards, tmp_path):
    whole = Shards(small_shards)
    people = [(whole.key(i), whole.read(i)) for i in range(2)]
    bare = [("bare", {"image": people[0][1]["image"]})]
    write_shards([*people, *bare], tmp_path, names=whole.names)
    stream = made(tmp_path)
    position = next(p for p in range(3) if stream.order[p] == 2)
    sample = stream[position]
    assert (sample["seg"] == 255).all()
    assert sample["depth"].isnan().all()
    assert sample["normal"].isnan().all()
    assert (sample["keypoints"][:, 2] == 0).all()
    assert sample["keypoints"].shape == (388, 3)
    assert {k: v.shape for k, v in sample.items()} == {k: v.shape for k, v in stream[position + 1].items()}


def test_boxes_show_the_person_and_fall_back_to_the_picture(small_shards, tmp_path):
    person = Shards(small_shards).read(0)
    person["box"] = np.array([10, 20, 30, 50], np.float32)
    lost = {**person, "box": np.full(4, np.nan, np.float32)}
    write_shards([("person", person), ("lost", lost)], tmp_path, names=Shards(small_shards).names)
    stream = made(tmp_path, framing="boxes", jitter=None, photometric=None)
    seen = {stream.order[p]: stream[p] for p in range(2)}
    wanted = View.box(person["box"], SIZE).to_view(person["keypoints"][:, :2])
    assert np.allclose(seen[0]["keypoints"][:, :2], wanted, atol=1e-3)
    wanted = View.whole((64, 48), SIZE).to_view(person["keypoints"][:, :2])
    assert np.allclose(seen[1]["keypoints"][:, :2], wanted, atol=1e-3)
    with pytest.raises(ValueError, match="no framing 'face'; choose whole or boxes"):
        made(tmp_path, framing="face")[0]


CHANGES = {
    "shards": None,
    "size": (48, 24),
    "wanted": Wanted({"depth": None}),
    "framing": "boxes",
    "half_body": HalfBody(probability=1.0, padding=1.0),
    "jitter": None,
    "backdrops": Backdrops(),
    "photometric": None,
    "occlusion": Occlusion(),
    "crops": Crops(local_hw=(16, 16)),
    "seed": 9,
    "window": 1,
    "buckets": ((48, 24), (24, 48)),
}
ELSEWHERE = {"cache", "group"}  # the first changes no sample, the second is about buckets


@pytest.mark.parametrize("argument", sorted(set(inspect.signature(Stream).parameters) - ELSEWHERE))
def test_every_argument_changes_the_stream(small_shards, argument):
    change = small_shards / "000000.tar" if argument == "shards" else CHANGES[argument]
    plain, changed = made(small_shards), made(**{"shards": small_shards, argument: change})
    assert not all(same(plain[p], changed[p]) for p in range(12))


def test_a_stream_of_pictures_alone_wants_nothing(small_shards):
    assert set(Stream(small_shards, size=SIZE)[0]) == {"image", "position", "box"}
