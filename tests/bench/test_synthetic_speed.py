"""What a rendered sample costs: seconds with one and with two workers, and the memory of the largest picture.

Three minutes on two idle cores: .venv/bin/python -m pytest tests/bench/test_synthetic_speed.py -m slow -s
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.data.synthetic import samples

ROOT = Path(__file__).parents[2]
WARM = 4  # samples per worker that load the rig and are not counted
LARGE = """
import resource
from shared.data.synthetic import person
for seed in range(3):
    person(seed, hw=(4096, 3072), shot=("full", "group", "face")[seed])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def seconds_per_sample(hw: tuple[int, int], workers: int, count: int) -> float:
    """Wall time per sample with every field, once the workers are warm."""
    drawn = samples(count + WARM * workers, seed=3, hw=hw, workers=workers)
    for _ in range(WARM * workers):
        next(drawn)
    began = time.perf_counter()
    for _ in drawn:
        pass
    return (time.perf_counter() - began) / count


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_what_a_sample_costs_with_one_worker_and_with_two():
    print(f"\n{os.cpu_count()} cores; wall seconds per sample with all fields, mix of shots")
    print(f"{'size':>10} {'1 worker':>9} {'2 workers':>10} {'ratio':>6}")
    for hw, count in (((160, 120), 64), ((512, 384), 48), ((1024, 768), 24)):
        one, two = (seconds_per_sample(hw, workers, count) for workers in (1, 2))
        print(f"{hw[0]:>5}x{hw[1]:<4} {one:9.2f} {two:10.2f} {one / two:6.2f}")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_picture_of_4096_x_3072_fits_into_four_gigabytes():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    told = subprocess.run([sys.executable, "-c", LARGE], check=True, cwd=ROOT, capture_output=True, text=True).stdout
    peaks = [float(line) for line in told.split()]
    print(f"\npeak memory after a full, a group and a face of 4096 x 3072: {peaks} GiB (this process: {before:.1f})")
    assert max(peaks) < 4
