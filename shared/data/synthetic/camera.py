"""A pinhole camera in the world, and how it is placed to show a person."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from shared.data.synthetic.mesh import Array

NEAREST = 0.5  # metres between the camera and any person


@dataclass(frozen=True)
class Camera:
    """Perspective with square pixels and the principal point in the middle of the picture."""

    rotation: Array  # (3,3) world -> camera, x right, y down, z forward
    position: Array  # (3,) world metres
    focal: float  # in units of the largest 3:4 frame in the picture: focal_px = focal * min(H / 4, W / 3)

    def focal_px(self, hw: tuple[int, int]) -> float:
        """Focal length in pixels of a picture of that size."""
        return self.focal * min(hw[0] / 4, hw[1] / 3)

    def intrinsics(self, hw: tuple[int, int]) -> Array:
        """fx fy cx cy in pixels of a picture of that size."""
        f = self.focal_px(hw)
        return np.array([f, f, (hw[1] - 1) / 2, (hw[0] - 1) / 2])

    def view(self, points: Array) -> Array:
        """World points (N,3) in camera space, metres."""
        return (points - self.position) @ self.rotation.T

    def pixels(self, points: Array, hw: tuple[int, int]) -> Array:
        """World points (N,3) in the picture: (N,2) x y px, NaN behind the camera."""
        seen = self.view(points)
        fx, fy, cx, cy = self.intrinsics(hw)
        z = np.where(seen[:, 2] > 1e-3, seen[:, 2], np.nan)
        return np.stack([cx + fx * seen[:, 0] / z, cy + fy * seen[:, 1] / z], 1)

    def rays(self, x: Array, y: Array, hw: tuple[int, int]) -> Array:
        """World directions (N,3) float32 of z-length 1 through the points x, y (N,) px of the picture."""
        fx, fy, cx, cy = self.intrinsics(hw)
        ways = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones(len(x))], 1)
        return (ways @ self.rotation).astype(np.float32)


class Shot(NamedTuple):
    """What part of a person is meant to be in the picture, and from how near."""

    fill: tuple[float, float]  # of the frame
    focal: tuple[float, float]  # see Camera.focal; 4 is 53 degrees over the height
    pitch: tuple[float, float]  # degrees, mean and spread; positive looks down
    turns: tuple[float, float, float]  # shares of frontal, side and back views
    shift: float  # of the frame, how far the person may be off the middle


SHOTS = {
    "full": Shot((0.6, 1.0), (3.2, 9.0), (4, 9), (0.62, 0.24, 0.14), 0.06),
    "upper": Shot((0.7, 1.15), (3.4, 9.0), (3, 8), (0.7, 0.2, 0.1), 0.1),
    "face": Shot((0.5, 1.05), (4.5, 11.0), (1, 8), (0.78, 0.18, 0.04), 0.08),
    "hand": Shot((0.35, 0.85), (4.5, 11.0), (4, 10), (0.78, 0.18, 0.04), 0.1),
    "group": Shot((0.7, 1.05), (3.2, 8.0), (4, 8), (0.7, 0.2, 0.1), 0.05),
}
SHARES = {"full": 0.35, "upper": 0.28, "face": 0.15, "hand": 0.04, "group": 0.18}


def _azimuth(rng: np.random.Generator, shot: str) -> float:
    """Radians a camera stands away from straight ahead of a person."""
    low, high = ((0, 50), (50, 115), (115, 180))[rng.choice(3, p=SHOTS[shot].turns)]
    return float(np.radians(rng.uniform(low, high)) * rng.choice((-1, 1)))


def place(framed: Array, bodies: Array, *, shot: str, ahead: Array, rng: np.random.Generator) -> Camera:
    """A random camera that frames world points (N,3) of a shot and keeps away from bodies (M,3), points on every person.

    Args:
        framed: what should be in the frame.
        bodies: what must stay at least NEAREST metres away.
        shot: one of SHOTS.
        ahead: unit (3,), where the front of the person looks.
        rng: the source of chance.
    """
    kind = SHOTS[shot]
    heading = _azimuth(rng, shot) + np.arctan2(ahead[0], -ahead[1])
    rise = 0.75 * np.arcsin(np.clip(ahead[2], -1, 1))  # look down at who lies, up at a face that looks down
    pitch = np.clip(np.radians(rng.normal(*kind.pitch)) + rise, -0.5, 0.75 if rise < 0.6 else 1.35)
    roll = np.radians(rng.normal(0, 2.5) if rng.random() < 0.9 else rng.uniform(-20, 20))
    focal, fill = float(np.exp(rng.uniform(*np.log(kind.focal)))), rng.uniform(*kind.fill)
    rotation = _about_z(roll) @ _looking(heading, pitch)
    turned = framed @ rotation.T
    middle, deep = (turned.min(0) + turned.max(0)) / 2, float(np.ptp(turned[:, 2]))
    distance = 1.0 + deep
    for _ in range(5):  # perspective: size and middle depend on the distance, which depends on the size
        z = np.maximum(distance + turned[:, 2] - middle[2], 0.1)
        u, v = focal * (turned[:, 0] - middle[0]) / z, focal * (turned[:, 1] - middle[1]) / z
        middle[0] += (u.max() + u.min()) / 2 * distance / focal
        middle[1] += (v.max() + v.min()) / 2 * distance / focal
        distance = max(distance * max(np.ptp(u) / 3, np.ptp(v) / 4) / fill, 0.4 + deep / 2)
    spare = max(1 - fill, 0.0) / 2 + kind.shift * rng.random()
    middle[:2] += np.array([3, 4]) * rng.uniform(-spare, spare, 2) * distance / focal
    back = rotation[2]
    target = middle @ rotation
    position = target - distance * back
    while np.linalg.norm(bodies - position, axis=1).min() < NEAREST or position[2] < 0.12:
        gone = position - 0.1 * back
        if position[2] < 0.12 and back[2] > 0:  # looking up from the ground: going back would dig, so level out
            gone[2] = 0.12
        position, focal = gone, focal * (distance + 0.1) / distance
        distance += 0.1
    return Camera(rotation, position, focal)


def _looking(heading: float, pitch: float) -> Array:
    """World -> camera of one that looks along a heading and down by a pitch, radians."""
    forward = np.array([-np.sin(heading) * np.cos(pitch), np.cos(heading) * np.cos(pitch), -np.sin(pitch)])
    right = np.array([np.cos(heading), np.sin(heading), 0.0])
    return np.stack([right, np.cross(forward, right), forward])


def _about_z(radians: float) -> Array:
    c, s = np.cos(radians), np.sin(radians)
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
