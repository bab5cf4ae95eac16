"""Where the time of an iteration goes: data, forward, backward, optimiser."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PHASES: tuple[str, ...] = ("data", "forward", "backward", "optimiser")
PENDING = 4096  # spans on a GPU that are not added up yet


class Stopwatch:
    """Seconds by phase. On a GPU they are taken between events in its queue, so that nothing has to wait for being measured:
    `data` is then the time in which the GPU had nothing to do.

    Args:
        device: what computes.
        active: whether anybody will look at it.
    """

    def __init__(self, device: torch.device, *, active: bool = True) -> None:
        self._cuda, self._active = device.type == "cuda", active
        self._seconds: dict[str, float] = dict.fromkeys(PHASES, 0.0)
        self._spans: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Take the time of what is done inside."""
        if not self._active:
            yield
        elif self._cuda:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            yield
            end.record()
            self._spans.append((phase, start, end))
            if len(self._spans) >= PENDING:
                self._settle()
        else:
            start = time.perf_counter()
            yield
            self._seconds[phase] += time.perf_counter() - start

    def lap(self) -> dict[str, float]:
        """Seconds of each phase since the last lap, in the order of `PHASES`."""
        self._settle()
        seconds, self._seconds = self._seconds, dict.fromkeys(PHASES, 0.0)
        return seconds

    def _settle(self) -> None:
        """Add up what the GPU has timed."""
        if self._spans:
            self._spans[-1][2].synchronize()
        for phase, start, end in self._spans:
            self._seconds[phase] += start.elapsed_time(end) / 1000
        self._spans.clear()


class Pace:
    """How long the rest of a run takes, by its steps after the first, in which readers are started and models compiled.

    Args:
        step: steps done before.
    """

    def __init__(self, step: int) -> None:
        self._marks = [(step, time.perf_counter())]

    def left(self, step: int, last: int) -> float:
        """Seconds from now, when `step` is over, to the end of `last`. Called after every step."""
        now = time.perf_counter()
        if len(self._marks) == 1:
            self._marks.append((step, now))
        first, began = self._marks[step > self._marks[1][0]]
        return (last - step) * (now - began) / (step - first)


def peak_gib() -> float:
    """Peak memory of this process: on the GPU where there is one, else resident."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
