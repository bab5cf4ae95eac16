"""Batches from processes that read ahead: one that is killed is replaced, one that hangs is named."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from torch.utils.data import DataLoader

from shared.data.shards import DamagedSample
from shared.engine.survive import SIGNALS

log = logging.getLogger(__name__)
CHECK = 5.0  # seconds between two looks at the workers
DEATHS = 3  # at one batch, before the run ends
BROKEN = (EOFError, ConnectionError, FileNotFoundError)  # how it shows that a worker was killed while it handed over a batch


def batches(
    loader: Callable[[int], DataLoader], start: int, stop: int, *, timeout: float, reading: Callable[[int], str]
) -> Iterator[Any]:
    """Batches start .. stop - 1, in their order, whatever happens to the workers.

    Args:
        loader: number of a batch -> the DataLoader that begins with it.
        start: the first batch.
        stop: the batch after the last.
        timeout: seconds without a batch after which a worker hangs; 0: never.
        reading: number of a worker -> what it reads, for the sentence.

    Raises:
        TimeoutError: a worker hangs.
        ChildProcessError: workers are killed again and again.
        DamagedSample: too much of the data cannot be read.
    """
    number, deaths = start, 0
    while number < stop:
        made, first, asked = loader(number), number, monotonic()
        source = iter(made)
        while number < stop:
            try:
                batch = next(source)
            except DamagedSample as error:
                raise DamagedSample(_sentence(error)) from None
            except (RuntimeError, *BROKEN) as error:
                if not made.num_workers or not _about_workers(error):
                    raise
                if "timed out" not in str(error):
                    deaths += 1
                    _replace(error, deaths, made.num_workers)
                    break
                if timeout and monotonic() - asked >= timeout:
                    _hangs(source, (number - first) % made.num_workers, timeout, reading)
                continue
            number, deaths = number + 1, 0
            yield batch
            asked = monotonic()


def _about_workers(error: Exception) -> bool:
    """Whether it is the workers themselves that failed, and not what they read."""
    if isinstance(error, BROKEN):
        return not str(error).startswith("Caught ")
    return str(error).startswith("DataLoader ")


def _replace(error: Exception, deaths: int, workers: int) -> None:
    """Say that workers are started anew, unless they were too often."""
    if deaths >= DEATHS:
        raise ChildProcessError(
            f"processes that read ahead were killed {deaths} times at the same batch ({_told(error)}); is there too little memory? "
            f"Lower workers={workers}"
        ) from None
    log.warning("a process that reads ahead was killed (%s); new ones take over", _told(error))


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__


def _hangs(source: Any, worker: int, timeout: float, reading: Callable[[int], str]) -> None:
    told = f"process {worker} of the {len(source._workers)} that read ahead gave nothing for {timeout:.0f} s"
    what = reading(worker)
    for process in source._workers:  # a worker that hangs does not leave when it is asked to
        process.kill()
    raise TimeoutError(f"{told}. What it turned to last: {what}. Is its disk slow or gone? timeout= sets how long is waited")


def _sentence(error: DamagedSample) -> str:
    """What was said, without the traceback that a worker sends with it."""
    return str(error).strip().rpartition("\n")[2].removeprefix(f"{DamagedSample.__module__}.{DamagedSample.__name__}: ")


def end_with_the_run(worker: int) -> None:
    """Leave when the run is killed or says so: a worker's own parent is the fork server, which lives as long as the worker does.

    What asks the run to end may be sent to all its processes; a worker heeds it only from the run, which has yet to take its step.
    """
    run = multiprocessing.parent_process()
    if run is None:
        return

    def watch() -> None:
        run.join()
        os._exit(1)

    def listen() -> None:
        while signal.sigwaitinfo(SIGNALS).si_pid != run.pid:
            pass
        os._exit(0)

    for number in SIGNALS:
        signal.signal(number, lambda *_: None)  # where a thread of a library does not hold it back
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # of this thread and those that it starts
    for job in (watch, listen):
        threading.Thread(target=job, daemon=True).start()
