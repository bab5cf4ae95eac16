"""What a sample may hold, and how each kind of field answers a View. The only place that knows.

A sample is a `dict[str, Array]`; docs/conventions.md has this table with units in words.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np

from shared.data.encoded import Encoded
from shared.data.view import View

Sample = dict[str, np.ndarray]


class Field(NamedTuple):
    """One row of the table: how the field moves (`kind`), its type and the value that means "unknown"."""

    kind: str  # colour | label | scalar | share | vector | points | box | camera
    dtype: type
    unknown: float
    trailing: tuple[int, ...]  # the shape after (H, W), (K,) or nothing


FIELDS = {
    "image": Field("colour", np.uint8, 0, (3,)),  # RGB
    "seg": Field("label", np.uint8, 255, ()),  # class id
    "depth": Field("scalar", np.float32, np.nan, ()),  # metres along the optical axis
    "normal": Field("vector", np.float32, np.nan, (3,)),  # unit; x right, y up, z toward the viewer
    "keypoints": Field("points", np.float32, 0, (3,)),  # x px, y px, visibility 0 or 1
    "box": Field("box", np.float32, np.nan, (4,)),  # x0 y0 x1 y1 px
    "intrinsics": Field("camera", np.float32, np.nan, (4,)),  # fx fy cx cy px, of a pinhole camera
    "person": Field("label", np.uint8, 255, ()),  # 0 nobody, 1, 2, ... people
    "alpha": Field("share", np.float32, np.nan, ()),  # 0..1 of the pixel that people cover
    "albedo": Field("colour", np.uint8, 0, (3,)),  # RGB as sRGB encodes it, without light and shadow
    "sure": Field("share", np.float32, np.nan, ()),  # 0..1, a teacher's probability of the class that `seg` has
}
EXTRA = ("person", "alpha", "albedo")  # few makers have them, and shards hold them on request only
TAUGHT = ("sure",)  # only models that label pictures for others have them
CORE = tuple(name for name in FIELDS if name not in (*EXTRA, *TAUGHT))  # what every maker of people gives
MAPS = tuple(name for name, field in FIELDS.items() if field.kind in {"colour", "label", "scalar", "share", "vector"})
SKEW = 1e-3  # the most that a camera's axes may be off the right angle, as a sine, where only fx fy cx cy are kept


def warp(sample: Sample, view: View, *, swaps: Mapping[str, np.ndarray] = MappingProxyType({})) -> Sample:
    """The sample as the view sees it. Fields not in the table are dropped.

    Args:
        sample: fields of one picture; maps all of one size.
        view: where to look.
        swaps: field -> permutation of its ids under a mirror image (classes, keypoints); without one, ids stay.
    """
    swaps = swaps if view.flip else {}
    return {name: _MOVE[FIELDS[name].kind](name, value, view, swaps.get(name)) for name, value in sample.items() if name in FIELDS}


def _move_image(name: str, image: np.ndarray | Encoded, view: View, swap: np.ndarray | None) -> np.ndarray:
    moved, there = _means(image, view)
    return moved if there is None else cv2.bitwise_and(moved, moved, mask=there)


def _move_share(name: str, share: np.ndarray, view: View, swap: np.ndarray | None) -> np.ndarray:
    """Means, because half of two pixels covered is a pixel half covered; one with an unknown part is unknown."""
    moved, there = _means(share, view)
    return moved if there is None else np.where(there, moved, share.dtype.type(FIELDS[name].unknown))


def _means(image: np.ndarray | Encoded, view: View) -> tuple[np.ndarray, np.ndarray | None]:
    """What lies under each pixel of the view, and (H,W) 255 where the picture is, 0 beyond it; None: it is everywhere.

    Shrunk by averages first, as sampling a 4K photo at every fourth pixel would alias; a photo's decoder may begin with that. Then
    bilinear, but the picture's own border does not fade into what lies beyond it: labels end there at once, too.
    """
    factor = max(1, int(1 / max(view.scale, 1e-6)))
    H, W = view.size
    corners = view.to_source(np.array([[0, 0], [W - 1, 0], [0, H - 1], [W - 1, H - 1]]))
    rows = 8 * factor * max(1, -(-int(corners[:, 1].max() + 2 * factor) // (8 * factor)))  # as far down as the view looks
    pixels, by = image.decoded(factor, rows=rows if rows < image.shape[0] else None) if isinstance(image, Encoded) else (image, 1)
    covered = (by * pixels.shape[0], by * pixels.shape[1])  # pixels of the picture, and fewer than `by` beyond its edge
    h, w = (max(1, n // factor) for n in covered)
    if (h, w) != pixels.shape[:2]:
        pixels = cv2.resize(pixels, (w, h), interpolation=cv2.INTER_AREA)
    matrix, size = _of_shrunk(view, covered, (h, w)).matrix, view.size[::-1]
    moved = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = (corners >= 0).all() and (corners <= (image.shape[1] - 1, image.shape[0] - 1)).all()
    return moved, None if inside else _there(image.shape[:2], factor, view)


def _there(hw: Sequence[int], factor: int, view: View) -> np.ndarray:
    """(H,W) of the view, 255 where a picture of `hw`, shrunk by `factor`, lies."""
    grid = [max(1, n // factor) for n in hw]
    return _sample(np.full(grid, 255, np.uint8), _of_shrunk(view, hw, grid), cv2.INTER_NEAREST, 0)


def _of_shrunk(view: View, hw: Sequence[int], grid: Sequence[int]) -> View:
    """The view of a picture whose (H,W) pixels were shrunk to `grid`."""
    ratio = np.array([hw[1] / grid[1], hw[0] / grid[0]])
    linear = view.matrix[:, :2] * ratio  # small (x,y) -> view, through source = ratio * (small + .5) - .5
    return View(np.c_[linear, view.to_view(ratio / 2 - 0.5)], view.size, view.flip)


def _move_labels(name: str, labels: np.ndarray, view: View, swap: np.ndarray | None) -> np.ndarray:
    moved = _sample(labels, view, cv2.INTER_NEAREST, FIELDS[name].unknown)
    if swap is None:
        return moved
    table = np.arange(256, dtype=np.uint8)
    table[: len(swap)] = swap
    return table[moved]


def _move_scalar(name: str, values: np.ndarray, view: View, swap: np.ndarray | None) -> np.ndarray:
    return _sample(values, view, cv2.INTER_NEAREST, FIELDS[name].unknown)


def _move_vectors(name: str, vectors: np.ndarray, view: View, swap: np.ndarray | None) -> np.ndarray:
    """Vectors turn with the picture. Their y points up and the picture's down, hence the two signs."""
    moved = _sample(vectors, view, cv2.INTER_NEAREST, FIELDS[name].unknown)
    up = np.diag([1.0, -1.0])
    turn = up @ (view.matrix[:, :2] / view.scale) @ up
    moved[..., :2] = moved[..., :2] @ turn.T.astype(moved.dtype)
    return moved


