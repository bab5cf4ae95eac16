"""The canonical camera: what two lenses see alike has one answer, and the focal length tells how many metres that is."""

import math

import numpy as np
import pytest
import torch

from shared.dense.canonical import USUAL_VIEW_DEG, canonical_scale, focal_of, metres_per_canonical, usual_focal_px

NAN = math.nan


def test_metres_are_multiplied_by_the_width_over_the_focal_length():
    scale, known = canonical_scale(torch.tensor([[100.0, 100, 5, 6], [400, 300, 5, 6]]), 200)
    assert known.tolist() == [True, True]
    assert scale.tolist() == [2, 0.5]


@pytest.mark.parametrize(
    "camera", [[NAN] * 4, [100, NAN, 5, 6], [100, 100, NAN, 6], [0, 100, 5, 6], [100, -1, 5, 6], [math.inf, 1, 2, 3]]
)
def test_a_camera_of_which_anything_is_unknown_is_unknown_and_its_scale_is_finite(camera):
    scale, known = canonical_scale(torch.tensor([camera]), 200)
    assert (scale.tolist(), known.tolist()) == ([1], [False])
    assert focal_of({"intrinsics": torch.tensor(camera)}) is None
    assert focal_of({}) is None


def test_the_focal_length_of_a_picture_is_that_of_its_columns():
    assert focal_of({"intrinsics": torch.tensor([100.0, 90, 5, 6])}) == 100


def test_there_and_back_is_the_identity_whatever_the_size_of_the_network():
    for frame, picture in ((768, 3000), (48, 3000), (768, 100)):
        zoom = frame / picture  # the picture fills the frame
        scale, _ = canonical_scale(torch.tensor([[zoom * 2000.0, zoom * 2000, 1, 1]]), frame)
        back = metres_per_canonical((10, 10), picture, focal_px=2000.0)
        assert 3.5 * scale.item() * back == pytest.approx(3.5, rel=1e-6)


@pytest.mark.parametrize("focal", [0.0, -3.0, math.inf, NAN])
def test_a_focal_length_that_is_none_is_refused(focal):
    with pytest.raises(ValueError, match="a focal length is a positive number of pixels, and this is"):
        metres_per_canonical((10, 10), 10, focal_px=focal)


@pytest.mark.parametrize("hw", [(3024, 4032), (4032, 3024), (64, 48), (1, 1)])
def test_the_usual_lens_sees_75_degrees_across_the_diagonal(hw):
    focal = usual_focal_px(hw)
    corners = np.array([[-hw[1] / 2, -hw[0] / 2, focal], [hw[1] / 2, hw[0] / 2, focal]])
    a, b = corners / np.linalg.norm(corners, axis=1, keepdims=True)
    assert np.degrees(np.arccos(a @ b)) == pytest.approx(USUAL_VIEW_DEG)
    assert metres_per_canonical(hw, 7) == pytest.approx(focal / 7)
