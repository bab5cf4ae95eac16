"""Photos and videos through a model: read, look, write; people of several photos wait for one another, a bad one is named.

Threads read ahead and write behind while the network looks; all the rest, the manifest above all, is done by the one who runs.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from tqdm import tqdm

from shared.data.photo import Found
from shared.formats import About, Ask
from shared.infer.batching import Answers, Begun
from shared.infer.belt import Belt, Here
from shared.infer.gallery import PHOTO, exhibit, make_page
from shared.infer.manifest import Manifest
from shared.infer.packing import Packing
from shared.infer.people import Finder, People, whole
from shared.infer.predictor import Predictor
from shared.infer.reader import FORGIVEN, HELD, Read, called, read_ahead, told
from shared.infer.video import is_video
from shared.infer.watch import watch
from shared.infer.writer import members, write

log = logging.getLogger(__name__)
USUAL = Ask()
BEHIND = 600_000_000  # bytes of photos and answers that wait to be written: two of 4K with four answers; one may have more
EACH = 300_000_000  # of one such: beside a GPU every thread may have one, for a photo is written longer than looked at
THREADS = 16  # more of them than a disk can feed


class Waiting(NamedTuple):
    """A photo whose people are known, (H,W,3) uint8 RGB."""

    found: Found
    image: np.ndarray
    people: People | None
    seconds: float  # that reading and finding took

    @property
    def boxes(self) -> np.ndarray | None:
        return None if self.people is None else self.people.boxes


class Written(NamedTuple):
    """What became of writing."""

    files: list[Path]
    members: dict[str, memoryview]  # for a shard: suffix -> content
    wrong: Exception | None
    seconds: float  # that it took


@dataclass
class Run:
    """One call of the command: photos wait until their people fill a batch, then they are answered and given to who writes.

    A context: when it is left, all that has begun to be written is whole and noted, whatever happened.
    """

    predictor: Predictor
    out: Path
    ask: Ask
    render: bool
    bar: tqdm
    desk: Belt
    gallery: bool = False
    manifest: Manifest | None = None
    packing: Packing | None = None
    failed: dict[str, str] = field(default_factory=dict)
    queue: list[Waiting] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self.desk.call_off()
        for written in self.desk.rest():
            self._settle(*written)
        self._seal()

    def take(self, read: Read, finder: Finder) -> None:
        """See who is in a photo; answer those that wait where it would be one too many."""
        began = time.perf_counter() - read.seconds
        stale = None if self.packing is None else self.packing.stale(read.found)
        if read.image is None or stale is not None:
            self.fail(read.found, stale or read.wrong, seconds=read.seconds)
            return
        try:
            people = finder(called(read.found), read.image)
        except FORGIVEN as error:
            self.fail(read.found, error, seconds=time.perf_counter() - began)
            return
        queue = [*self.queue, Waiting(read.found, read.image, people, time.perf_counter() - began)]
        if self._full(queue) > 1 or sum(waiting.image.size // 3 for waiting in queue) > HELD:
            self.flush()
        self.queue.append(queue[-1])
        if not 0 < self._full(self.queue) < 1:
            self.flush()

    def take_video(self, found: Found, finder: Finder, **smoothing: bool) -> None:
        """Answer a video, after the photos that wait."""
        self.flush()
        began = time.perf_counter()
        try:
            files, wrong = watch(self.predictor, found, self.out, finder=finder, ask=self.ask, render=self.render, **smoothing)
        except FORGIVEN as error:
            self.fail(found, error, seconds=time.perf_counter() - began)
        else:
            if wrong is not None:
                self.fail(found, ValueError(wrong), seconds=time.perf_counter() - began, did="incomplete")
            else:
                self._note(found, status="done", seconds=time.perf_counter() - began, files=files)

    def flush(self) -> None:
        """Answer all that wait, and hand them to who writes."""
        queue, self.queue = self.queue, []
        for photo, begun in zip(queue, self._looked_at(queue)):
            if isinstance(begun, Exception):
                self.fail(photo.found, begun, seconds=photo.seconds)
            else:
                self._hand_over(photo, begun)

    def _looked_at(self, queue: list[Waiting]) -> Iterator[Begun | Exception]:
        """Photos in batches; where one of them cannot be looked at, each is asked for by itself."""
        done = 0
        try:
            for begun in self.predictor.begin([(photo.image, photo.boxes) for photo in queue]):
                done += 1
                yield begun
        except FORGIVEN as error:
            if len(queue) == 1:
                yield error
            else:
                for photo in queue[done:]:
                    yield from self._looked_at([photo])

    def fail(self, found: Found, error: Exception | None, *, seconds: float, did: str = "failed") -> None:
        """Name a photo or video that has no answer, or not all of it."""
        self.failed[found.name] = str(error)
        tqdm.write(f"{'skipped' if did == 'failed' else did}: {told(found, error)}", file=sys.stderr)
        self._note(found, status=did, seconds=seconds, message=str(error))

    def _note(self, found: Found, **line: Any) -> None:
        if self.manifest is not None:
            self.manifest.add(found, **line)
        self.bar.update()

    def _hand_over(self, photo: Waiting, begun: Begun) -> None:
        """Let a photo's answers be finished and written as soon as there is room, and note which ones have been."""
        weight = photo.image.nbytes + self.predictor.weight(photo.image.shape[0], photo.image.shape[1])
        for written in self.desk.room(weight):
            self._settle(*written)
        seconds = photo.seconds + begun.seconds
        self.desk.put((photo.found, photo.image.shape[:2], seconds), weight, self._write, photo, begun.finish)
        for written in self.desk.done():
            self._settle(*written)

    def _settle(self, photo: tuple[Found, tuple[int, int], float], writing: Future) -> None:
        (found, hw, seconds), written = photo, writing.result()
        line = {"status": "done", "seconds": seconds + written.seconds, "hw": hw}
        if written.wrong is not None:
            self.fail(found, written.wrong, seconds=line["seconds"])
        elif self.packing is None:
            self._note(found, **line, files=written.files)
        else:
            self._pack(self.packing, found, written.members, line)

    def _pack(self, packing: Packing, found: Found, inside: dict[str, memoryview], line: dict[str, Any]) -> None:
        """Put a photo's answers into a shard; it is noted when that is whole."""
        if packing.full(inside):
            self._seal()
        try:
            packing.add(found.name, inside, (found, line))
        except OSError as error:
            self.fail(found, error, seconds=line["seconds"])
        else:
            self.bar.update()

    def _seal(self) -> None:
        """Finish the shard that is open, if there is one."""
        if self.packing is None or not self.packing.waiting:
            return
        packing, waiting = self.packing, self.packing.waiting
        try:
            packing.close([packing.manifest.line_of(found, **line, files=[packing.path]) for found, line in waiting])
        except OSError as error:
            self.bar.update(-len(waiting))
            for found, line in waiting:
                self.fail(found, error, seconds=line["seconds"])

    def _write(self, photo: Waiting, finish: Callable[[], Answers]) -> Written:
        """Finish and write what was found in a photo; in a thread of its own, so nothing of the run is changed here."""
        hw = (photo.image.shape[0], photo.image.shape[1])
        about = About(hw) if photo.people is None else About(hw, photo.people.boxes, photo.people.scores)
        began, wrong = time.perf_counter(), None
        files: list[Path] = []
        inside: dict[str, memoryview] = {}
        try:
            answers = finish()
            for task in self.predictor.tasks:  # one picture at a time: at 4K each takes a hundred megabytes
                self._put(photo, task.asked(answers[task.name], self.ask._replace(about=about)), files, inside)
                if self.render or self.gallery:
                    drawn = self.predictor.draw(task, photo.image, answers, boxes=photo.boxes)
                    self._put(photo, {f"{task.name}.jpg": drawn} if self.render else {}, files, inside)
                if self.gallery:
                    legends = {task.name: task.legend(answers[task.name])}
                    files += exhibit(self.out, photo.found.name, {task.name: drawn}, legends=legends)
            files += exhibit(self.out, photo.found.name, {PHOTO: photo.image} if self.gallery else {})
        except FORGIVEN as error:
            wrong = error
        return Written(files, inside, wrong, time.perf_counter() - began)

    def _put(self, photo: Waiting, what: dict[str, Any], files: list[Path], inside: dict[str, memoryview]) -> None:
        """Write files, or get them ready for a shard."""
        if self.packing is None:
            files += write(self.out, photo.found.name, what)
        else:
            inside |= members(photo.found.name, what)

    def _full(self, queue: Iterable[Waiting]) -> float:
        return self.predictor.fill(photo.boxes for photo in queue)


