"""Decoding of 308 maps of 256 x 192 for 8 people against the reference in numpy and OpenCV, in pairs on the same cores.

A minute: .venv/bin/python -m pytest tests/bench/test_decoding_speed.py -m slow -s
"""

import math
import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from decoding import reference

from tasks.pose.heatmap import gaussians, peaks

PEOPLE, POINTS, HW = 8, 308, (256, 192)
PAIRS = 3


def seconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


@pytest.mark.slow
def test_decoding_is_ten_times_faster_than_the_reference():
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.uniform(10, np.array(HW[::-1]) - 11, (PEOPLE, POINTS, 2))).float()
    maps, _ = gaussians(points, HW, 6.0)
    maps += 0.01 * torch.randn(maps.shape, generator=torch.Generator().manual_seed(0))
    arrays = maps.numpy()
    ours, theirs = peaks(maps, reach=math.inf).numpy(), reference(arrays)  # the official step may be of any length
    assert np.abs(ours[..., :2] - theirs[..., :2]).max() < 1e-3
    pairs = [(seconds(lambda: peaks(maps)), seconds(lambda: reference(arrays))) for _ in range(PAIRS)]
    ratios = [theirs / ours for ours, theirs in pairs]
    for (ours, theirs), ratio in zip(pairs, ratios):
        print(f"ours {ours:.3f} s, reference {theirs:.3f} s of the processor: {ratio:.1f} times")
    assert np.median(ratios) >= 10
