"""Where the time of an iteration goes: data, forward, backward, optimiser."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PHASES = ("data", "forward", "backward", "optimiser")


class Stopwatch:
    """Seconds by phase. On a GPU they are taken between events in its queue, so that nothing has to wait for being measured:
    `data` is then the time in which the GPU had nothing to do.

    Args:
        device: what computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._spans: list[tuple[str, float | torch.cuda.Event, float | torch.cuda.Event]] = []

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Take the time of what is done inside."""
        start = self._now()
        yield
        self._spans.append((phase, start, self._now()))

    def lap(self) -> dict[str, float]:
        """Seconds of each phase since the last lap, in the order of `PHASES`."""
        if self._cuda:
            torch.cuda.synchronize()
        seconds: dict[str, float] = dict.fromkeys(PHASES, 0.0)
        for phase, start, end in self._spans:
            seconds[phase] += start.elapsed_time(end) / 1000 if isinstance(start, torch.cuda.Event) else end - start  # type: ignore[operator,arg-type]
        self._spans.clear()
        return seconds

    def _now(self) -> float | torch.cuda.Event:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
