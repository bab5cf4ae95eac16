"""What a sample may hold, and how each kind of field answers a View. The only place that knows.

A sample is a `dict[str, Array]`; docs/conventions.md has this table with units in words.
"""

from typing import NamedTuple

import numpy as np

Sample = dict[str, np.ndarray]


class Field(NamedTuple):
    """One row of the table: how the field moves (`kind`), its type and the value that means "unknown"."""

    kind: str  # colour | label | scalar | vector | points | box
    dtype: type
    unknown: float
    trailing: tuple[int, ...]  # the shape after (H, W), (K,) or nothing


FIELDS = {
    "image": Field("colour", np.uint8, 0, (3,)),  # RGB
    "seg": Field("label", np.uint8, 255, ()),  # class id
    "depth": Field("scalar", np.float32, np.nan, ()),  # metres along the optical axis
    "normal": Field("vector", np.float32, np.nan, (3,)),  # unit; x right, y up, z toward the viewer
    "keypoints": Field("points", np.float32, 0, (3,)),  # x px, y px, visibility 0 or 1
    "box": Field("box", np.float32, np.nan, ()),  # x0 y0 x1 y1 px
}
MAPS = tuple(name for name, field in FIELDS.items() if field.kind in {"colour", "label", "scalar", "vector"})
