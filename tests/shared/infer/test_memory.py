"""Memory does not grow with the number of photos: a real process is watched over two thousand of them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[3]
COUNT, EARLY, MORE_MB = 2000, 200, 12
PROC = Path("/proc")


def resident_mb(process: int) -> float:
    """Memory of a process that is in RAM, files that it maps left out: those come and go with what others do."""
    lines = (PROC / str(process) / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def done(out: Path) -> int:
    return (out / "manifest.jsonl").read_bytes().count(b"\n") if (out / "manifest.jsonl").is_file() else 0


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.skipif(not (PROC / "self" / "status").is_file(), reason="there is no /proc to read the memory of a process from")
def test_memory_is_flat_over_two_thousand_photos(trained, tmp_path, record_property):
    photos, out, rng = tmp_path / "photos", tmp_path / "out", np.random.default_rng(0)
    photos.mkdir()
    for i in range(COUNT):
        hw = (40 + 8 * (i % 5), 30 + 10 * (i % 3))
        Image.fromarray(rng.integers(0, 256, (*hw, 3), dtype=np.uint8)).save(photos / f"{i:04d}.jpg")
    command = [sys.executable, ROOT / "tasks/joint/infer.py", photos, "--checkpoint", trained, "--out", out, "--device", "cpu"]
    with (tmp_path / "said.txt").open("w") as said:
        process = subprocess.Popen([*map(str, command)], env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=said)
    seen: list[tuple[int, float]] = []
    try:
        while process.poll() is None and (count := done(out)) < COUNT:
            if count >= EARLY:
                seen.append((count, resident_mb(process.pid)))
            time.sleep(0.2)
        assert process.wait() == 0
    finally:
        process.kill()
        process.wait()
    early = np.median([mb for count, mb in seen if count < 2 * EARLY])
    late = np.median([mb for count, mb in seen if count > COUNT - EARLY])
    told = f"after {EARLY} photos {early:.0f} MB, at the end {late:.0f} MB, at most {max(mb for _, mb in seen):.0f} MB"
    record_property("memory", told)
    assert late - early < MORE_MB, told
