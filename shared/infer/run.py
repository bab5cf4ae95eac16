"""Photos and videos through a model: read, look, write; people of several photos wait for one another, a bad one is named."""

import logging
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from shared.data.photo import Found, read_photo
from shared.formats import About, Ask
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
    failed: dict[str, str] = field(default_factory=dict)
    queue: list[Waiting] = field(default_factory=list)

    def take(self, found: Found, finder: Finder) -> None:
        """Read a photo and see who is in it; answer those that wait where it would be one too many."""
        try:
            image = read_photo(found.path)
            photo = Waiting(found, image, finder(found.path.name, image))
        except (ValueError, OSError) as error:
            self.fail(found, error)
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
        try:
            wrong = watch(self.predictor, found, self.out, finder=finder, ask=self.ask, render=self.render, smooth=smooth)
        except (ValueError, OSError) as error:
            self.fail(found, error)
        else:
            if wrong is not None:
                self.fail(found, ValueError(wrong), did="incomplete:")
            else:
                self.bar.update()

    def flush(self) -> None:
        """Answer and write all that wait."""
        queue, self.queue = self.queue, []
        for photo, points in zip(queue, self._together(queue)):
            try:
                self._write(photo, self.predictor(photo.image, boxes=photo.boxes, known=points))
            except (ValueError, OSError) as error:
                self.fail(photo.found, error)
            else:
                self.bar.update()

    def fail(self, found: Found, error: Exception, *, did: str = "skipped") -> None:
        """Name a photo or video that has no answer, or not all of it."""
        self.failed[found.name] = str(error)
        tqdm.write(f"{did} {found.path}: {error}", file=sys.stderr)
        self.bar.update()

    def _together(self, queue: list[Waiting]) -> list[Answers]:
        """The points of all that wait; where one of the photos cannot be looked at, each will be asked for by itself."""
        try:
            return self.predictor.points([(photo.image, photo.boxes) for photo in queue])
        except ValueError:
            return [{} for _ in queue]

    def _write(self, photo: Waiting, answers: Answers) -> None:
        hw = (photo.image.shape[0], photo.image.shape[1])
        about = About(hw) if photo.people is None else About(hw, photo.people.boxes, photo.people.scores)
        for task in self.predictor.tasks:  # one picture at a time: at 4K each takes a hundred megabytes
            write(self.out, photo.found.name, task.asked(answers[task.name], self.ask._replace(about=about)))
            if self.render:
                drawn = self.predictor.draw(task, photo.image, answers, boxes=photo.boxes)
                write(self.out, photo.found.name, {f"{task.name}.jpg": drawn})

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
) -> dict[str, str]:
    """Answer every photo and video and write what was found; returns name -> sentence for those that failed.

    Args:
        photos: what to answer; a video is known by its suffix.
        out: the folder for the answers.
        finder: who is looked at.
        ask: the formats.
        render: pictures of the answers, too.
        smooth: in videos, points are smoothed over time.
    """
    began = time.perf_counter()
    with tqdm(total=len(photos), desc="infer", unit="img") as bar:
        job = Run(predictor, out, ask, render, bar)
        for found in photos:
            if is_video(found.path):
                job.take_video(found, finder, smooth=smooth)
            else:
                job.take(found, finder)
        job.flush()
    seconds, failed = time.perf_counter() - began, job.failed
    done = len(photos) - len(failed)
    kinds = "photos and videos" if any(is_video(found.path) for found in photos) else "photos"
    log.info("%d of %d %s answered in %.1f s, written to %s", done, len(photos), kinds, seconds, out)
    if failed:
        log.warning("%d skipped: %s", len(failed), ", ".join(sorted(failed)[:20]) + (", ..." if len(failed) > 20 else ""))
    return failed
