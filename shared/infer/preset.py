"""How a picture is shown to the network and how the answer goes back: ours, and what the official code of each task does.

A preset is a row of data; the pipeline that obeys it is the Predictor's, the same for all. Where ours differ from the official
ones, and why, is in docs/checkpoints.md.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np

from shared.data.fields import warp
from shared.data.view import Size, View
from shared.dense.frame import Back
from shared.task import Task

LONGEST = 32_766  # pixels; OpenCV's affine warp counts them in 16 bits


class Look(NamedTuple):
    """How a picture is shown.

    Attributes:
        frame: `fit` is our own: aspect kept, shrunk by averages. `stretch`: the whole picture onto the whole view. `letterbox`:
            aspect kept, cut down to whole pixels, black around. `corners`: a box, corners on corners (UDP).
        shrink: OpenCV's interpolation where the picture becomes smaller; `fit` has its own.
        enlarge: where it becomes larger.
        flip: its mirror image is shown, too, and both answers are averaged.
    """

    frame: Literal["fit", "stretch", "letterbox", "corners"] = "fit"
    shrink: int = cv2.INTER_LINEAR
    enlarge: int = cv2.INTER_LINEAR
    flip: bool = False


class Preset(NamedTuple):
    """One row.

    Attributes:
        look: how a picture is shown.
        back: how maps go back into the picture.
        options: fields of the task that decode otherwise.
        needs: fields of the task, and which of their values have an official way at all.
    """

    look: Look = Look()
    back: Back = Back()
    options: Mapping[str, Any] = MappingProxyType({})
    needs: Mapping[str, tuple[str, ...]] = MappingProxyType({})


_BOX, _STRETCH = Look("corners", flip=True), Look("stretch")
_BOX2, _STRETCH2, _LETTERBOX2 = (Look(frame, cv2.INTER_AREA, cv2.INTER_CUBIC) for frame in ("corners", "stretch", "letterbox"))  # type: ignore[arg-type]
_DARK = {"blur": 11, "reach": inf}
OFFICIAL = {  # specification: sapiens1.md 3.2, 3.6, 7.2; sapiens2.md 2.1 to 2.4
    "sapiens": {
        "pose": Preset(_BOX, options=_DARK, needs={"skeleton": ("coco17", "wholebody133", "sapiens308")}),
        "seg": Preset(_STRETCH, Back(through=True), needs={"labels": ("sapiens28", "lip20")}),
        "depth": Preset(_STRETCH, Back(through=True)),
        "normal": Preset(_STRETCH, Back(through=True)),
    },
    "sapiens2": {
        "pose": Preset(_BOX2._replace(flip=True), options=_DARK, needs={"skeleton": ("sapiens308",)}),
        "seg": Preset(_STRETCH2, needs={"labels": ("sapiens29",)}),
        "normal": Preset(_LETTERBOX2, Back(late=True)),
        "pointmap": Preset(_LETTERBOX2, Back(late=True, blur=4)),
    },
}
PRESETS = ("default", "official")


def preset_of(name: str, task: Task, family: str, *, flip: bool = False) -> tuple[Preset, Task]:
    """The row for a task of a family of models, and the task as it decodes then; `flip` averages with the mirror image anyway.

    Raises:
        ValueError: no such preset, or the official code has no such task or no such words.
    """
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}")
    rows = OFFICIAL.get(family, {}) if name == "official" else {task.name: Preset()}
    if task.name not in rows:
        have = ", ".join(rows) or "nothing"
        raise ValueError(
            f"there is no official {task.name} for models of the family {family}, which has {have}; use the default preset"
        )
    row = rows[task.name]
    for option, known in row.needs.items():
        if (own := getattr(task, option)) not in known:
            what = repr(own) if isinstance(own, str) else "a table of its own"
            raise ValueError(f"the official {task.name} of {family} has {option} {' or '.join(known)}, and this model has {what}; "
                             "use the default preset")  # fmt: skip
    row = row._replace(look=row.look._replace(flip=flip or row.look.flip))
    return row, replace(task, **row.options) if row.options else task  # type: ignore[type-var]


def view_of(look: Look, image_hw: Size, box: np.ndarray | None, size: Size) -> View:
    """Where the picture, or the person in a box (x0,y0,x1,y1 px), stands in the network's input."""
    if look.frame == "corners":
        whole = np.array([0, 0, image_hw[1], image_hw[0]])  # officially nobody found is one person, with room around like any other
        return View.corners(whole if box is None else box, size)
    if look.frame == "fit":
        return View.whole(image_hw, size) if box is None else View.box(box, size)
    return View.stretch(image_hw, size, inside=_inside(look, image_hw, size))


def show(look: Look, image: np.ndarray, view: View) -> np.ndarray:
    """The network's input: (h,w,3) uint8 RGB of any size -> (H,W,3).

    Raises:
        ValueError: the picture is longer than OpenCV's affine warp can address.
    """
    if look.frame == "fit":
        return warp({"image": image}, view)["image"]
    if look.frame == "corners":
        if max(image.shape) > LONGEST:
            raise ValueError(
                f"the picture is {image.shape[1]}x{image.shape[0]}, and the official warp ends at {LONGEST}; make it smaller"
            )
        flags = look.shrink if min(view.matrix[0, 0], view.matrix[1, 1]) < 1 else look.enlarge
        return cv2.warpAffine(image, view.matrix.astype(np.float32), (view.size[1], view.size[0]), flags=flags)
    top, left, height, width = _inside(look, (image.shape[0], image.shape[1]), view.size)
    canvas = np.zeros((*view.size, 3), np.uint8)
    flags = look.shrink if width < image.shape[1] else look.enlarge  # the width alone decides, officially
    canvas[top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=flags)
    return canvas


def _inside(look: Look, image_hw: Size, size: Size) -> tuple[int, int, int, int]:
    """Top, left, height and width of the picture in the view."""
    (h, w), (H, W) = image_hw, size
    if look.frame == "stretch":
        return 0, 0, H, W
    scale = min(W / w, H / h)
    height, width = max(1, int(h * scale)), max(1, int(w * scale))  # cut down, not rounded
    return (H - height) // 2, (W - width) // 2, height, width
