"""Crops: several views of one picture, large and small, none of which shows what lies beyond it."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from shared.data.crops import Crops
from shared.data.fields import warp
from shared.data.photometric import Photometric
from shared.data.stream import Stream
from shared.data.view import Jitter, View

SIZE, SMALL = (32, 24), (16, 12)
CROPS = Crops(local=3, local_hw=SMALL)


def rng(seed):
    return np.random.default_rng(seed)


def part(view, picture_hw):
    """x0 y0 x1 y1 of what a view shows, pixels of the picture, outer edges."""
    ends = view.to_source(np.array([[-0.5, -0.5], np.array(view.size[::-1]) - 0.5]))
    return np.r_[ends.min(0), ends.max(0)]


@pytest.mark.parametrize("picture_hw", [(64, 48), (48, 64), (20, 90), (7, 5)])
def test_no_view_shows_what_lies_beyond_the_picture(picture_hw):
    plain, white = View.whole(picture_hw, SIZE), {"image": np.full((*picture_hw, 3), 200, np.uint8)}
    for seed in range(40):
        for view in (CROPS.large(plain, picture_hw, rng(seed)), CROPS.small(plain, picture_hw, rng(seed))):
            x0, y0, x1, y1 = part(view, picture_hw)
            assert min(x0, y0) > -0.5 - 1e-6
            assert x1 < picture_hw[1] - 0.5 + 1e-6
            assert y1 < picture_hw[0] - 0.5 + 1e-6
            assert (warp(white, view)["image"] == 200).all()


def test_views_show_the_shares_that_were_asked_for_and_reach_every_corner():
    plain = View.whole((64, 48), SIZE)
    for draw, (least, most), size in ((CROPS.large, (0.5, 1.0), SIZE), (CROPS.small, (0.2, 0.7), SMALL)):
        views = [draw(plain, (64, 48), rng(seed)) for seed in range(300)]
        boxes = np.array([part(view, (64, 48)) for view in views])
        shares = (boxes[:, 2:] - boxes[:, :2]).prod(1) / (64 * 48)
        assert all(view.size == size for view in views)
        assert least <= shares.min() < least + 0.02
        assert most - 0.02 < shares.max() <= most + 1e-9
        assert np.mean([view.flip for view in views]) == pytest.approx(0.5, abs=0.1)
        assert boxes.min(0)[:2] == pytest.approx([-0.5, -0.5], abs=1.0)
        assert boxes.max(0)[2:] == pytest.approx([47.5, 63.5], abs=1.0)


def test_a_part_of_a_box_lies_in_the_box():
    plain = View.box(np.array([20.0, 10.0, 30.0, 25.0]), SIZE)
    outer = part(plain, (64, 48))
    for seed in range(40):
        inner = part(CROPS.small(plain, (64, 48), rng(seed)), (64, 48))
        assert (inner[:2] > outer[:2] - 1e-6).all()
        assert (inner[2:] < outer[2:] + 1e-6).all()


def test_a_picture_that_is_hardly_in_the_view_is_no_fault():
    plain = View.about((-500.0, -500.0), 1.0, SIZE)
    assert np.isfinite(CROPS.large(plain, (64, 48), rng(0)).matrix).all()


def made(shards, crops=CROPS, **options):
    return Stream(shards, size=SIZE, **{"photometric": Photometric(), "crops": crops, **options})


def test_a_sample_holds_two_large_views_and_the_small_ones(small_shards):
    sample = made(small_shards)[5]
    assert set(sample) == {"image", "other", "local", "position", "box"}
    assert {sample[name].dtype for name in ("image", "other", "local")} == {torch.uint8}
    assert sample["image"].shape == sample["other"].shape == (3, *SIZE)
    assert sample["local"].shape == (3, 3, *SMALL)
    views = [sample["image"], sample["other"]]
    assert not torch.equal(*views)
    assert len({tuple(view.flatten().tolist()) for view in sample["local"]}) == 3


def test_a_position_has_the_same_views_whatever_else_is_asked_for(small_shards):
    first, again, fewer = made(small_shards)[7], made(small_shards)[7], made(small_shards, Crops(local=1, local_hw=SMALL))[7]
    assert all(torch.equal(first[name], again[name]) for name in ("image", "other", "local"))
    assert all(torch.equal(first[name], fewer[name]) for name in ("image", "other"))
    assert torch.equal(first["local"][:1], fewer["local"])
    assert not torch.equal(made(small_shards, seed=1)[7]["other"], first["other"])


def test_colours_of_large_views_and_of_small_ones_are_changed_apart(small_shards):
    plain = made(small_shards, photometric=None)[3]
    large = made(small_shards)[3]
    small = made(small_shards, Crops(local=3, local_hw=SMALL, photometric=Photometric(probability=1.0)), photometric=None)[3]
    assert not torch.equal(large["other"], plain["other"])
    assert torch.equal(large["local"], plain["local"])
    assert torch.equal(small["other"], plain["other"])
    assert not torch.equal(small["local"], plain["local"])


def test_crops_are_of_what_jitter_left(small_shards):
    far = Jitter(scale=(3.0, 3.0), degrees=0.0, shift=0.0, flip=0.0)
    whole = Crops(share=(1.0, 1.0), local=1, local_hw=SIZE, local_share=(1.0, 1.0), flip=0.0)
    options = {"photometric": None, "jitter": far}
    sample, alone = made(small_shards, whole, **options)[2], Stream(small_shards, size=SIZE, **options)[2]
    for view in (sample["image"], sample["other"], sample["local"][0]):
        assert (view.int() - alone["image"].int()).abs().max() <= 1


CHANGES = {
    "share": (0.9, 0.9),
    "local": 2,
    "local_hw": (8, 8),
    "local_share": (0.3, 0.3),
    "flip": 1.0,
    "photometric": Photometric(probability=1.0),
}


@pytest.mark.parametrize("field", [field.name for field in fields(Crops)])
def test_every_option_changes_the_views(small_shards, field):
    changed = Crops(**{"local": 3, "local_hw": SMALL, field: CHANGES[field]})
    one, two = made(small_shards)[1], made(small_shards, changed)[1]
    assert not all(one[name].shape == two[name].shape and torch.equal(one[name], two[name]) for name in ("image", "other", "local"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"share": (0.5, 1.2)}, r"share=\(0\.5, 1\.2\) are no shares of a picture"),
        ({"local_share": (0.0, 0.5)}, r"local_share=\(0\.0, 0\.5\) are no shares"),
        ({"share": (0.7, 0.5)}, "are no shares"),
        ({"local": 0}, "local=0 is too small"),
    ],
)
def test_what_cannot_be_is_told(options, told):
    with pytest.raises(ValueError, match=told):
        Crops(**options)
