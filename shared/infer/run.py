"""Photos and videos through a model: read, look, write; people of several photos wait for one another, a bad one is named."""

import logging
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from shared.data.photo import Found, read_photo
from shared.formats import About, Ask
from shared.infer.manifest import Manifest
from shared.infer.people import Finder, People, whole
from shared.infer.predictor import Answers, Predictor
from shared.infer.video import is_video
from shared.infer.watch import watch
from shared.infer.writer import write

log = logging.getLogger(__name__)
USUAL = Ask()
HELD = 50_000_000  # pixels of photos that wait, 150 MB; one photo may have more


class Waiting(NamedTuple):
    """A photo whose people are known, (H,W,3) uint8 RGB."""

    found: Found
    image: np.ndarray
    people: People | None
    seconds: float  # that reading and finding took

    @property
    def boxes(self) -> np.ndarray | None:
        return None if self.people is None else self.people.boxes


@dataclass
class Run:
    """One call of the command: photos wait until their people fill a batch, then they are answered and written in order."""

    predictor: Predictor
    out: Path
    ask: Ask
    render: bool
    bar: tqdm
    manifest: Manifest | None = None
    failed: dict[str, str] = field(default_factory=dict)
    queue: list[Waiting] = field(default_factory=list)

    def take(self, found: Found, finder: Finder) -> None:
        """Read a photo and see who is in it; answer those that wait where it would be one too many."""
        began = time.perf_counter()
        try:
            image = read_photo(found.path)
            photo = Waiting(found, image, finder(found.path.name, image), time.perf_counter() - began)
        except (ValueError, OSError) as error:
            self.fail(found, error, seconds=time.perf_counter() - began)
            return
        queue = [*self.queue, photo]
        if self._views(queue) > self.predictor.batch or sum(waiting.image.size // 3 for waiting in queue) > HELD:
            self.flush()
        self.queue.append(photo)
        if not self._views(self.queue):  # nothing that could go together with others
            self.flush()

    def take_video(self, found: Found, finder: Finder, *, smooth: bool) -> None:
        """Answer a video, after the photos that wait."""
        self.flush()
        began = time.perf_counter()
        try:
            wrong = watch(self.predictor, found, self.out, finder=finder, ask=self.ask, render=self.render, smooth=smooth)
        except (ValueError, OSError) as error:
            self.fail(found, error, seconds=time.perf_counter() - began)
        else:
            if wrong is not None:
                self.fail(found, ValueError(wrong), seconds=time.perf_counter() - began, did="incomplete")
            else:
                self._note(found, status="done", seconds=time.perf_counter() - began)

    def flush(self) -> None:
        """Answer and write all that wait."""
        queue, self.queue = self.queue, []
        began = time.perf_counter()
        found = self._together(queue)
        shared = (time.perf_counter() - began) / max(len(queue), 1)  # what they did together, by equal parts
        for photo, points in zip(queue, found):
            began = time.perf_counter() - shared - photo.seconds
            try:
                files = self._write(photo, self.predictor(photo.image, boxes=photo.boxes, known=points))
            except (ValueError, OSError) as error:
                self.fail(photo.found, error, seconds=time.perf_counter() - began)
            else:
                hw = photo.image.shape[:2]
                self._note(photo.found, status="done", seconds=time.perf_counter() - began, hw=hw, files=files)

    def fail(self, found: Found, error: Exception, *, seconds: float, did: str = "failed") -> None:
        """Name a photo or video that has no answer, or not all of it."""
        self.failed[found.name] = str(error)
        tqdm.write(f"{'skipped' if did == 'failed' else did + ':'} {found.path}: {error}", file=sys.stderr)
        self._note(found, status=did, seconds=seconds, message=str(error))

    def _note(self, found: Found, **line: Any) -> None:
        if self.manifest is not None:
            self.manifest.add(found, **line)
        self.bar.update()

    def _together(self, queue: list[Waiting]) -> list[Answers]:
        """The points of all that wait; where one of the photos cannot be looked at, each will be asked for by itself."""
        try:
            return self.predictor.points([(photo.image, photo.boxes) for photo in queue])
        except ValueError:
            return [{} for _ in queue]

    def _write(self, photo: Waiting, answers: Answers) -> list[Path]:
        hw = (photo.image.shape[0], photo.image.shape[1])
        about = About(hw) if photo.people is None else About(hw, photo.people.boxes, photo.people.scores)
        files: list[Path] = []
        for task in self.predictor.tasks:  # one picture at a time: at 4K each takes a hundred megabytes
            files += write(self.out, photo.found.name, task.asked(answers[task.name], self.ask._replace(about=about)))
            if self.render:
                drawn = self.predictor.draw(task, photo.image, answers, boxes=photo.boxes)
                files += write(self.out, photo.found.name, {f"{task.name}.jpg": drawn})
        return files

    def _views(self, queue: list[Waiting]) -> int:
        return sum(self.predictor.views(photo.boxes) for photo in queue)


def run(
    predictor: Predictor,
    photos: list[Found],
    out: Path,
    *,
    finder: Finder = whole,
    ask: Ask = USUAL,
    render: bool = True,
    smooth: bool = True,
    manifest: Manifest | None = None,
) -> dict[str, str]:
    """Answer every photo and video and write what was found; returns name -> sentence for those that failed.

    Args:
        photos: what to answer; a video is known by its suffix.
        out: the folder for the answers.
        finder: who is looked at.
        ask: the formats.
        render: pictures of the answers, too.
        smooth: in videos, points are smoothed over time.
        manifest: what it has is left alone, and the rest goes into it.
    """
    began = time.perf_counter()
    left = [found for found in photos if manifest is None or not manifest.has(found)]
    if len(left) < len(photos):
        log.info(
            "%d of %d were answered before and stay as they are; --again answers them, too", len(photos) - len(left), len(photos)
        )
    with tqdm(total=len(left), desc="infer", unit="img") as bar:
        job = Run(predictor, out, ask, render, bar, manifest)
        for found in left:
            if is_video(found.path):
                job.take_video(found, finder, smooth=smooth)
            else:
                job.take(found, finder)
        job.flush()
    seconds, failed = time.perf_counter() - began, job.failed
    done = len(left) - len(failed)
    kinds = "photos and videos" if any(is_video(found.path) for found in photos) else "photos"
    log.info("%d of %d %s answered in %.1f s, written to %s", done, len(left), kinds, seconds, out)
    if failed:
        log.warning("%d skipped: %s", len(failed), ", ".join(sorted(failed)[:20]) + (", ..." if len(failed) > 20 else ""))
    return failed
