"""Beside every number there is something to look at."""

from typing import Any

import numpy as np
import pytest
import torch

from shared import checkpoint
from shared.build import build
from shared.data.photo import read_photo
from shared.engine import data
from shared.engine.launch import describe
from shared.engine.preview import HEIGHT, answers, draw, masked
from shared.render import UNKNOWN_GREY
from tasks.depth.task import Depth
from tasks.seg.task import Seg

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scene(tiny, trained, small_shards, tmp_path_factory):
    """A model, its training stream and its validation set."""
    config = tiny("joint", tmp_path_factory.mktemp("scene"), f"val={{'shards': '{small_shards}'}}")
    model: Any = checkpoint.load(trained).model
    return model, data.training(config, model.tasks, (64, 48)), data.validation(config, model.tasks, (64, 48))


def test_a_row_holds_the_picture_and_answer_and_truth_of_each_task(scene):
    model, _, valid = scene
    (row,) = answers(model, [valid[0]], CPU)
    assert len(row) == 1 + 2 * 4
    assert all(picture.shape == (64, 48, 3) and picture.dtype == np.uint8 for picture in row)
    assert np.array_equal(row[0], valid[0].source)


def test_points_stand_beside_the_points_that_depth_and_camera_tell(tiny, small_shards, tmp_path):
    config = tiny("pointmap", tmp_path, f"val={{'shards': '{small_shards}'}}")
    model: Any = build(describe(config))
    valid = data.validation(config, model.tasks, (64, 48))
    assert valid is not None
    ((_, answer, truth),) = answers(model, [valid[0]], CPU)
    grey = np.isnan(valid[0].truth["depth"].numpy())
    assert 0 < grey.mean() < 1
    for picture in (answer, truth):
        assert np.array_equal((picture == UNKNOWN_GREY).all(-1), grey)
    assert not np.array_equal(answer, truth)


def test_the_sheet_has_a_row_for_each_sample_that_there_is(scene, tmp_path):
    heights = []
    for count in (1, 3, 99):
        draw(tmp_path / f"{count}.jpg", scene[0], scene[1], scene[2], CPU, count=count)
        heights.append(read_photo(tmp_path / f"{count}.jpg").shape[0])
    rows = (heights[1] - heights[0]) / 2
    assert rows >= HEIGHT
    assert heights[2] == pytest.approx(heights[0] + 11 * rows, abs=11)


def test_where_nothing_is_validated_nothing_is_drawn(scene, tmp_path):
    draw(tmp_path / "x.jpg", scene[0], scene[1], None, CPU, count=1)
    assert not list(tmp_path.iterdir())


def test_reconstructions_are_drawn_without_labels(pretrained, scene, tmp_path):
    model = checkpoint.load(pretrained).model
    draw(tmp_path / "deep" / "x.jpg", model, scene[1], None, CPU, count=2)
    assert read_photo(tmp_path / "deep" / "x.jpg").shape[0] > 2 * HEIGHT


def test_an_answer_is_shown_only_where_it_can_be_compared():
    truth = torch.tensor([[1.0, torch.nan]])
    assert np.array_equal(masked(Depth(), torch.tensor([[0.5, 0.7]]), truth), np.array([[0.5, np.nan]], np.float32), equal_nan=True)
    labels = torch.tensor([[3, 4]], dtype=torch.uint8)
    assert np.array_equal(masked(Seg(), labels, torch.tensor([[255, 1]])), labels.numpy())
