"""What is known of a sample beside its fields: how it was made and who is in it, as shards keep it under `facts`.

docs/data.md says what synthetic people record. P people, K points.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shared.data import listing
from shared.data.shards import DamagedSample, Shards

FACE = tuple(f"face-{i}" for i in range(68))  # the points of the 300-W scheme, as COCO-WholeBody names them


def facts(shards: Shards, i: int) -> dict[str, Any]:
    """The facts of sample i; none where it was packed without.

    Raises:
        DamagedSample: they cannot be read.
    """
    try:
        found = listing.entries(shards.member(i, "json") or b"{}").get(listing.FACTS, {})
    except (ValueError, OSError) as error:
        raise DamagedSample(f"the facts of sample {shards.key(i)!r} are damaged: {error}") from error
    return found if isinstance(found, dict) else {}


def points(person: Mapping[str, Any]) -> np.ndarray:
    """All points of one of the `people` in the facts: (K,3) metres in camera space, x right, y down, z forward; NaN unknown."""
    return np.array(person["points"], float).reshape(-1, 3)


def keypoints(person: Mapping[str, Any], intrinsics: np.ndarray) -> np.ndarray:
    """The same points in the picture: (K,3) x px, y px, visibility 0 or 1; NaN and 0 where unknown or behind the camera.

    Args:
        person: one of the `people` in the facts.
        intrinsics: (4,) fx fy cx cy px, as the sample holds them.
    """
    at, focal, centre = points(person), np.asarray(intrinsics[:2], float), np.asarray(intrinsics[2:], float)
    z = np.where(at[:, 2:] > 1e-3, at[:, 2:], np.nan)
    return np.concatenate([focal * at[:, :2] / z + centre, np.array(person["visible"], float)[:, None]], 1)


def landmarks(person: Mapping[str, Any], names: Sequence[str]) -> np.ndarray:
    """The 68 landmarks of a face: (68,3) metres in camera space.

    Args:
        person: one of the `people` in the facts.
        names: of the points, `shards.names["keypoints"]`.
    """
    rows = {name: row for row, name in enumerate(names)}
    return points(person)[[rows[name] for name in FACE]]
