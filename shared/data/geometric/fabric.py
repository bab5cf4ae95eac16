"""Surfaces: colours of skin and hair, woven and printed textures, as functions of local coordinates in metres."""

import colorsys
from collections.abc import Callable

import numpy as np

from shared.data.geometric.shapes import Array, Paint

Texture = Callable[[Array], Array]  # local points (N,3) metres -> albedo (N,3) in 0..1
SKIN = np.array(
    [(0.93, 0.76, 0.66), (0.88, 0.68, 0.55), (0.78, 0.57, 0.42), (0.62, 0.43, 0.30), (0.45, 0.30, 0.20), (0.29, 0.19, 0.13)]
)
UNLIKE_SKIN = 0.06  # least distance of a cloth's chromaticity from every skin's; white is 0.08 away from the palest
HAIR = np.array(
    [(0.05, 0.04, 0.035), (0.13, 0.08, 0.05), (0.27, 0.16, 0.09), (0.62, 0.46, 0.24), (0.5, 0.2, 0.08), (0.6, 0.6, 0.6)]
)


def colour(
    rng: np.random.Generator, saturation: tuple[float, float] = (0.0, 0.9), value: tuple[float, float] = (0.08, 0.95)
) -> Array:
    """A random albedo (3,); low saturations are as common as high ones."""
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation) ** 1.3, rng.uniform(*value)))


def dye(rng: np.random.Generator) -> Array:
    """A random albedo (3,) of cloth: never near a skin tone, or a top in it would look like none."""
    while True:
        drawn = colour(rng)
        chroma, tones = drawn / drawn.sum(), SKIN / SKIN.sum(1, keepdims=True)
        if np.linalg.norm(tones - chroma, axis=1).min() > UNLIKE_SKIN:
            return drawn


def skin_tone(rng: np.random.Generator) -> Array:
    """A random skin albedo (3,) between the measured-looking anchors of SKIN."""
    where = rng.uniform(0, len(SKIN) - 1)
    low = min(int(where), len(SKIN) - 2)
    return (SKIN[low] + (where - low) * (SKIN[low + 1] - SKIN[low])) * rng.uniform(0.93, 1.05)


def blotchy(rng: np.random.Generator, base: Array, period: float, strength: float) -> Texture:
    """One colour with soft darker and lighter patches of about `period` metres."""
    waves = rng.normal(0, 2 * np.pi / period, (3, 4)).astype(np.float32)
    phase = rng.uniform(0, 2 * np.pi, 4).astype(np.float32)
    base = base.astype(np.float32)

    def texture(local: Array) -> Array:
        patch = np.sin(local.astype(np.float32) @ waves + phase).sum(1) * np.float32(strength / 2)
        return base * (1 + patch[:, None])

    return texture


def streaked(rng: np.random.Generator, base: Array) -> Texture:
    """Hair: fine strands that run down the local y axis."""
    phase, count = rng.uniform(0, 6.3), rng.uniform(30, 60)

    def texture(local: Array) -> Array:
        angle = np.arctan2(local[:, 0], local[:, 2])
        strand = np.sin(angle * count + 3 * np.sin(local[:, 1] * 60 + phase)) + 0.6 * np.sin(angle * count * 2.3 + phase)
        return base.astype(np.float32) * (1 + 0.22 * strand[:, None]).astype(np.float32)

    return texture


def woven(rng: np.random.Generator) -> Texture:
    """Cloth in random colours and a random pattern."""
    first, second = blotchy(rng, dye(rng), 0.22, 0.12), dye(rng).astype(np.float32)
    kind = str(
        rng.choice(
            ["plain", "stripes", "upright", "checks", "dots", "print", "halves"], p=[0.38, 0.16, 0.08, 0.1, 0.08, 0.12, 0.08]
        )
    )
    period, phase = rng.uniform(0.03, 0.14), rng.uniform(0, 1)
    waves = rng.normal(0, 45, (3, 3)).astype(np.float32)

    def second_here(local: Array) -> Array:
        x, y, z = local.T
        side = np.arctan2(x, z) * 0.12  # metres around the body, roughly
        if kind == "stripes":
            return (y / period + phase) % 1 < 0.45
        if kind == "upright":
            return (side / (0.6 * period) + phase) % 1 < 0.4
        if kind == "checks":
            return ((y / period + phase) % 1 < 0.5) ^ ((side / period + phase) % 1 < 0.5)
        if kind == "dots":
            return np.hypot((y / period + phase) % 1 - 0.5, (side / period) % 1 - 0.5) < 0.27
        if kind == "print":
            return np.sin(local @ waves).sum(1) > 0.5
        return y > (phase - 0.5) * 0.2

    def texture(local: Array) -> Array:
        albedo = first(local)
        if kind != "plain":
            albedo[second_here(local)] = second
        return albedo

    return texture


def plain(class_id: int, texture: Texture) -> Paint:
    """Paint of one class."""
    return lambda local: (np.full(len(local), class_id, np.uint8), texture(local))
