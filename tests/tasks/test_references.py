"""What parts, depth and normals cost on random data, as numpy has it in float64 where the formulae are written down once more."""

import math

import numpy as np
import pytest
import torch

from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.seg.task import Seg

HW = (9, 7)
WEIGHTS = [0.1, 2.0, 1.0, 10.0]
TABLE = {"entries": [{"name": f"part {i}", "colour": [i, 0, 0], "weight": w} for i, w in enumerate(WEIGHTS)]}


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values).float()


def test_parts_cost_what_their_formulae_say():
    """Weighted cross-entropy over known pixels, more near a border, and Dice over the classes that are there."""
    random = rng()
    raw, labels = random.normal(0, 2, (3, 4, *HW)), random.integers(0, 4, (3, *HW))
    labels[0, :, 3:] = 255
    labels[1] = np.where(labels[1] == 3, 0, labels[1])  # one class is not there
    labels[2] = 255  # and of one picture nothing is known
    ce, n, dice = 0.0, 0, []
    share = np.exp(raw) / np.exp(raw).sum(1, keepdims=True)
    for p, t in zip(share, labels):
        for y, x in np.argwhere(t != 255):
            window = t[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            near = ((window != t[y, x]) & (window != 255)).any()
            ce, n = ce - WEIGHTS[t[y, x]] * (3 if near else 1) * math.log(p[t[y, x], y, x]), n + 1
        known = t != 255
        lost = [
            1 - (2 * p[c][t == c].sum() + 1e-3) / ((p[c][known] ** 2).sum() + (t == c).sum() + 1e-3)
            for c in (1, 2, 3)
            if (t == c).any()
        ]
        dice += [np.mean(lost)] if known.any() else []
    found = Seg(labels=TABLE, dice=2.0, border=3.0, border_reach=1.0).loss(tensor(raw), {"seg": torch.from_numpy(labels).byte()})
    assert found["ce"].item() == pytest.approx(ce / n, rel=1e-5)
    assert found["dice"].item() == pytest.approx(2 * np.mean(dice), rel=1e-5)


@pytest.mark.parametrize("metric", [False, True])
def test_depth_costs_what_its_formula_says(metric):
    """Relative: from the nearest known pixel, which is left out, to the farthest. Metric: metres times width over focal length."""
    random = rng()
    depth, raw = random.uniform(1, 4, (3, *HW)), random.uniform(0.05, 2, (3, 1, *HW))
    depth[0, :3], depth[1, 4] = math.nan, 0.0  # unknown, and a hole
    camera = np.array([[5.0, 5, 3, 4], [9.0, 9, 3, 4], [math.nan] * 4])
    costs = []
    for t, a, (focal, *_) in zip(depth, raw[:, 0], camera):
        known = np.isfinite(t) & (t > 0)
        if metric and not math.isfinite(focal):
            continue
        target = t * HW[1] / focal if metric else (t - t[known].min()) / (t[known].max() - t[known].min())
        kept = known & (target > 1e-6)
        g = np.log(target[kept]) - np.log(a[kept])
        costs.append(math.sqrt((g**2).mean() - 0.3 * g.mean() ** 2))
    task = Depth(metric=metric, variance_focus=0.3, floor=1e-5)
    found = task.loss(tensor(raw), {"depth": tensor(depth), "intrinsics": tensor(camera)})
    assert found["silog"].item() == pytest.approx(np.mean(costs), rel=1e-4)


def test_normals_cost_what_their_formulae_say():
    """L1 of the raw answer, one minus cosine, and the squared steps of the error to the right and down, both ends known."""
    random = rng()
    raw, target = random.normal(0, 1, (2, 3, *HW)), random.normal(0, 1, (2, 3, *HW))
    target /= np.linalg.norm(target, axis=1, keepdims=True)
    known = random.random((2, *HW)) < 0.7
    shown = np.where(known[:, None], target, np.where(random.random((2, 1, *HW)) < 0.5, math.nan, 0.0))  # unknown, or no length
    error = raw - target
    l1 = np.abs(error).sum(1)[known].mean()
    cosine = (1 - (raw * target).sum(1) / np.linalg.norm(raw, axis=1))[known].mean()
    right, below = known[:, :, 1:] & known[:, :, :-1], known[:, 1:] & known[:, :-1]
    slope = (np.diff(error, axis=3) ** 2).sum(1)[right].mean() + (np.diff(error, axis=2) ** 2).sum(1)[below].mean()
    found = Normal(l1=2.0, cosine=10.0, slope=5.0).loss(tensor(raw), {"normal": tensor(shown)})
    wanted = {"l1": 2 * l1, "cosine": 10 * cosine, "slope": 5 * slope}
    assert {name: term.item() for name, term in found.items()} == pytest.approx(wanted, rel=1e-5)
