"""A video through a model: frames decoded ahead, looked at in batches, people told apart and held still, each frame written.

Nothing here grows with the length of the video: a few frames wait before the network, and each is written when it is answered.
P people, K points.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from shared.data.photo import Found
from shared.formats import About, Ask
from shared.infer.batching import Answers, Begun
from shared.infer.film import Film, Lines
from shared.infer.people import Finder, People
from shared.infer.predictor import Predictor
from shared.infer.smoothing import TRUSTED, OneEuro
from shared.infer.steady import Steady
from shared.infer.tracking import Tracker, draw_numbers
from shared.infer.video import Clip, Frame
from shared.infer.writer import write
from shared.task import Task

HELD = 50_000_000  # pixels of frames that wait for a batch to fill, 150 MB; one frame may have more
WHOLE = 0  # the number of the one person that a picture as a whole is


class Seen(NamedTuple):
    """A frame and who is in it; None: the whole frame is one person."""

    frame: Frame
    people: People | None

    @property
    def boxes(self) -> np.ndarray | None:
        return None if self.people is None else self.people.boxes


class Followed(NamedTuple):
    """The people of a frame, told apart."""

    points: np.ndarray  # (P,K,3) x px, y px, score
    numbers: np.ndarray  # (P,) int
    boxes: np.ndarray | None  # (P,4) for drawing; None where the whole frame is one person


def watch(
    predictor: Predictor,
    found: Found,
    out: Path,
    *,
    finder: Finder,
    ask: Ask,
    render: bool = True,
    smooth: bool = True,
    smooth_maps: bool = False,
) -> tuple[list[Path], str | None]:
    """Answer every frame: `<name>.<task>.mp4`, for points `<name>.<task>.jsonl`, and in the formats asked for `<name>/000123.*`.

    Args:
        finder: is asked for `clip.mp4/000123` and, where it knows nothing of that frame, for `clip.mp4`.
        ask: formats, for files of each frame.
        render: pictures of the answers.
        smooth: points are smoothed over time.
        smooth_maps: so are parts, depth and normals.

    Returns:
        The films, the lines and what was written of the last frame; and what is wrong with the video, although all frames that
        could be read are answered, None: nothing.

    Raises:
        ValueError: the video cannot be read or its pictures not written, or nothing would be written at all.
        OSError: the disk refused.
    """
    with Clip(found.path) as clip, ExitStack() as held:
        how: dict[str, Any] = {"clip": clip, "held": held, "ask": ask, "render": render, "smooth": smooth}
        reels = [Reel(predictor, task, out / found.name, **how) for task in predictor.tasks]
        bar = held.enter_context(tqdm(total=clip.frames, desc=found.name, unit="frame", leave=False))
        steady = Steady(predictor.tasks) if smooth_maps else None
        for seen, answers in _answered(predictor, _seen(clip, finder)):
            if steady is not None:
                answers = steady(seen.frame.image, answers, seconds=seen.frame.seconds)
            for reel in reels:
                reel.add(seen, answers)
            bar.update()
    return [path for reel in reels for path in reel.written], clip.complaint


def _seen(clip: Clip, finder: Finder) -> Iterator[Seen]:
    for frame in clip:
        people = finder(f"{clip.path.name}/{frame.index:06d}", frame.image)
        yield Seen(frame, finder(clip.path.name, frame.image) if people is None else people)


def _answered(predictor: Predictor, frames: Iterable[Seen]) -> Iterator[tuple[Seen, Answers]]:
    """Frames in batches; a GPU works at the next one already while one is finished."""
    before: Iterable[tuple[Seen, Begun]] = ()
    for some in _batches(predictor, frames):
        begun: Iterable[tuple[Seen, Begun]] = zip(some, predictor.begin([(seen.frame.image, seen.boxes) for seen in some]))
        if predictor.late:
            before, begun = list(begun), before
        yield from ((seen, one.finish()) for seen, one in begun)
        del some, begun  # its frames, before others are read
    yield from ((seen, one.finish()) for seen, one in before)


def _batches(predictor: Predictor, frames: Iterable[Seen]) -> Iterator[list[Seen]]:
    """Frames wait until their people fill a batch of the network."""
    queue: list[Seen] = []
    for seen in frames:
        full = predictor.fill(one.boxes for one in [*queue, seen])
        if queue and (full > 1 or sum(one.frame.image.size // 3 for one in [*queue, seen]) > HELD):
            yield queue
            queue = []
        queue.append(seen)
        if not 0 < predictor.fill(one.boxes for one in queue) < 1:
            yield queue
            queue = []
    if queue:
        yield queue


class Reel:
    """What becomes of one task's answers: a film, lines, files of each frame.

    Args:
        predictor: draws the answers.
        task: whose they are.
        path: of the outputs, without suffix.
        clip: the video that is answered.
        held: closes film and lines, which get their names then.
        ask: see `watch`, as for render and smooth.
    """

    def __init__(
        self,
        predictor: Predictor,
        task: Task,
        path: Path,
        *,
        clip: Clip,
        held: ExitStack,
        ask: Ask,
        render: bool,
        smooth: bool,
    ) -> None:
        self.predictor, self.task, self.path, self.ask, self.fps = predictor, task, path, ask, clip.fps
        self.files = bool(ask.formats & set(task.formats))  # of each frame
        points = task.answers == "points"
        if not (render or self.files or points):
            raise ValueError(
                f"nothing of {task.name} would be written for the video {clip.path}; "
                "leave --no-render out, or ask for files of each frame with --formats"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        named = path.with_name(f"{path.name}.{task.name}.mp4")
        self.film = held.enter_context(Film(named, fps=clip.fps)) if render else None
        self.lines = held.enter_context(Lines(named.with_suffix(".jsonl"))) if points else None
        self._of_all = [named] * render + [named.with_suffix(".jsonl")] * points
        self._of_last: list[Path] = []  # frame
        self.follow = Follower(Tracker(task.vocabulary.sigmas if task.vocabulary else None), smooth=smooth) if points else None

    @property
    def written(self) -> list[Path]:
        """Files by which one can tell whether the answers are still there."""
        return self._of_all + self._of_last

    def add(self, seen: Seen, answers: Answers) -> None:
        """One more frame."""
        frame, answer, hw = seen.frame, answers[self.task.name], (seen.frame.image.shape[0], seen.frame.image.shape[1])
        about = About(hw) if seen.people is None else About(hw, seen.people.boxes, seen.people.scores)
        followed = None if self.follow is None else self.follow(answer, seen.people, seconds=frame.seconds)
        if followed is not None:
            answer = followed.points
            if self.lines is not None:
                self.lines.add(self._line(frame, followed, about))
        if self.files:
            self._of_last = write(self.path, f"{frame.index:06d}", self.task.asked(answer, self.ask._replace(about=about)))
        if self.film is not None:
            boxes = None if followed is None else followed.boxes
            picture = self.predictor.draw(self.task, frame.image, {**answers, self.task.name: answer}, boxes=boxes)
            self.film.add(picture if followed is None or boxes is None else draw_numbers(picture, boxes, followed.numbers))

    def _line(self, frame: Frame, followed: Followed, about: About) -> dict[str, Any]:
        """What a photo's JSON says of people, and their numbers; what it says of all of them stands in the first line only."""
        ask = self.ask._replace(about=about, formats=frozenset())
        told = dict(next(iter(self.task.asked(followed.points, ask).values())))
        people = [{"track": int(number), **person} for number, person in zip(followed.numbers, told.pop("people"), strict=True)]
        line = {"frame": frame.index, "seconds": round(frame.seconds, 6), "people": people}
        return line if frame.index else {**line, "fps": self.fps, **told}


