"""Data sets are mixed exactly, whatever their sizes, and a mixture is as repeatable as one of them."""

import numpy as np
import pytest
import torch

from shared.data.blend import Blend, Proportions
from shared.data.shards import write_shards
from shared.data.stream import Stream
from shared.data.wanted import Wanted


def write(folder, grey: int, count: int, **fields):
    image = np.full((8, 8, 3), grey, np.uint8)
    write_shards([(str(i), {"image": image, **fields}) for i in range(count)], folder)
    return str(folder)


@pytest.fixture
def three(tmp_path):
    """Many white pictures with depth, few black ones with labels, one grey one with both."""
    depth, seg = np.ones((8, 8), np.float32), np.zeros((8, 8), np.uint8)
    return [
        {"shards": write(tmp_path / "white", 255, 50, depth=depth), "weight": 3},
        {"shards": write(tmp_path / "black", 0, 5, seg=seg), "weight": 1.5},
        {"shards": write(tmp_path / "grey", 128, 1, depth=depth, seg=seg), "weight": 0.5},
    ]


BOTH = Wanted({"depth": None, "seg": None})


@pytest.mark.parametrize("weights", [(1,), (1, 1), (3, 1.5, 0.5), (0.7, 0.2, 0.1), (1, 1000), (5, 4, 3, 2, 1)])
def test_every_stretch_has_the_shares_that_were_asked_for(weights):
    proportions = Proportions(weights)
    dealt = [proportions[position] for position in range(3000)]
    for source, weight in enumerate(weights):
        mine = np.array([k == source for k, _ in dealt])
        owed = np.arange(1, 3001) * weight / sum(weights)
        assert np.abs(mine.cumsum() - owed).max() <= 2
        assert [inner for k, inner in dealt if k == source] == list(range(mine.sum())), "none is left out or comes twice"


def test_shares_are_exact_after_a_long_time():
    proportions, far = Proportions((0.1, 0.2)), 3 * 10**17
    dealt = [proportions[position] for position in range(far, far + 300)]
    assert sum(source == 0 for source, _ in dealt) == 100
    assert min(inner for source, inner in dealt if source == 0) == far // 3


@pytest.mark.parametrize("weights", [(), (1, 0), (-1,), (float("nan"),), (float("inf"), 1)])
def test_what_is_no_share_is_refused(weights):
    with pytest.raises(ValueError, match="is no share; give every data set one above 0"):
        Proportions(weights)


def test_pictures_come_in_the_ratio_of_the_weights(three):
    mixture = Blend(three, size=(8, 8), wanted=BOTH)
    greys = [int(mixture[position]["image"].float().mean()) for position in range(100)]
    assert [greys.count(grey) for grey in (255, 0, 128)] == [60, 30, 10]
    assert mixture.samples == 56
    assert mixture.replaced == 0
    assert len(set(greys[:10])) == 3, "in every batch, not one after the other"


def test_samples_have_one_shape_and_their_own_position(three):
    mixture = Blend(three, size=(8, 8), wanted=BOTH)
    for position in (0, 1, 2, 10**9):
        sample = mixture[position]
        assert set(sample) == {"image", "depth", "seg", "box", "position"}
        assert sample["position"] == position
    white = next(sample for sample in map(mixture.__getitem__, range(20)) if sample["image"].min() == 255)
    assert (white["seg"] == 255).all()
    assert (white["depth"] == 1).all()


def test_the_same_seed_gives_the_same_mixture(three):
    one, two, other = (Blend(three, size=(8, 8), wanted=BOTH, seed=seed) for seed in (1, 1, 2))
    orders = [[stream.order[p] for p in range(20)] for mixture in (one, two, other) for stream in mixture.streams[:1]]
    assert orders[0] == orders[1] != orders[2]
    assert all(torch.equal(one[p]["image"], two[p]["image"]) for p in range(30))


def test_one_data_set_is_the_stream_of_it(three):
    alone = Blend(three[:1], size=(8, 8), wanted=Wanted({"depth": None}), seed=4)
    stream = Stream(three[0]["shards"], size=(8, 8), wanted=Wanted({"depth": None}), seed=4)
    for position in range(5):
        assert all(torch.equal(alone[position][name].nan_to_num(), value.nan_to_num()) for name, value in stream[position].items())


def test_what_no_data_set_has_is_refused(three):
    with pytest.raises(ValueError, match="no sample of any data set has the field 'normal' that the task needs"):
        Blend(three, size=(8, 8), wanted=Wanted({"normal": None, "depth": None}))
    with pytest.raises(ValueError, match="is no data set to mix; write dict"):
        Blend([{"shards": three[0]["shards"], "wieght": 2}], size=(8, 8))


def test_it_can_be_told_what_is_read(three):
    mixture = Blend(three[:2], size=(8, 8))
    assert mixture.reading(3) == "nothing yet or nothing yet"
