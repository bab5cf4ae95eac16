"""Four tasks of a Sapiens 0.3b on a 4K photo, our way against that of the official scripts: seconds and memory, in pairs.

Fifteen minutes on two cores: .venv/bin/python -m pytest tests/bench/test_official_way.py -m slow -s
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from official_way import TASKS, WAYS

ROOT = Path(__file__).parents[2]


def measured(task: str, way: str) -> dict[str, float]:
    command = [sys.executable, "tests/bench/official_way.py", task, way]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "THP_MEM_ALLOC_ENABLE": "0" if way == "official" else "1"}
    said = subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True, text=True).stdout
    return json.loads(said.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
@pytest.mark.parametrize("task", TASKS)
def test_our_way_is_faster_and_smaller_than_the_official_one(task):
    rows = {way: measured(task, way) for way in WAYS}
    official = rows["official"]
    for way, row in rows.items():
        faster, smaller = official["seconds"] / row["seconds"], official["peak_gib"] / row["peak_gib"]
        print(
            f"{task:<7}{way:<9} {row['seconds']:6.1f} s {faster:5.2f} times  {row['peak_gib']:5.2f} GiB 1/{smaller:.2f}", flush=True
        )
    assert all(row["seconds"] < official["seconds"] for row in rows.values() if row is not official)
