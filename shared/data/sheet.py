"""A contact sheet of shards: what samples hold, as it looks, without any task."""

from collections.abc import Sequence

import cv2
import numpy as np

from shared.data.fields import Sample
from shared.data.shards import DamagedSample, Shards
from shared.render import colour_normals, colour_scalar, draw_keypoints, overlay_labels, panel

ROWS, HEIGHT = 8, 192  # of the sheet; px of one picture
COLUMNS = ("image", "seg", "depth", "normal", "keypoints", "person", "alpha", "albedo")


def sheet(shards: Shards, *, rows: int = ROWS, height: int = HEIGHT) -> np.ndarray:
    """Samples from all over some shards, a row each, a column for each field that any of them has: (H,W,3) uint8.

    Args:
        shards: damaged samples are passed over.
        rows: at most.
        height: of one picture, px.

    Raises:
        ValueError: there is no picture in them.
    """
    samples = []
    for i in np.linspace(0, len(shards) - 1, min(rows, len(shards)), dtype=int):
        try:
            samples.append(shards.read(int(i)))
        except DamagedSample:
            continue
    samples = [sample for sample in samples if "image" in sample]
    columns = [name for name in COLUMNS if any(name in sample for sample in samples)]
    if not columns:
        raise ValueError("none of the samples that were looked at has a picture to draw")
    blank = np.full((1, 1, 3), 255, np.uint8)
    pictures = [[_picture(name, sample) if name in sample else blank for name in columns] for sample in samples]
    return panel(pictures, [columns], height=height)


def _picture(name: str, sample: Sample) -> np.ndarray:
    """One field of a sample as a picture (H,W,3) uint8."""
    image, value = sample["image"], sample[name]
    if name in ("seg", "person"):
        return overlay_labels(image, value, _colours(256))
    if name == "depth":
        return colour_scalar(value)
    if name == "normal":
        return colour_normals(value)
    if name == "keypoints":
        return draw_keypoints(image, value, [], _colours(len(value)), threshold=0.5)
    if name == "alpha":
        return colour_scalar(1 - value, span=(0.0, 1.0))
    return value


def _colours(count: int) -> Sequence[Sequence[int]] | np.ndarray:
    """So many colours, neighbours far apart: (K,3) uint8."""
    hue = np.arange(count) * 180 * 0.618034 % 180  # steps by the golden ratio never come back
    hsv = np.stack([hue, 150 + np.arange(count) % 3 * 50, 255 - np.arange(count) % 2 * 60], 1).astype(np.uint8)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
