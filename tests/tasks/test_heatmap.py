"""Decoding of heatmaps against the official recipe in numpy and OpenCV, on maps good and bad."""

import math

import numpy as np
import pytest
import torch
from decoding import reference

from tasks.pose.heatmap import gaussians, peaks

HW = (64, 48)


def hills(seed: int, *, count: int = 40, sigma: float = 3.0, margin: float = 0.0) -> torch.Tensor:
    """(2,count,64,48): a Gaussian each, of different heights, anywhere in the map but for a margin."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(margin, np.array(HW[::-1]) - 1 - margin, (2, count, 2))
    maps, _ = gaussians(torch.from_numpy(points).float(), HW, sigma)
    return maps * torch.from_numpy(rng.uniform(0.02, 1.2, (2, count, 1, 1))).float()


def noise(seed: int, shape: tuple[int, ...], size: float) -> torch.Tensor:
    return size * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def apart(maps: torch.Tensor, *, blur: int = 11) -> float:
    """Pixels between ours and the reference at the worst point."""
    ours, theirs = peaks(maps, blur=blur, reach=math.inf).numpy(), reference(maps.numpy(), blur=blur)
    np.testing.assert_array_equal(ours[..., 2], theirs[..., 2].astype(np.float32))
    return float(np.abs(ours[..., :2] - theirs[..., :2]).max())


@pytest.mark.parametrize("sigma", [1.5, 3.0, 6.0])
@pytest.mark.parametrize("margin", [0.0, 10.0])
def test_hills_anywhere_in_the_map_are_where_the_reference_finds_them(sigma, margin):
    assert apart(hills(0, sigma=sigma, margin=margin)) < 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_hills_under_noise_are_where_the_reference_finds_them(seed):
    maps = hills(seed, margin=3)
    assert apart(maps + noise(seed, maps.shape, 0.01)) < 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_the_higher_of_two_hills_is_found_where_the_reference_finds_it(seed):
    assert apart(torch.maximum(hills(seed), 0.7 * hills(seed + 100))) < 1e-3


@pytest.mark.parametrize("height", [1e-3, 3e-3, 1e-2, 40.0, 60.0, 500.0])
def test_maps_that_the_reference_cuts_off_are_cut_off_alike(height):
    """Values under 1e-3 and above 50 are cut, which depends on the height of the whole blurred map."""
    maps = hills(5, margin=12, sigma=2.0)
    maps = height * maps / maps.amax((2, 3), keepdim=True)
    theirs = reference(maps.numpy())
    ours = peaks(maps, reach=math.inf).numpy()
    steps = np.abs(theirs[..., :2] - np.round(ours[..., :2])).max(-1)
    steep = steps < 2  # where everything is cut to one value there is no direction, and the step is noise by epsilon
    assert steep.mean() > 0.3 or height >= 60
    assert np.abs(ours - theirs)[steep][..., :2].max(initial=0) < 1e-3


def test_a_spike_among_negative_values_is_decoded_as_the_reference_does():
    maps = noise(1, (1, 30, *HW), 0.003) - 0.01
    maps[..., 30, 20] = 1.0
    assert apart(maps) < 1e-3


@pytest.mark.parametrize("blur", [11, 13, 17])  # up to 9 OpenCV has tables of its own
def test_any_kernel_blurs_as_opencv_does(blur):
    assert apart(hills(3, margin=2), blur=blur) < 1e-3


@pytest.mark.parametrize("height", [1e-3, 1.0])
def test_points_do_not_depend_on_the_other_maps(height):
    """Low maps are decoded another way than high ones; which it is must not depend on the company."""
    maps = hills(7, count=6)
    maps[0, 2] *= height
    together = peaks(maps)
    for b in range(2):
        for k in range(6):
            torch.testing.assert_close(peaks(maps[b : b + 1, k : k + 1])[0, 0], together[b, k])


def test_a_map_without_a_positive_value_has_no_peak_in_either():
    maps = torch.zeros(1, 2, *HW)
    maps[0, 1] = -0.5
    assert peaks(maps)[..., :2].eq(-1).all()
    assert (reference(maps.numpy())[..., :2] == -1).all()
