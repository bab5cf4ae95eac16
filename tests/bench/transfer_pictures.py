"""Sheets of answers to real photos, for looking at: one PNG for each folder of photos."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from shared.data.photo import find_photos, read_photo
from shared.infer.predictor import Predictor
from shared.infer.writer import write
from shared.render import panel

FOLDERS = ("faces", "multi", "matting", "highres", "coco", "ccp/images")
MOST = 10  # photos of a folder
LONGEST, HEIGHT = 640, 256  # of a photo before it is answered, and of one on the sheet, px


def draw_sheets(predictor: Predictor, photos: Path, out: Path, *, boxes: Mapping[Path, np.ndarray]) -> None:
    """`<out>/<folder>.png`, a row for each photo and a column for each answer; where boxes are known, each person's pose."""
    for folder in FOLDERS:
        paths = [found.path for found in find_photos([photos / folder]) if "alpha" not in found.path.stem]
        rows = [_row(predictor, read_photo(path), boxes.get(path)) for path in paths[:MOST]]
        titles = [["photo", *(task.name for task in predictor.tasks)]]
        write(out, folder.partition("/")[0], {"png": panel(rows, titles, height=HEIGHT)})


def _row(predictor: Predictor, photo: np.ndarray, boxes: np.ndarray | None) -> list[np.ndarray]:
    """The photo with no side above `LONGEST`, and the pictures of its answers."""
    scale = min(1.0, LONGEST / max(photo.shape[:2]))
    image = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    answers = predictor(image, boxes=None if boxes is None else (boxes + 0.5) * scale - 0.5)
    return [image, *predictor.render(image, answers).values()]
