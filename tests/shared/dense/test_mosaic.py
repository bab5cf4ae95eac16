"""One answer from many views: close views stand where they belong, without seams, and the whole shows where they do not reach."""

import weakref

import numpy as np
import pytest
import torch

from shared.data.view import View
from shared.dense import mosaic
from shared.dense.frame import settle
from shared.dense.mosaic import Close, compose, tiles
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.seg.task import Seg

SIZE = (24, 18)
HW = (70, 50)


def world(y, x, channels):
    """Smooth maps over a picture's plane: (C,n,m)."""
    y, x = torch.as_tensor(y).double()[:, None] / 20, torch.as_tensor(x).double()[None] / 20
    return torch.stack([torch.sin((k % 3 + 1) * y / 2 + k) + torch.cos((k % 4 + 1) * x / 3 - k) for k in range(channels)]).float()


def seen(view, channels, stride=1):
    """What a perfect network answers for a view."""
    (H, W), m = view.size, view.matrix
    y, x = (stride * (np.arange(n // stride) + 0.5) - 0.5 for n in (H, W))
    return world((y - m[1, 2]) / m[1, 1], (x - m[0, 2]) / m[0, 0], channels)


def test_tiles_cover_every_pixel_and_their_weights_add_up_to_one_or_more():
    close = tiles(HW, SIZE, scale=1.0, overlap=0.25)
    total = torch.stack([piece.weight((0, HW[0]), HW) for piece in close]).sum(0)
    assert total.min() > 1 - 1e-5
    assert total.max() < 4.0 + 1e-5
    assert all(piece.weight((0, HW[0]), HW).max() <= 1 for piece in close)


def test_neighbours_that_overlap_by_just_the_ramp_add_up_to_one():
    close = tiles((24, 58), (24, 16), overlap=0.125)  # four tiles whose neighbours share two pixels of 16
    assert len(close) == 4
    total = torch.stack([piece.weight((0, 24), (24, 58)) for piece in close]).sum(0)
    torch.testing.assert_close(total, torch.ones(24, 58))


@pytest.mark.parametrize("hw", [SIZE, (10, 10), (24, 5), (1, 1)])
def test_a_picture_that_one_tile_would_see_has_none(hw):
    assert tiles(hw, SIZE) == []


def test_a_tile_at_full_resolution_sees_the_pixels_themselves():
    view = tiles(HW, SIZE, overlap=0.25)[0].view
    np.testing.assert_allclose(view.matrix, [[1, 0, 0], [0, 1, 0]])


def test_sides_are_the_outer_edges():
    assert Close(View.stretch((40, 30), (24, 18)), 1).sides == pytest.approx((-0.5, -0.5, 29.5, 39.5))


@pytest.mark.parametrize("task", [Seg(), Depth(), Normal()], ids=lambda t: t.name)
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_tiles_of_a_world_are_the_world(task, scale):
    close, view = tiles(HW, SIZE, scale=scale), View.whole(HW, SIZE)
    found = compose([task], {task.name: seen(view, task.channels)}, view, close, perfect(task), HW)[task.name]
    truth = task.decode(world(range(HW[0]), range(HW[1]), task.channels)[None])[0]
    truth = truth.movedim(0, -1) if truth.dim() == 3 else truth
    if task.name == "seg":
        assert (found == truth).float().mean() > 0.97  # of two smooth maps the larger may differ where they cross
    else:
        torch.testing.assert_close(found, truth, atol=0.02 if scale == 1 else 0.06, rtol=0)


def perfect(*tasks):
    return lambda views: [{task.name: seen(view, task.channels) for task in tasks} for view in views]


def test_without_close_views_it_is_the_whole():
    raw, view = torch.randn(3, 12, 9, generator=torch.Generator().manual_seed(0)), View.whole(HW, SIZE)
    found = compose([Normal()], {"normal": raw}, view, [], perfect(), HW)["normal"]
    torch.testing.assert_close(found, settle(Normal(), raw, view, HW))


def test_where_close_views_do_not_reach_the_whole_shows_through():
    task, view = Depth(), View.whole(HW, SIZE)
    close = [Close(View.about((25, 35), 1.0, (20, 20)), 5)]
    flat, high = torch.zeros(1, *SIZE), lambda views: [{"depth": torch.full((1, 20, 20), 7.0)} for _ in views]
    whole = compose([Absolute()], {"depth": flat}, view, close, high, HW)["depth"]
    assert whole[35, 25] == 7
    assert whole[5, 5] == 0
    assert max(whole.diff(dim=axis).abs().max() for axis in (0, 1)) < 7 * 0.31  # 1.5 / ramp is the steepest
    assert torch.equal(compose([task], {"depth": flat}, view, close, high, HW)["depth"], torch.zeros(HW))  # relative: fitted


class Absolute(Depth):
    @property
    def relative(self) -> bool:  # type: ignore[override]
        return False


def test_relative_depth_of_tiles_comes_in_the_scale_of_the_whole():
    task, view = Depth(), View.whole(HW, (70, 50))
    own = [(0.3, 2.0), (5.0, -1.0), (1.0, 0.0), (0.01, 4.0)]

    def stretched(views):
        numbers = iter(own * len(views))
        return [{"depth": a * seen(v, 1) + b} for v, (a, b) in zip(views, numbers)]

    found = compose([task], {"depth": seen(view, 1)}, view, tiles(HW, SIZE), stretched, HW)["depth"]
    torch.testing.assert_close(found, world(range(HW[0]), range(HW[1]), 1)[0], atol=0.02, rtol=0)


def test_a_tile_whose_depth_runs_against_the_whole_says_its_mean_only():
    task, view = Depth(), View.whole(HW, (70, 50))
    close = [Close(View.about((25, 35), 1.0, (20, 20)), 1)]
    found = compose([task], {"depth": seen(view, 1)}, view, close, lambda v: [{"depth": -seen(one, 1)} for one in v], HW)["depth"]
    assert found[30:40, 20:30].std() < 1e-5


def test_views_are_answered_when_they_come_and_forgotten_after_them(monkeypatch):
    """With tiles row by row no more than two rows of answers live at once, and one that is being made."""
    alive, most = weakref.WeakSet(), 0

    class Raw(dict):
        __hash__ = object.__hash__  # type: ignore[assignment]

    def watched(views):
        nonlocal most
        assert len(views) <= mosaic.TOGETHER
        found = [Raw(normal=seen(view, 3)) for view in views]
        alive.update(raw["normal"] for raw in found)
        most = max(most, len(alive))
        return found

    hw = (300, 50)
    close = tiles(hw, SIZE)
    view = View.whole(hw, SIZE)
    compose([Normal()], {"normal": seen(view, 3)}, view, close, watched, hw)
    columns = len({piece.sides[0] for piece in close})
    assert len(close) / columns > 6
    assert most <= 3 * columns


@pytest.mark.parametrize("strip", [1, 500])
def test_strips_are_one_pass(monkeypatch, strip):
    tasks = [Seg(), Normal()]
    view = View.whole(HW, SIZE)

    def make():
        return compose(tasks, perfect(*tasks)([view])[0], view, tiles(HW, SIZE), perfect(*tasks), HW)

    at_once = make()
    monkeypatch.setattr(mosaic, "STRIP", strip)
    in_strips = make()
    torch.testing.assert_close(in_strips["normal"], at_once["normal"], atol=1e-5, rtol=0)  # sums of few numbers round otherwise
    assert (in_strips["seg"] == at_once["seg"]).float().mean() > 0.999
