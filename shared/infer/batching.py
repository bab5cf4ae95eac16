"""Views of several pictures through the network together: dealt into batches, told apart again, and finished when asked for."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from shared.infer.preset import Look

log = logging.getLogger(__name__)

Answers = dict[str, np.ndarray]
Picture = tuple[np.ndarray, np.ndarray | None]  # (H,W,3) uint8 RGB, and the boxes (P,4) of people, None: it is one as a whole
Step = Callable[[], torch.Tensor]  # what is left to do for one answer


class Pass(NamedTuple):
    """Tasks that one pass of the backbone answers, and what it shows.

    Attributes:
        look: how.
        per_person: a view for each box, instead of the whole picture.
        points: its tasks answer points alone, which take no room to speak of.
        names: of the tasks.
    """

    look: Look
    per_person: bool
    points: bool
    names: tuple[str, ...]


class Shown(NamedTuple):
    """One view of a picture (H,W,3): of a box (4,), or of the whole with these people (P,4) in it; None: there is no such thing."""

    image: np.ndarray
    box: np.ndarray | None
    people: np.ndarray | None


class Begun(NamedTuple):
    """A picture that was looked at.

    Attributes:
        finish: called once, in any thread, gives its answers.
        seconds: that looking took; what pictures did together by equal parts.
    """

    finish: Callable[[], Answers]
    seconds: float


class Pending:
    """Answers of one view at which the device may still work. Called, once and in any thread, it finishes them.

    On a GPU that is done on a stream beside the one in use when this was made, so the network goes on with other pictures.

    Args:
        steps: what is left to do, by task; each is let go, with all that it holds, when it is done.
        beside: the stream for it; None: there is none.
    """

    def __init__(self, steps: dict[str, Step], beside: torch.cuda.Stream | None) -> None:
        self._steps, self._beside = steps, beside
        self._ready = None if beside is None else torch.cuda.current_stream(beside.device).record_event()

    @torch.inference_mode()
    def __call__(self) -> Answers:
        """The answers, on the CPU.

        Raises:
            MemoryError: the device has no room to finish them.
        """
        if self._beside is None or self._ready is None:
            return self._finish()
        try:
            with torch.cuda.stream(self._beside):
                self._beside.wait_event(self._ready)
                return self._finish()
        except torch.OutOfMemoryError as error:
            raise MemoryError("the device has no room to bring an answer to the size of its picture") from error

    def _finish(self) -> Answers:
        return {name: self._steps.pop(name)().numpy() for name in list(self._steps)}


@dataclass
class Room:
    """How many views go through the network at once; fewer from when the device turned out to have no room for them."""

    views: int

    def batches(self, views: Sequence[Shown], look: Callable[[Sequence[Shown]], list[Pending]]) -> Iterator[Pending]:
        """What `look` begins of every view, in order.

        Raises:
            MemoryError: there is no room for a single one.
        """
        while views:
            some = views[: self.views]
            try:
                yield from look(some)
            except torch.OutOfMemoryError as error:
                if len(some) == 1:
                    raise MemoryError("the device has no room for one view; make it smaller (--size), or use another") from error
                self.views = len(some) // 2
                log.warning("the device has no room for %d views at once; from now on it is shown %d", len(some), self.views)
            else:
                views = views[len(some) :]


def deal(
    pictures: Sequence[Picture],
    passes: Callable[[np.ndarray | None], Sequence[Pass]],
    look: Callable[[Pass, Sequence[Shown]], list[Pending]],
    room: Room,
) -> list[dict[Pass, list[Pending]]]:
    """Begin to answer all views of all pictures, each pass in batches of its own, and tell them apart again.

    Args:
        pictures: some.
        passes: boxes (P,4) or None -> what is to be done for a picture with these people.
        look: begins a batch.
        room: how large one is.
    """
    dealt: dict[Pass, list[tuple[int, Shown]]] = {}  # number of the picture, view
    for number, (image, boxes) in enumerate(pictures):
        for one in passes(boxes):
            views = (
                [Shown(image, box, None) for box in boxes] if one.per_person and boxes is not None else [Shown(image, None, boxes)]
            )
            dealt.setdefault(one, []).extend((number, view) for view in views)
    found: list[dict[Pass, list[Pending]]] = [{} for _ in pictures]
    for one, views in dealt.items():
        pending = room.batches([view for _, view in views], lambda some, one=one: look(one, some))
        for (number, _), answer in zip(views, pending, strict=True):
            found[number].setdefault(one, []).append(answer)
    return found
