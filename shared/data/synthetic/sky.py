"""What is seen where there are no things: the sky and what is far away, or a photo of the user's."""

from collections.abc import Callable

import cv2
import numpy as np

from shared.data.synthetic.camera import Camera
from shared.data.synthetic.mesh import Array
from shared.data.synthetic.textures import ROW, cloud, colour

Sky = Callable[[Array], Array]  # directions (N,3) -> radiance (N,3)


def photo(picture: Array, camera: Camera, rng: np.random.Generator) -> Sky:
    """A photo (h,w,3) uint8 RGB as the sky: a random part of it fills the picture."""
    linear = (picture.astype(np.float32) / 255) ** 2.2
    linear = linear / (1.15 - linear) * 0.6  # undo a tone curve
    h, w = linear.shape[:2]
    tall = min(h, w * 4 / 3) * rng.uniform(0.6, 1.0)
    middle = np.array(
        [
            rng.uniform(0.5 * tall * 3 / 4, max(w - 0.5 * tall * 3 / 4, 0.5 * tall * 3 / 4)),
            rng.uniform(tall / 2, h - tall / 2 + 1e-6),
        ]
    )
    if rng.random() < 0.5:
        linear = np.ascontiguousarray(linear[:, ::-1])

    def sky(ways: Array) -> Array:
        seen = ways @ camera.rotation.T.astype(np.float32)
        at = seen[:, :2] / seen[:, 2:] * np.float32(camera.focal / 4 * tall) + np.float32(middle)
        return _look(linear, at)

    return sky


def _look(picture: Array, at: Array) -> Array:
    """The picture at points (N,2) x y px, mirrored outside."""
    rows = max(1, -(-len(at) // ROW))
    grid = np.zeros((2, rows * ROW), np.float32)
    grid[:, : len(at)] = at.T
    grid = grid.reshape(2, rows, ROW)
    return cv2.remap(picture, grid[0], grid[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).reshape(-1, 3)[: len(at)]


def panorama(rng: np.random.Generator, kind: str) -> Sky:
    """The sky and what is far: hills, woods, towers, as radiance by direction."""
    high, wide = 128, 512
    up = np.linspace(np.pi / 2, -np.pi / 2, high, dtype=np.float32)[:, None]
    blue, haze = np.array([0.35, 0.55, 0.95]) * rng.uniform(0.5, 1.3), rng.uniform(0.6, 1.2) * rng.uniform(0.85, 1.1, 3)
    blue = blue * (1 - (grey := rng.random())) + blue.mean() * grey
    share = np.clip(up * rng.uniform(1.0, 2.5), 0, 1)[..., None]
    far = (haze * (1 - share) + blue * share).astype(np.float32) * np.ones((1, wide, 1), np.float32)
    clouds = cv2.resize(cloud(rng, (3, 3), 6), (wide, high))
    far += np.clip(clouds * rng.uniform(0, 2) - 0.2, 0, 1)[..., None] * rng.uniform(0.3, 0.8)
    ground = colour(rng, "green" if kind == "country" else "any") * rng.uniform(0.4, 0.9)
    for layer in range(int(rng.integers(1, 5))):
        if kind == "country":
            line = 0.12 * rng.random() * cv2.resize(cloud(rng, (1, 4), 7)[:1], (wide, 1))[0] + rng.uniform(0.0, 0.12) / (layer + 1)
        else:
            line = np.repeat(rng.uniform(-0.05, 0.5, 64) / (layer + 1), wide // 64)
        fog = 0.7 / (1 + layer)
        tone = (ground * rng.uniform(0.4, 1.2) * (1 - fog) + haze * 0.6 * fog).astype(np.float32)
        under = up < line[None]
        speckle = cv2.resize(rng.uniform(0.6, 1.3, (high, wide // 2)).astype(np.float32), (wide, high))
        far[under] = (tone * speckle[..., None])[under]

    def sky(ways: Array) -> Array:
        around = np.arctan2(ways[:, 0], ways[:, 1])
        tilt = np.arctan2(ways[:, 2], np.hypot(ways[:, 0], ways[:, 1]))
        x, y = (around / (2 * np.pi) + 0.5) * wide - 0.5, (0.5 - tilt / np.pi) * high - 0.5
        return _look(far, np.stack([np.clip(x, 0, wide - 1), y], 1).astype(np.float32))

    return sky
