"""How closely the maps of a picture are looked at: as a whole, or besides in close views of its people or in tiles."""

from collections.abc import Mapping, Sequence

import numpy as np

from shared.data.view import Size, View
from shared.dense.frame import DIRECT
from shared.dense.mosaic import Close, tiles
from shared.infer.preset import Preset
from shared.task import Task

MODES = ("whole", "people", "tiles", "auto")
ZOOM = 4.0  # how many times as large as in the whole view a tile shows things, at most
OVERLAP = 0.25  # of tiles
FADE = 0.1  # of the shorter side of a person's view
WORTH = 1.1  # a person who is shown this many times as large is looked at again; one who fills the picture is not


def close_views(mode: str, hw: Size, size: Size, boxes: np.ndarray | None, *, zoom: float = ZOOM) -> list[Close]:
    """The close views of a picture of (H,W) pixels for a network that sees `size`; none where the whole says it all.

    Args:
        mode: `people`: of each box; `tiles`: of all of the picture; `auto`: of people where boxes are known; `whole`: none.
        hw: of the picture.
        size: of the network's input.
        boxes: (P,4) x0 y0 x1 y1 px; None: nobody knows.
        zoom: of tiles, against the whole view; never beyond the picture's own pixels.
    """
    whole = View.whole(hw, size)
    if mode == "tiles":
        return tiles(hw, size, scale=min(1.0, zoom * whole.scale), overlap=OVERLAP) if whole.scale < 1 else []
    if mode == "whole" or boxes is None:
        return []
    views = [View.box(box, size) for box in boxes]
    return [Close(view, FADE * min(size) / view.scale) for view in views if view.scale > WORTH * whole.scale]


def composable(task: Task, preset: Preset) -> bool:
    """Whether close views can stand in the task's answer: pixels, without lengths that a view changes, and by our own way back."""
    return (
        task.answers == "map" and not task.lengths and not task.canonical and preset.back == DIRECT and preset.look.frame == "fit"
    )


def refuse_mode(mode: str, tasks: Sequence[Task], presets: Mapping[str, Preset], zoom: float) -> None:
    """Raise for a mode that there is not, or that changes nothing for any of the tasks.

    Raises:
        ValueError: likewise.
    """
    if mode not in MODES:
        raise ValueError(f"there is no mode {mode!r}; choose one of {', '.join(MODES)}")
    if not zoom >= 1:
        raise ValueError(f"the zoom {zoom:g} of tiles is less than 1: the whole view shows more than they would")
    if mode in ("people", "tiles") and not any(composable(task, presets[task.name]) for task in tasks):
        names = ", ".join(task.name for task in tasks)
        raise ValueError(
            f"the mode {mode} is for parts, relative depth and normals by the default preset, and these are {names}; leave it out"
        )
