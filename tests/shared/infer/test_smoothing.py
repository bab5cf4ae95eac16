"""Smoothed points hold still with the person, follow the person, and are what the paper's formula says."""

import numpy as np
import pytest

from shared.infer.smoothing import FORGET_S, OneEuro

FPS = 25
SIZE = 200.0  # pixels


def smoothed(points: np.ndarray, *, fps: float = FPS, size: float = SIZE, **options: float) -> np.ndarray:
    """Points (n,K,3) of n frames, one after another."""
    filter_ = OneEuro(**options)
    return np.stack([filter_(frame, seconds=n / fps, size_px=size) for n, frame in enumerate(points)])


def path(x: np.ndarray) -> np.ndarray:
    """One sure point on a level line: (n,) px -> (n,1,3)."""
    return np.stack([x, np.zeros_like(x), np.ones_like(x)], -1)[:, None]


def trembling(share: float, *, seed: int = 0) -> np.ndarray:
    """Fifty points of somebody who stands still, with noise of a share of their size: (300,50,3)."""
    noise = np.random.default_rng(seed).normal(0, share * SIZE, (300, 50, 2))
    return np.concatenate([500 + noise, np.ones((300, 50, 1))], -1)


def test_three_values_are_what_the_paper_says_when_computed_by_hand():
    # 10 frames a second, 1 Hz for values at rest and for the speed, beta 0.5; a size of 1 px makes speeds px per second.
    # alpha(f) = 1 / (1 + 10 / (2 pi f)): of the speed 0.385870.
    # second value: speed 10, filtered 3.858696, cutoff 2.929348, alpha 0.647957: 0 + 0.647957 * 1
    # third value: speed 3.520430, filtered 3.728178, cutoff 2.864089, alpha 0.642801: 0.647957 + 0.642801 * 0.352043
    found = smoothed(path(np.array([0.0, 1.0, 1.0])), fps=10, size=1.0, min_cutoff_hz=1.0, beta=0.5, speed_cutoff_hz=1.0)
    assert found[:, 0, 0] == pytest.approx([0, 0.647957, 0.874250], abs=2e-6)
    assert np.all(found[:, 0, 1] == 0)


@pytest.mark.parametrize(("share", "most"), [(0.001, 0.2), (0.003, 0.3), (0.006, 0.4)])
def test_a_person_who_stands_still_trembles_less(share, most):
    points = trembling(share)
    before, after = (np.diff(frames[50:, :, :2], axis=0).std() for frames in (points, smoothed(points)))
    assert after < most * before


def test_who_walks_is_followed_closely_from_the_first_step():
    seconds = np.arange(100) / FPS
    for pace in (0.1, 0.5, 1.0, 3.0):  # sizes per second
        x = np.maximum(seconds - 1, 0) * pace * SIZE
        behind = np.abs(smoothed(path(x))[:, 0, 0] - x)
        assert behind.max() < 0.015 * SIZE
        assert behind[-1] < 0.008 * SIZE, "size / (2 pi beta), however fast"


def test_a_hand_that_waves_is_not_held():
    x = 0.2 * SIZE * np.sin(2 * np.pi * 2 * np.arange(100) / FPS)
    assert np.abs(smoothed(path(x))[:, 0, 0] - x)[25:].max() < 0.035 * SIZE


def test_near_and_far_people_are_smoothed_alike():
    points = trembling(0.005)
    near = points.copy()
    near[..., :2] *= 7
    far, close = smoothed(points), smoothed(near, size=7 * SIZE)
    assert np.allclose(close[..., :2], 7 * far[..., :2])


def test_a_camera_held_askew_changes_nothing():
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    points = trembling(0.005)
    askew = points.copy()
    askew[..., :2] = points[..., :2] @ turn.T
    assert np.allclose(smoothed(askew)[..., :2], smoothed(points)[..., :2] @ turn.T)


def test_a_wild_point_of_low_score_pulls_nothing_along():
    points = trembling(0.002)
    wild = points.copy()
    wild[100:105, 7] = [9000, -9000, 0.1]
    wild[100:105, 8] = np.nan
    calm, found = smoothed(points), smoothed(wild)
    assert np.array_equal(found[100:105, 7], wild[100:105, 7]), "it comes out as it went in"
    assert np.isnan(found[100:105, 8]).all()
    assert np.abs(found[105:, 7:9, :2] - calm[105:, 7:9, :2]).max() < 0.01 * SIZE
    others = [k for k in range(50) if k not in (7, 8)]
    assert np.array_equal(found[:, others], calm[:, others])


def test_a_point_that_was_away_for_long_begins_anew():
    x = np.where(np.arange(100) < 50, 0.0, 300.0)
    points = path(x)
    away = round(FORGET_S * FPS) + 1
    points[50 : 50 + away, 0, 2] = 0
    assert np.array_equal(smoothed(points)[50 + away :, 0, 0], x[50 + away :])
    assert smoothed(path(x))[50, 0, 0] < 300


def test_scores_and_types_stay():
    points = trembling(0.01)[:5].astype(np.float32)
    points[..., 2] = np.random.default_rng(1).random((5, 50))
    found = smoothed(points)
    assert found.dtype == np.float32
    assert np.array_equal(found[..., 2], points[..., 2])
