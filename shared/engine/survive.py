"""A run outlives what happens to it: a signal ends it with its state saved, a step that went wrong is left out."""

import logging
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from statistics import median
from types import FrameType
from typing import Any, Self

import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from shared.engine.session import Session

log = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)  # what torchrun and SLURM send before they kill, and Ctrl-C
PRESSED = 1.0  # seconds: a SIGINT later than that was pressed anew; torchrun passes the first one on, so that it comes twice
USUAL = 64  # gradients from which it is told what is usual; before there are so many, none is a spike


def agree(here: Session, *flags: bool) -> tuple[bool, ...]:
    """Each flag as it is raised by any of the processes; all of them have to ask."""
    if here.processes == 1:
        return flags
    raised = torch.tensor(flags, dtype=torch.int32, device=here.device)
    dist.all_reduce(raised, dist.ReduceOp.MAX)
    return tuple(bool(flag) for flag in raised.tolist())


def together(here: Session, work: Callable[[], None]) -> None:
    """The first process does something that may find the disk full; all of them have to call it, and know how it ended.

    Raises:
        OSError: in all processes, if it was raised in the first.
    """
    fault = None
    try:
        if here.first:
            work()
    except OSError as error:
        fault = error
    if agree(here, fault is not None)[0]:
        raise fault or OSError("the first process says why")


class Signals:
    """While entered, `SIGNALS` are noted instead of ending the process; Ctrl-C pressed again does. Outside of the main thread
    nothing is noted.

    Attributes:
        received: the name of the first of them, None before.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._pressed = math.inf
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number).name
        if number == signal.SIGINT:
            now = time.monotonic()
            if now > self._pressed + PRESSED:
                raise KeyboardInterrupt
            if self._pressed == math.inf and os.environ.get("RANK", "0") == "0":  # os.write: a log may be in the middle of a line
                os.write(2, b"Ctrl-C: ends after this iteration, with its state saved; press it again to end at once\n")
            self._pressed = min(self._pressed, now)


class Guard:
    """Decides before each step of the optimiser whether it is taken, and whether the run goes on after it; alike in all processes.

    Args:
        here: this process among the others.
        signals: those that were noted in this process.
        spike: a gradient of more than so many times the median of the last `USUAL` ones is not followed; 0: any finite one is.
        skips: steps left out in a row that end the run.

    Attributes:
        norm: of the last gradient, before it was clipped.
        left_out: whether the last step was.
        skipped: steps left out so far.
        asked: some process was asked by a signal to end.
    """

    def __init__(self, here: Session, signals: Signals, *, spike: float, skips: int) -> None:
        self.here, self.signals, self.spike, self.skips = here, signals, spike, skips
        self.norm, self.left_out, self.skipped, self.asked = math.nan, False, 0, False
        self._recent: deque[float] = deque(maxlen=USUAL)
        self._row, self._why = 0, ""

    def passes(self, loss: Tensor, norm: Tensor) -> bool:
        """Whether the gradient may be followed.

        Args:
            loss: () mean over the micro-batches of this process.
            norm: () of the gradient, before clipping.
        """
        self.norm = float(norm)
        why = self._wrong(float(loss))
        self.left_out, asked = agree(self.here, bool(why), self.signals.received is not None)
        self.asked = self.asked or asked
        if not self.left_out:
            self._recent.append(self.norm)
            self._row = 0
            return True
        self.skipped, self._row, self._why = self.skipped + 1, self._row + 1, why or "another process met a loss that is no number"
        if self.here.first:
            log.warning("a step is left out: %s (%d in a row, %d in all)", self._why, self._row, self.skipped)
        return False

    def _wrong(self, loss: float) -> str:
        """What is wrong with a step; nothing if nothing is."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(self.norm):
            return f"the norm of the gradient is {self.norm}"
        if self.spike and len(self._recent) == USUAL and self.norm > self.spike * (usual := median(self._recent)):
            return f"the norm of the gradient is {self.norm:.4g}, {self.norm / max(usual, 1e-30):.0f} times the usual {usual:.4g}"
        return ""

    @property
    def lost(self) -> str | None:
        """Why the run cannot go on, as a sentence; None while it can."""
        if self._row < self.skips:
            return None
        return (
            f"{self._row} steps in a row were left out, the last because {self._why}; the state before them is saved. Look at the "
            "data and the learning rate; the same command goes on behind them, skips= sets how many are borne, spike= what is one"
        )

    @property
    def over(self) -> bool:
        """Whether the run ends here."""
        return self.asked or self.lost is not None

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that a run that goes on decides like one that was never stopped."""
        return {"norms": list(self._recent), "skipped": self.skipped}

    def restore(self, state: dict[str, Any]) -> None:
        """Take what a checkpoint kept."""
        self._recent.extend(state["norms"])
        self.skipped = state["skipped"]


class Survive(Hook):
    """Ends the loop when the guard says so, and keeps its memory in the checkpoints."""

    priority = "ABOVE_NORMAL"

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        if self.guard.over:
            runner.train_loop.stop_training = True  # type: ignore[union-attr]

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint["guard"] = self.guard.state()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if "guard" in checkpoint:  # older ones have none
            self.guard.restore(checkpoint["guard"])
