"""Buckets: a batch has one size for all processes, everybody comes once in a pass, and any position is there at once."""

import json

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from shared.data import tarindex
from shared.data.blend import Blend
from shared.data.buckets import Buckets, nearest
from shared.data.order import Positions
from shared.data.shards import Shards, write_shards
from shared.data.stream import Stream

SIZES = ((16, 16), (24, 8), (8, 24))
COUNTS = [5, 1, 9, 4, 7, 2, 8]
N = sum(COUNTS)
HW = np.random.default_rng(0).choice([(50, 50), (90, 40), (30, 99)], N, p=[0.6, 0.3, 0.1])


def order(group=4, window=2, seed=0, hw=HW, counts=COUNTS):
    return Buckets(counts, hw, sizes=SIZES, group=group, window=window, seed=seed)


def test_a_picture_has_the_size_of_the_nearest_aspect():
    hw = np.array([(10, 10), (300, 100), (100, 300), (14, 10), (4000, 2100), (0, 0)])
    assert nearest(hw, SIZES).tolist() == [0, 1, 2, 0, 1, 0]
    assert nearest(hw[:, ::-1], SIZES).tolist() == [0, 2, 1, 0, 2, 0], "upright and lying are alike"


@pytest.mark.parametrize("group", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("window", [1, 3, 100])
def test_the_positions_of_a_group_share_the_size_of_their_pictures(group, window):
    dealt = order(group, window)
    which = nearest(HW, SIZES)
    for first in range(0, 6 * N // group * group, group):
        sizes = {dealt.size(position) for position in range(first, first + group)}
        assert len(sizes) == 1
        assert {SIZES[which[dealt[position]]] for position in range(first, first + group)} == sizes


@pytest.mark.parametrize("group", [1, 3, 7])
def test_nobody_is_left_out_and_nobody_comes_more_often(group):
    """What fills no group is the beginning of the next pass."""
    dealt, which = order(group), nearest(HW, SIZES)
    seen = [dealt[position] for position in range(group * (dealt._steps(10)))]
    for k in range(len(SIZES)):
        mine, members = [i for i in seen if which[i] == k], np.flatnonzero(which == k)
        assert len(mine) == 10 * len(members) // group * group, "all of ten passes but what fills no group"
        times = np.bincount(mine, minlength=N)[members]
        assert times.max() <= 10
        assert times.min() >= 10 - -(-group // len(members))


def test_any_position_at_once_is_the_position_in_sequence():
    sequential = order(seed=3)
    wanted = [(sequential[p], sequential.size(p)) for p in range(4 * N)]
    scattered = order(seed=3)
    for position in np.random.default_rng(0).permutation(4 * N):
        assert (scattered[position], scattered.size(position)) == wanted[position]
    far = [(order(seed=3)[10**12 + p], order(seed=3).size(10**12 + p)) for p in range(4)]
    assert far == [(scattered[10**12 + p], scattered.size(10**12 + p)) for p in range(4)]


def test_passes_and_seeds_differ_and_sizes_alternate():
    first, second, other = ([dealt[p] for p in range(N)] for dealt in (order(1), order(1), order(1, seed=1)))
    assert first == second
    assert first != other
    sizes = [order(1, window=100).size(p) for p in range(N)]
    assert sizes != sorted(sizes)
    assert [order(1)[p] for p in range(N, 2 * N)] != first


def test_a_size_without_pictures_never_comes_and_fewer_than_a_group_wait():
    hw = np.tile([(50, 50)], (N, 1))
    hw[7] = (90, 30)
    dealt = order(5, hw=hw)
    turns = [position for position in range(0, 12 * N // 5 * 5, 5) if dealt.size(position) == (24, 8)]
    assert len(turns) == 2, "its fifth and its tenth pass"
    assert {dealt[position] for position in range(turns[0], turns[0] + 5)} == {7}
    assert (8, 24) not in {dealt.size(position) for position in range(0, 10 * N, 5)}


def test_groups_stay_near_their_shards():
    counts, hw = [10] * 40, np.tile([(50, 50), (90, 40)], (200, 1))
    dealt = order(4, window=4, hw=hw, counts=counts)
    shards, last = dealt.order.windows(0)
    for window in range(9):
        ends = dealt._pass(0)[1]
        near = set(shards[max(0, (window - 1) * 4) : last[window] + 1])
        for position in range(4 * (ends[window - 1] if window else 0), 4 * ends[window]):
            assert dealt[position] // 10 in near


@pytest.mark.parametrize("sizes", [(), ((8, 8), (8, 8)), ((0, 8),), True, (8, 8), "8x8"])
def test_what_is_no_size_is_refused(sizes):
    with pytest.raises(ValueError, match="are no sizes to sort pictures by; give different"):
        Buckets(COUNTS, HW, sizes=sizes, group=1)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Thirty pictures, square, upright and lying, each of one grey, in three shards."""
    folder = tmp_path_factory.mktemp("mixed")
    shapes = [(20, 20), (30, 12), (12, 30)]
    write_shards([(f"{i:02d}", {"image": np.full((*shapes[i % 3], 3), 8 * i, np.uint8)}) for i in range(30)], folder, per_shard=10)
    return folder


def test_the_index_knows_how_large_pictures_are_and_an_older_one_is_built_anew(mixed):
    hw = Shards(mixed, sized=True).hw
    assert hw is not None
    assert hw[:3].tolist() == [[20, 20], [30, 12], [12, 30]]
    path = mixed / "000000.tar.index.json"
    content = json.loads(path.read_text())
    content["samples"] = [row[:3] for row in content["samples"]]
    path.write_text(json.dumps(content))
    assert Shards(mixed).hw is None
    assert [entry.hw for entry in tarindex.load(mixed / "000000.tar").samples] == [None] * 10, "who does not ask needs no other"
    np.testing.assert_array_equal(Shards(mixed, sized=True).hw, hw)
    assert len(json.loads(path.read_text())["samples"][0]) == 4


def test_batches_of_two_processes_have_one_size_and_hold_what_one_process_sees(mixed):
    stream = Stream(mixed, size=(16, 16), buckets=SIZES, group=4)
    shapes = set()
    for step in range(12):
        (whole,) = DataLoader(stream, batch_sampler=Positions(4, start=step, stop=step + 1))
        halves = [
            next(iter(DataLoader(stream, batch_sampler=Positions(2, start=step, stop=step + 1, rank=rank, processes=2))))
            for rank in (0, 1)
        ]
        assert torch.equal(whole["image"], torch.cat([half["image"] for half in halves]))
        shapes.add(tuple(whole["image"].shape))
    assert shapes == {(4, 3, *size) for size in SIZES}


def test_pictures_fill_their_view(mixed):
    """Nothing black beside a picture whose aspect is that of its size; at one size for all there is."""

    def black(stream) -> float:
        return float(np.mean([(stream[p]["image"].sum(0) == 0).float().mean().item() for p in range(30)]))

    assert black(Stream(mixed, size=(16, 16), buckets=((16, 16), (30, 12), (12, 30)))) < 0.05 < black(Stream(mixed, size=(16, 16)))


def test_data_sets_are_dealt_in_groups(mixed):
    sources = [{"shards": str(mixed), "weight": 2.0}, {"shards": str(mixed / "000001.tar"), "weight": 1.0}]
    blend = Blend(sources, size=(16, 16), buckets=SIZES, group=4)
    for first in range(0, 48, 4):
        assert len({tuple(blend[position]["image"].shape) for position in range(first, first + 4)}) == 1
    assert [blend.proportions[number][0] for number in range(12)].count(1) == 4


def test_parts_of_pictures_have_no_aspect_to_sort_by(mixed):
    with pytest.raises(ValueError, match="buckets sort pictures by their aspect, but framing='boxes'"):
        Stream(mixed, size=(16, 16), buckets=SIZES, framing="boxes")
