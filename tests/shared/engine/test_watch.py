"""Seconds go where they were spent, and nowhere when nobody looks."""

import time

import torch

from shared.engine.watch import PHASES, Stopwatch

CPU = torch.device("cpu")


def test_each_phase_gets_its_time_and_a_lap_begins_anew():
    watch = Stopwatch(CPU)
    for _ in range(2):
        with watch("data"):
            time.sleep(0.01)
    with watch("backward"):
        time.sleep(0.03)
    lap = watch.lap()
    assert tuple(lap) == PHASES
    assert lap["data"] >= 0.02
    assert lap["backward"] >= 0.03
    assert lap["forward"] == lap["optimiser"] == 0
    assert watch.lap() == dict.fromkeys(PHASES, 0)


def test_one_that_nobody_looks_at_takes_nothing():
    watch = Stopwatch(CPU, active=False)
    with watch("data"):
        time.sleep(0.01)
    assert watch.lap() == dict.fromkeys(PHASES, 0)