def _move_points(name: str, points: np.ndarray, view: View, swap: np.ndarray | None) -> np.ndarray:
    """Points that leave the view become unknown."""
    xy = view.to_view(points[:, :2].astype(np.float64))
    inside = ((xy >= -0.5) & (xy < np.array(view.size[::-1]) - 0.5)).all(1)
    moved = np.c_[xy, points[:, 2] * inside].astype(np.float32)
    return moved if swap is None else moved[swap]


def _move_box(name: str, box: np.ndarray, view: View, swap: np.ndarray | None) -> np.ndarray:
    """The box around the moved corners."""
    x0, y0, x1, y1 = (float(v) for v in box)
    corners = view.to_view(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]))
    return np.r_[corners.min(0), corners.max(0)].astype(np.float32)


def _move_camera(name: str, intrinsics: np.ndarray, view: View, swap: np.ndarray | None) -> np.ndarray:
    """The camera that sees the view: its principal point moves with the picture, its focal lengths are scaled.

    A turned picture is one of a camera turned about its optical axis: depth stays, and X, Y turn with the picture. That holds for
    square pixels (fx = fy) at any angle; others become skewed, which four numbers cannot say, so they are unknown then.
    """
    linear = view.matrix[:, :2] * intrinsics[:2].astype(np.float64)
    focal = np.linalg.norm(linear, axis=1)
    centre = view.to_view(intrinsics[2:].astype(np.float64))
    skewed = abs(linear[0] @ linear[1]) > SKEW * focal.prod()
    return np.full(4, np.nan, np.float32) if skewed else np.r_[focal, centre].astype(np.float32)


def _sample(array: np.ndarray, view: View, interpolation: int, unknown: float) -> np.ndarray:
    H, W = view.size
    border = (unknown,) * 4
    return cv2.warpAffine(
        np.ascontiguousarray(array),
        view.matrix,
        (W, H),
        flags=interpolation,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=border,
    )


_MOVE = {
    "colour": _move_image,
    "label": _move_labels,
    "scalar": _move_scalar,
    "share": _move_share,
    "vector": _move_vectors,
    "points": _move_points,
    "box": _move_box,
    "camera": _move_camera,
}
