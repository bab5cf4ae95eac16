"""Seconds go where they were spent, and nowhere when nobody looks."""

import time

import torch

from shared.engine.watch import PHASES, Pace, Stopwatch

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


def test_the_first_step_which_starts_readers_says_nothing_of_the_rest(monkeypatch):
    now = iter([100.0, 160.0, 162.0, 164.0])
    monkeypatch.setattr("shared.engine.watch.time.perf_counter", lambda: next(now))
    pace = Pace(40)
    assert pace.left(41, 50) == 9 * 60, "nothing else is known yet"
    assert [pace.left(42, 50), pace.left(43, 50)] == [8 * 2, 7 * 2]
