"""Labels of patches: a patch is what most of its pixels are, and unknown where most are."""

import numpy as np
import pytest

from shared.data.patches import labelled, majority


def test_a_patch_is_what_most_of_its_pixels_are():
    labels = np.array([[1, 1, 2, 3], [1, 0, 3, 2], [5, 255, 255, 7], [6, 6, 255, 255]], np.uint8)
    assert majority(labels, 2).tolist() == [[1, 2], [6, 255]]  # of two equal ones the first; half is enough, a quarter is not


def test_what_lies_beyond_the_picture_is_unknown():
    labels = np.full((5, 6), 4, np.uint8)
    assert majority(labels, 4).tolist() == [[4, 4], [255, 255]]


def test_depth_is_relative_to_the_person_and_leaves_the_background_out():
    depth = np.full((4, 4), 8.0, np.float32)
    depth[:, :2], depth[0, 0] = 2.0, np.nan
    seg = np.ones((4, 4), np.uint8)
    found = labelled({"depth": depth, "seg": seg}, 2)["depth"]
    np.testing.assert_allclose(found, [[-np.log(2), np.log(2)]] * 2, rtol=1e-6)
    seg[:, 2:] = 0
    found = labelled({"depth": depth, "seg": seg}, 2)["depth"]
    np.testing.assert_allclose(found, [[0, np.nan]] * 2, atol=1e-6)
    farther = labelled({"depth": 3 * depth, "seg": seg}, 2)["depth"]
    np.testing.assert_allclose(farther, found, atol=1e-6)


@pytest.mark.parametrize("hole", [0.0, -1.0, np.inf, np.nan])
def test_depth_that_is_no_distance_is_unknown(hole):
    depth = np.full((2, 4), hole, np.float32)
    depth[:, :2] = 2.0
    np.testing.assert_array_equal(labelled({"depth": depth}, 2)["depth"], [[0, np.nan]])


def test_the_normal_of_a_patch_is_the_mean_direction():
    normal = np.zeros((2, 4, 3), np.float32)
    normal[:, 0], normal[:, 1], normal[:, 2:] = (0.6, 0, 0.8), (-0.6, 0, 0.8), np.nan
    found = labelled({"normal": normal}, 2)["normal"]
    np.testing.assert_allclose(found[0], [[0, 0, 1], [np.nan] * 3], atol=1e-6)


def test_real_people_keep_their_parts_and_lose_their_surroundings(person):
    found = labelled(person, 16)
    assert found["seg"].shape == found["depth"].shape == (16, 12)
    assert set(np.unique(found["seg"])) <= set(np.unique(person["seg"]))
    assert np.isnan(found["depth"][found["seg"] == 0]).mean() > 0.95
    assert abs(np.nanmean(found["depth"])) < 1e-6
    np.testing.assert_allclose(np.linalg.norm(found["normal"], axis=-1)[np.isfinite(found["depth"])], 1, atol=1e-5)
