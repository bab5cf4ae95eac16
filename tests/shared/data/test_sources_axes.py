"""Axes of normals: all forty-eight can be said, and on rendered people a wrong choice shows and the right one is named."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from shared.data.shards import Shards
from shared.data.sources.axes import EVERY, TEXTS, Axes, judge, parse
from shared.data.sources.source import Misread


def test_axes_go_there_and_back_and_all_differ(wall):
    assert len({str(axes) for axes in EVERY}) == len(EVERY) == 48
    for axes in EVERY:
        np.testing.assert_array_equal(axes.of(axes.back(wall.normal)), wall.normal)
    assert TEXTS["z,-x,y"].of(np.array([1, 2, 3])).tolist() == [3, -1, 2]
    assert str(Axes()) == "x,y,z"


@pytest.mark.parametrize("wrong", ["x,y", "x,x,y", "r,g,b", ""])
def test_only_three_axes_are_axes(wrong):
    with pytest.raises(argparse.ArgumentTypeError, match="must be x, y and z in some order"):
        parse(wrong)
    assert parse(" +x, -y,z") == TEXTS["x,-y,z"]


def test_forgotten_axes_show_on_people_and_the_right_ones_are_named(small_shards, large_shards):
    for shards in (Shards(small_shards), Shards(large_shards)):
        for number in range(0, len(shards), 2):
            person = shards.read(number, only={"normal", "depth", "intrinsics"})
            truth = {"depth": person["depth"], "intrinsics": person["intrinsics"]}
            judge(person["normal"], Axes(), Path("normal.exr"), **truth)
            for text in ("x,-y,-z", "x,-y,z", "-x,y,z", "z,y,x"):
                with pytest.raises(Misread, match=rf"normal\.exr: its normals differ .* with --axes={text}$"):
                    judge(TEXTS[text].back(person["normal"]), Axes(), Path("normal.exr"), **truth)


def test_nothing_is_said_of_few_pixels_or_of_nobody(wall):
    few = np.full_like(wall.depth, np.nan)
    few[5:10, 5:10] = wall.depth[5:10, 5:10]
    judge(-wall.normal, Axes(), Path("a"), depth=few, intrinsics=wall.intrinsics)
    judge(np.full_like(wall.normal, np.nan), Axes(), Path("a"), depth=None, intrinsics=None)