def run(
    predictor: Predictor,
    photos: list[Found],
    out: Path,
    *,
    finder: Finder = whole,
    ask: Ask = USUAL,
    render: bool = True,
    smooth: bool = True,
    smooth_maps: bool = False,
    gallery: bool = False,
    manifest: Manifest | None = None,
    packing: Packing | None = None,
    workers: int | None = None,
) -> dict[str, str]:
    """Answer every photo and video and write what was found; returns name -> sentence for those that failed.

    Args:
        photos: what to answer; a video is known by its suffix.
        out: the folder for the answers.
        finder: who is looked at.
        ask: the formats.
        render: pictures of the answers, too.
        smooth: in videos, points are smoothed over time.
        smooth_maps: so are parts, depth and normals.
        gallery: a page on which photos lie over their answers; videos are not in it.
        manifest: what it has is left alone, and the rest goes into it.
        packing: answers of photos go into its shards, instead of files of their own; the gallery and videos do not.
        workers: threads that read and write while the network looks; 0: one thing after another; None: `usual_workers`. The files
            are the same.
    """
    began = time.perf_counter()
    left = [found for found in photos if manifest is None or not manifest.has(found)]
    if before := len(photos) - len(left):
        log.info("%d of %d were answered before and stay as they are; --again answers them, too", before, len(photos))
    workers = usual_workers() if workers is None else workers
    with (
        ThreadPoolExecutor(workers, "infer") if workers else Here() as pool,
        tqdm(total=len(left), desc="infer", unit="img") as bar,
    ):
        desk = Belt(pool, most=max(BEHIND, workers * EACH) if predictor.late else BEHIND)
        with (
            Run(predictor, out, ask, render, bar, desk, gallery, manifest, packing) as job,
            closing(read_ahead(left, pool)) as reads,
        ):
            for one in reads:
                if is_video(one.found.path):
                    job.take_video(one.found, finder, smooth=smooth, smooth_maps=smooth_maps)
                else:
                    job.take(one, finder)
            job.flush()
    if gallery and not all(is_video(found.path) for found in photos):
        log.info("the gallery is %s", make_page(out))
    seconds, failed = time.perf_counter() - began, job.failed
    done = len(left) - len(failed)
    kinds = "photos and videos" if any(is_video(found.path) for found in photos) else "photos"
    log.info("%d of %d %s answered in %.1f s, written to %s", done, len(left), kinds, seconds, out)
    if failed:
        log.warning("%d skipped: %s", len(failed), ", ".join(sorted(failed)[:20]) + (", ..." if len(failed) > 20 else ""))
    return failed


def usual_workers() -> int:
    """As many threads as the machine has cores, sixteen at most, shared with the other processes of torchrun; at least one."""
    return max(1, min(THREADS, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
