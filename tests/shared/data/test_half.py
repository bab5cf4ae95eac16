"""Half bodies: which half, how often, and what the view then shows."""

from collections.abc import Iterable
from dataclasses import fields, replace

import numpy as np
import pytest

from shared.data.half import HalfBody
from shared.data.view import View

SIZE = (64, 48)
GROUPS = {"upper_body": (0, 1, 2, 3, 4, 5), "lower_body": (6, 7, 8, 9), "face": (10,)}
PLAIN = View.whole((200, 100), SIZE)
ALWAYS = HalfBody(probability=1.0)


def person(known: Iterable[int] = range(11)) -> np.ndarray:
    """Six points above, four below, one of neither; those that are not known lie nowhere."""
    rng = np.random.default_rng(0)
    xy = rng.uniform([20, 0], [80, 80], (11, 2))
    xy[6:10, 1] += 100
    there = np.isin(np.arange(11), list(known))
    return np.where(there[:, None], np.c_[xy, np.ones(11)], 0).astype(np.float32)


def shown(half, points, seed=0, groups=GROUPS):
    """`plain`, or which half is in the middle of the view."""
    view = half(PLAIN, points, groups, np.random.default_rng(seed))
    if view is PLAIN:
        return "plain"
    return "upper" if view.to_source(np.array([SIZE[1] - 1, SIZE[0] - 1]) / 2)[1] < 90 else "lower"


def test_a_half_lies_about_the_mean_of_its_points_with_half_as_much_room_again():
    points = person()
    view = replace(ALWAYS, upper=0.0)(PLAIN, points, GROUPS, np.random.default_rng(0))
    xy = points[6:10, :2]
    assert view.to_view(xy.mean(0)) == pytest.approx((np.array(SIZE[::-1]) - 1) / 2, abs=1e-4)
    spanned = np.ptp(xy, axis=0) * view.scale / SIZE[::-1]
    assert spanned.max() == pytest.approx(1 / 1.5, rel=1e-5)


def test_three_in_ten_views_show_a_half_and_seven_in_ten_of_those_the_upper_one():
    seen = [shown(HalfBody(), person(), seed) for seed in range(1200)]
    assert seen.count("plain") / 1200 == pytest.approx(0.7, abs=0.04)
    assert seen.count("upper") / (1200 - seen.count("plain")) == pytest.approx(0.7, abs=0.08)


@pytest.mark.parametrize(
    ("known", "seen"),
    [
        (range(9), {"upper", "lower"}),
        (range(8), {"plain"}),  # fewer than nine
        ((0, 1, 2, 3, 4, 5, 6, 7, 10), {"upper"}),  # two points are no lower half
        ((0, 6, 7, 8, 9, 10), {"plain"}),
    ],
)
def test_a_half_needs_points(known, seen):
    assert {shown(ALWAYS, person(known), seed) for seed in range(40)} == seen


def test_where_one_half_is_too_poor_the_other_is_shown():
    some = replace(ALWAYS, least=4)
    assert {shown(some, person((0, 6, 7, 8)), seed) for seed in range(40)} == {"lower"}
    assert {shown(some, person((0, 6, 7, 10)), seed) for seed in range(40)} == {"plain"}


def test_a_table_without_halves_has_none():
    assert {shown(ALWAYS, person(), seed, groups={"face": tuple(range(11))}) for seed in range(40)} == {"plain"}


def test_a_point_that_is_not_finite_is_not_known():
    points = person()
    points[0] = np.nan, 5, 1
    points[1] = 5, 5, np.nan
    assert shown(ALWAYS, points, 0) != "plain"
    points[2, 0] = np.nan
    assert {shown(ALWAYS, points, seed) for seed in range(20)} == {"plain"}  # eight are left


def test_points_in_one_place_are_shown_as_one_pixel():
    points = person()
    points[:, :2] = 50
    view = ALWAYS(PLAIN, points, GROUPS, np.random.default_rng(0))
    assert np.isfinite(view.matrix).all()
    assert view.scale == pytest.approx(SIZE[1] / 1.5)


CHANGES = {"probability": 0.0, "least": 99, "upper": 0.0, "padding": 3.0}


@pytest.mark.parametrize("field", [f.name for f in fields(HalfBody)])
def test_every_option_changes_the_view(field):
    pairs = [
        [
            half(PLAIN, person(), GROUPS, np.random.default_rng(seed)).matrix
            for half in (ALWAYS, replace(ALWAYS, **{field: CHANGES[field]}))
        ]
        for seed in range(10)
    ]
    assert any(not np.allclose(plain, changed) for plain, changed in pairs)


def test_the_draw_that_follows_is_the_same_whatever_was_shown():
    after = []
    for half, points in ((ALWAYS, person()), (HalfBody(probability=0.0), person()), (ALWAYS, person(range(3)))):
        rng = np.random.default_rng(5)
        half(PLAIN, points, GROUPS, rng)
        after.append(rng.random())
    assert len(set(after)) == 1
