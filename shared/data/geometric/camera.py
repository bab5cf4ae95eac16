"""A pinhole camera that looks at a person: how far, how high, how tilted, and how much of the person it frames."""

from dataclasses import dataclass

import numpy as np

from shared.data.geometric.shapes import Array
from shared.data.geometric.skeleton import about


@dataclass(frozen=True)
class Camera:
    """Perspective with the principal point in the middle of the picture."""

    rotation: Array  # (3,3): world -> view (x right, y up, z toward the viewer)
    position: Array  # (3,) metres, world
    focal: float  # in units of the largest 3:4 frame in the picture: focal_px = focal * min(H / 4, W / 3)

    def focal_px(self, hw: tuple[int, int]) -> float:
        """Focal length in pixels of a picture of that size."""
        return self.focal * min(hw[0] / 4, hw[1] / 3)

    def intrinsics(self, hw: tuple[int, int]) -> Array:
        """fx fy cx cy in pixels of a picture of that size."""
        f = self.focal_px(hw)
        return np.array([f, f, (hw[1] - 1) / 2, (hw[0] - 1) / 2])

    def view(self, points: Array) -> Array:
        """World points (N,3) in view space, metres."""
        return (points - self.position) @ self.rotation.T

    def pixels(self, view: Array, hw: tuple[int, int]) -> Array:
        """View points (N,3) on the picture: (N,2) x y px."""
        f = self.focal_px(hw)
        return np.stack([(hw[1] - 1) / 2 - f * view[:, 0] / view[:, 2], (hw[0] - 1) / 2 + f * view[:, 1] / view[:, 2]], 1)

    def rays(self, hw: tuple[int, int]) -> Array:
        """Rays (H,W,3) through the pixel centres, view space, z = -1."""
        f = self.focal_px(hw)
        x = (np.arange(hw[1]) - (hw[1] - 1) / 2) / f
        y = ((hw[0] - 1) / 2 - np.arange(hw[0])) / f
        return np.stack([*np.meshgrid(x, y), -np.ones(hw)], -1).astype(np.float32)


@dataclass(frozen=True)
class Framing:
    """What part of a person is meant to be in the picture."""

    name: str
    fill: tuple[float, float]  # of the frame
    focal: tuple[float, float]
    pitch: tuple[float, float]  # degrees, positive looks down
    shift: float  # of the frame, how far the person may be off the middle


FRAMINGS = (
    Framing("full", (0.55, 0.98), (4.0, 9.0), (-6, 24), 0.07),
    Framing("upper", (0.75, 1.15), (4.5, 9.0), (-8, 18), 0.1),
    Framing("face", (0.55, 1.05), (6.0, 11.0), (-10, 14), 0.08),
)
SHARES = (0.65, 0.2, 0.15)


def look_at(points: Array, framing: Framing, rng: np.random.Generator) -> Camera:
    """A random camera that frames world points (N,3)."""
    pitch, roll = rng.uniform(*framing.pitch), rng.normal(0, 3)
    rotation = about("z", roll) @ about("x", pitch)
    focal, fill = rng.uniform(*framing.focal), rng.uniform(*framing.fill)
    turned = points @ rotation.T
    middle = (turned.min(0) + turned.max(0)) / 2
    distance = 3.0 + float(np.ptp(turned[:, 2]))
    for _ in range(4):  # perspective: size and middle depend on the distance, which depends on the size
        depth = distance + middle[2] - turned[:, 2]
        u, v = focal * (turned[:, 0] - middle[0]) / depth, focal * (turned[:, 1] - middle[1]) / depth
        middle[0] += (u.max() + u.min()) / 2 * distance / focal
        middle[1] += (v.max() + v.min()) / 2 * distance / focal
        distance = max(distance * max(np.ptp(u) / 3, np.ptp(v) / 4) / fill, 0.4 + float(np.ptp(turned[:, 2])) / 2)
    spare = max(1 - fill, 0.0) / 2 + framing.shift * rng.random()
    offset = np.array([3, 4]) * rng.uniform(-spare, spare, 2)
    middle[:2] += offset * distance / focal
    middle[2] += distance
    return Camera(rotation, rotation.T @ middle, focal)
