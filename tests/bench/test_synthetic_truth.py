"""Five hundred rendered samples, each held against itself: parts, depth, normals and points agree.

Three minutes on two cores: .venv/bin/python -m pytest tests/bench/test_synthetic_truth.py -m slow -s
"""

import cv2
import numpy as np
import pytest

from shared.data import surface
from shared.data.fields import Sample
from shared.data.synthetic import NAMES, samples

COUNT, HW = 500, (192, 144)
SMOOTH = [NAMES["seg"].index(name) for name in ("Upper_Clothing", "Lower_Clothing", "Face_Neck")]
ENOUGH = 300  # pixels inside face and cloth, below which a sample says nothing of slopes
STEEPEST = 10.0  # degrees, the median of a sample: smooth normals stand on flat faces that are pixels wide


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_sample_agrees_with_itself():
    angles = []
    for key, one in samples(COUNT, seed=20, hw=HW, workers=2):
        on = one["seg"] > 0
        assert (on == np.isfinite(one["depth"])).all(), key
        assert (on == np.isfinite(one["normal"]).all(-1)).all(), key
        assert _near(one, cv2.dilate(on.astype(np.uint8), np.ones((5, 5))) > 0), key
        inside = cv2.erode(np.isin(one["seg"], SMOOTH).astype(np.uint8), np.ones((5, 5))) > 0
        if inside.sum() > ENOUGH:
            off = surface.disagreement_deg(one["normal"], one["depth"], one["intrinsics"])
            angles.append(float(np.nanmedian(off[inside])))
    middle, most, worst = np.percentile(angles, (50, 90, 100))
    print(f"\n{COUNT} samples; normals against the slope of depth inside face and cloth, degrees, median of a sample:")
    print(f"{len(angles)} samples, middle {middle:.1f}, 90 of 100 below {most:.1f}, worst {worst:.1f}")
    assert len(angles) > 0.9 * COUNT
    assert max(angles) < STEEPEST


def _near(one: Sample, around: np.ndarray) -> bool:
    """Whether every visible point lies on a person or two pixels beside one."""
    x, y = np.rint(one["keypoints"][one["keypoints"][:, 2] > 0, :2]).astype(int).T
    return bool(around[y.clip(0, HW[0] - 1), x.clip(0, HW[1] - 1)].all())
