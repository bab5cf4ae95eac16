"""How busy a device is while photos become answers: large JPEGs through `shared.infer.run.run`, from file to file.

What is told, both of the second half, when all that reads ahead is full:

    images/s    photos from one to the next whose last file is written, by the times of the files. Nothing is watched.
    busy        share of the time in which the device has anything to do, by PyTorch's profiler (on CUDA: CUPTI), in a run of its
                own over the same photos: kernels, copies and memsets of all streams and threads, laid over one another, so that
                what overlaps counts once. The network, settling and what brings answers to the host are in it.
    computing   the same without copies between host and device, which keep no multiprocessor busy

To be watched costs the threads that start kernels some microseconds each, so a busy share may be a little low, not high. On a
processor the calls of PyTorch in the thread that looks are what the device does: enough to try the code.
"""

import io
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from functools import partial
from math import nan
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from answering import Joint, ways
from speed_table import Bench, Row
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from shared.data.photo import Found
from shared.dense.model import DenseModel
from shared.engine.compare import cost
from shared.infer.predictor import Predictor
from shared.infer.run import run

DIFFERENT = 4  # photos that are drawn; the others are copies, which are decoded no faster
PER_SHAPE = 1500  # pixels of a photo: at 4096 x 3072 a JPEG of quality 90 is 3 MB then, as those of a camera are
QUALITY = 90
TICK_S = 0.004  # Linux' clock of files may be as coarse
BETWEEN = ("HtoD", "DtoH")  # in CUPTI's names of copies between host and device


class Span(NamedTuple):
    """Something that a device did: seconds from any beginning, the same for all."""

    begin: float
    end: float
    copies: bool = False  # between host and device


class Shares(NamedTuple):
    """Of the time; NaN where nothing was seen."""

    busy: float
    computing: float


def rows(
    bench: Bench, joint: Joint, model: DenseModel, photos: list[Found], folder: Path, *, thorough: bool = True
) -> Iterator[Row]:
    """All tasks in one pass, each alone, and all with pictures of the answers, as the command draws them unless told not to.

    Args:
        bench: where.
        joint: that the model is of.
        model: not compiled.
        photos: files of one size.
        folder: for the answers, which are removed.
        thorough: or all tasks in one pass alone.
    """
    asked = [(way, only, False) for way, only in ways(model).items()]
    way, only, _ = asked[0]
    for called, names, render in [*asked, (f"{way}, drawn", only, True)] if thorough else asked[:1]:
        measure = partial(_answered, bench.device, joint, model, names, photos, folder, render=render)
        yield bench.row(f"{joint.name}, photos, {called}", measure)


def _answered(
    device: torch.device, joint: Joint, model: DenseModel, only: list[str], photos: list[Found], folder: Path, *, render: bool
) -> Row:
    predictor = Predictor(model, device=device, only=only)
    flops = cost(model, joint.pictures(1), only, repeats=1, bf16=predictor.dtype is torch.bfloat16).flops

    def work(out: Path) -> float:
        with redirect_stderr(io.StringIO()):  # the bar
            failed = run(predictor, photos, out, render=render)
        if failed:
            raise ValueError("; ".join(f"{name}: {why}" for name, why in failed.items()))
        rate = photos_per_s(out)
        shutil.rmtree(out)
        return rate

    rate = work(folder / "answers")
    found = shares(watched(partial(work, folder / "watched"), device))
    return Row("", rate, rate * flops / 1e12, busy=found.busy, computing=found.computing)


def photos_per_s(out: Path) -> float:
    """Of the second half of the photos whose answers lie in a folder, two at least, by when the last file of each was written."""
    done: dict[str, float] = defaultdict(float)
    for path in out.iterdir():
        name = path.name.partition(".")[0]
        done[name] = max(done[name], path.stat().st_mtime_ns / 1e9)
    times = sorted(done.values())
    half = len(times) // 2
    return (len(times) - half) / max(times[-1] - times[half - 1], TICK_S)


def watched(work: Callable[[], object], device: torch.device) -> list[Span]:
    """What a device does meanwhile."""
    cuda = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as seen:
        work()
        if cuda:
            torch.cuda.synchronize(device)
    kind = DeviceType.CUDA if cuda else DeviceType.CPU
    results = None if seen.profiler is None else seen.profiler.kineto_results
    events = [] if results is None else results.events()  # `events()` of the profiler itself takes minutes for as many
    done = [(event.start_ns(), event.duration_ns(), event.name()) for event in events if event.device_type() == kind]
    first = min((start for start, *_ in done), default=0)  # of nanoseconds since 1970, a float would keep hundreds
    since = ((start - first, ns, name) for start, ns, name in done)
    return [Span(start / 1e9, (start + ns) / 1e9, any(way in name for way in BETWEEN)) for start, ns, name in since]


def shares(spans: Iterable[Span]) -> Shares:
    """How much of the second half of all the time from the first to the last of them they cover."""
    spans = list(spans)
    if not spans:
        return Shares(nan, nan)
    first, last = min(span.begin for span in spans), max(span.end for span in spans)
    middle = (first + last) / 2
    computing = [span for span in spans if not span.copies]
    return Shares(*(covered(chosen, middle, last) / (last - middle) for chosen in (spans, computing)))


def covered(spans: Iterable[Span], begin: float, end: float) -> float:
    """Seconds between two times in which at least one of them lasts."""
    seconds, upto = 0.0, begin
    for span in sorted(spans):
        upto, before = max(upto, min(span.end, end)), upto
        seconds += max(upto - max(before, span.begin), 0.0)
    return seconds


def photos(folder: Path, count: int, hw: tuple[int, int]) -> list[Found]:
    """JPEGs of (H,W) pixels, written into a folder that is made; a few different ones, over and over."""
    folder.mkdir(parents=True)
    with ThreadPoolExecutor(min(DIFFERENT, os.cpu_count() or 1)) as pool:
        files = list(pool.map(partial(_jpeg, hw), range(min(DIFFERENT, count))))
    found = [Found(folder / f"{number:03d}.jpg", f"{number:03d}") for number in range(count)]
    for number, one in enumerate(found):
        one.path.write_bytes(files[number % len(files)])
    return found


def _jpeg(hw: tuple[int, int], seed: int) -> bytes:
    return cv2.imencode(".jpg", drawn(hw, seed), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def drawn(hw: tuple[int, int], seed: int) -> np.ndarray:
    """(H,W,3) uint8: ellipses of all sizes before colours that run into one another, without noise."""
    (H, W), rng = hw, np.random.default_rng(seed)
    image = cv2.resize(rng.integers(0, 256, (8, 6, 3), dtype=np.uint8), (W, H), interpolation=cv2.INTER_CUBIC)
    count = H * W // PER_SHAPE
    axes = np.exp(rng.uniform(np.log(2), np.log(max(W / 12, 3)), (count, 2)))
    axes = axes[np.argsort(-axes.max(1))].astype(int)  # the small ones before the large ones
    for size in axes.tolist():
        at, colour = rng.integers(0, (W, H)).tolist(), rng.integers(0, 256, 3).tolist()
        cv2.ellipse(image, at, size, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
    return image
