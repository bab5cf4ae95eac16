"""What PNGs of answers cost at 4096 x 3072: processor seconds and megabytes, by ways to compress them.

pytest tests/bench/test_png_speed.py -m slow -s
"""

import time

import cv2
import numpy as np
import pytest

from shared import builtin
from shared.formats import levels, vectors
from shared.infer.predictor import Predictor
from shared.infer.writer import PNG


def ways() -> dict[str, list[int] | None]:
    """OpenCV's options by the name of each way; None stands for ours. Not a constant: older OpenCV has no filters of lines."""
    return {
        "ours": None,
        "level 4, as before": [cv2.IMWRITE_PNG_COMPRESSION, 4],
        "OpenCV's own": [],
        **{
            f"level {level} {strategy} {lines}": [
                *(cv2.IMWRITE_PNG_COMPRESSION, level),
                *(cv2.IMWRITE_PNG_STRATEGY, getattr(cv2, f"IMWRITE_PNG_STRATEGY_{strategy.upper()}")),
                *(cv2.IMWRITE_PNG_FILTER, getattr(cv2, f"IMWRITE_PNG_FILTER_{lines.upper()}")),
            ]
            for level, strategy in ((1, "rle"), (1, "default"), (3, "default"))
            for lines in ("none", "sub", "up", "paeth")
        },
    }


def cost(picture: np.ndarray, options: list[int]) -> tuple[float, float]:
    """Processor seconds, the better of two, and megabytes."""
    found = []
    for _ in range(2):
        began = time.process_time()
        data = cv2.imencode(".png", picture, options)[1]
        found.append((time.process_time() - began, data.size / 1e6))
    return min(found)


@pytest.fixture(scope="module")
def pictures(person) -> dict[str, np.ndarray]:
    """Answers of the built-in model for a large photo, as they are written."""
    if not builtin.MODEL.is_file():
        pytest.skip("this copy has no built-in model")
    answers = Predictor.load(only=["seg", "depth", "normal"], device="cpu")(cv2.resize(person["image"], (3072, 4096)))

    return {
        "parts": answers["seg"],
        "depth, 16 bit": np.asarray(levels(answers["depth"]).pixels),
        "normals, 8 bit": vectors(answers["normal"], bits=8),
        "normals, 16 bit": vectors(answers["normal"], bits=16),
    }


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not hasattr(cv2, "IMWRITE_PNG_FILTER"), reason="this OpenCV chooses the filter of lines itself")
@pytest.mark.parametrize("what", ["parts", "depth, 16 bit", "normals, 8 bit", "normals, 16 bit"])
def test_ours_is_faster_than_before_and_hardly_larger(pictures, what):
    picture = pictures[what]
    costs = {way: cost(picture, PNG[picture.itemsize] if options is None else options) for way, options in ways().items()}
    print(f"\n{what}, {picture.nbytes / 1e6:.0f} MB")
    for way, (seconds, megabytes) in sorted(costs.items(), key=lambda one: one[1]):
        print(f"  {way:24} {seconds:6.3f} s {megabytes:8.3f} MB")
    ours, before = costs["ours"], costs["level 4, as before"]
    assert ours[0] < before[0]
    assert ours[1] < 1.15 * before[1]
