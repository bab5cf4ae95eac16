"""What tests of data have in common: the renderer, where it can be installed, and a wall that is known exactly."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from shared.data.surface import points

HW = (24, 32)


class Wall(NamedTuple):
    """A wall that leans, 2 m ahead, as a camera sees it; its direction has three different components."""

    image: np.ndarray  # (24,32,3) uint8
    depth: np.ndarray  # (24,32) float32 metres
    normal: np.ndarray  # (24,32,3) float32, x right, y up, z toward the viewer
    intrinsics: np.ndarray  # (4,) float32 fx fy cx cy px
    somebody: np.ndarray  # (24,32) bool, the middle

    @classmethod
    def seen_by(cls, intrinsics: Any) -> "Wall":
        towards = np.array([0.3, -0.5, 0.8]) / np.linalg.norm([0.3, -0.5, 0.8])
        there = towards * [1, -1, -1]  # in the axes of points: x right, y down, z forward
        depth = 2 * there[2] / (points(np.ones(HW), intrinsics) @ there)
        rows, columns = np.mgrid[: HW[0], : HW[1]]
        image = np.stack([8 * rows, 7 * columns, 0 * rows + 90], 2).astype(np.uint8)
        somebody = (abs(rows - 12) < 9) & (abs(columns - 16) < 11)
        normal = np.broadcast_to(towards, (*HW, 3)).astype(np.float32)
        return cls(image, depth.astype(np.float32), normal, np.asarray(intrinsics, np.float32), somebody)


@pytest.fixture(scope="session")
def wall() -> Wall:
    """The wall before a camera of 53 degrees."""
    return Wall.seen_by([32.0, 32.0, 15.5, 11.5])


@pytest.fixture(scope="session")
def embree() -> None:
    """Embree, which has wheels for x86 only; without it people can be read, but not rendered."""
    pytest.importorskip("embreex", reason="rendering people needs the extra `synthetic`, whose embreex is not installed")