class Follower:
    """Points of each frame -> the same people's points, numbered and held still.

    Args:
        tracker: says who is who.
        smooth: smooth points, and boxes for drawing, over time.
    """

    def __init__(self, tracker: Tracker, *, smooth: bool) -> None:
        self.tracker, self.smooth = tracker, smooth
        self._filters: dict[int, OneEuro] = {}

    def __call__(self, answer: np.ndarray, people: People | None, *, seconds: float) -> Followed:
        """The people of the next frame.

        Args:
            answer: (P,K,3), or (K,3) where the whole frame is one person. What is not finite becomes 0 0 with score 0.
            people: whose boxes they are, or None.
            seconds: of the frame.
        """
        points = np.where(np.isfinite(answer).all(-1, keepdims=True), answer, 0)
        if people is None:
            points = points[None]
            boxes, numbers = _extents(points), np.array([WHOLE])
        else:
            boxes = people.boxes.astype(float)
            numbers = self.tracker(boxes, points, seconds=seconds)
        if self.smooth:
            points, boxes = self._smoothed(points, boxes, numbers, seconds)
        return Followed(points, numbers, None if people is None else boxes)

    def _smoothed(
        self, points: np.ndarray, boxes: np.ndarray, numbers: np.ndarray, seconds: float
    ) -> tuple[np.ndarray, np.ndarray]:
        alive = {WHOLE, *self.tracker.alive}
        self._filters = {number: filter_ for number, filter_ in self._filters.items() if number in alive}
        points, boxes = points.copy(), boxes.copy()
        for p, number in enumerate(numbers.tolist()):
            size_px = float((boxes[p, 2:] - boxes[p, :2]).max())
            corners = np.c_[boxes[p].reshape(2, 2), np.ones(2)]  # always sure
            filter_ = self._filters.setdefault(number, OneEuro())
            held = filter_(np.concatenate([points[p], corners]), seconds=seconds, size_px=size_px)
            points[p], boxes[p] = held[:-2], held[-2:, :2].ravel()
        return points, boxes


def _extents(points: np.ndarray) -> np.ndarray:
    """Boxes (P,4) around the sure points of (P,K,3), or around all where none is sure."""
    sure = points[..., 2:] >= TRUSTED
    sure = sure | ~sure.any(1, keepdims=True)
    low, high = (np.where(sure, points[..., :2], far) for far in (np.inf, -np.inf))
    return np.concatenate([low.min(1), high.max(1)], -1).astype(float)
