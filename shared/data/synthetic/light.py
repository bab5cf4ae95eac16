"""Light: one lamp or sun that casts soft shadows, a weak one that casts none, and light from everywhere that corners dim.

Radiance is linear and without unit; picture.py exposes it.
"""

from typing import NamedTuple

import numpy as np

from shared.data.synthetic.mesh import Array, dots, units

WRAP = np.array([0.28, 0.10, 0.06], np.float32)  # how far light creeps around skin, by colour
SKIN, HAIR, OTHER = 1, 2, 0
_ORDER = np.array([0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5])  # Bayer: neighbours look at far parts of the lamp
PERIOD = 4  # pixels after which the pattern of samples repeats


class Light(NamedTuple):
    """What shines on a scene; directions point toward the light."""

    key: Array  # (3,) unit
    key_colour: Array  # (3,) radiance
    softness: float  # radius of the lamp as seen from the scene, as a tangent
    fill: Array  # (3,) unit
    fill_colour: Array  # (3,)
    above: Array  # (3,) radiance from above
    below: Array  # (3,)
    side: Array  # (3,) unit
    side_colour: Array  # (3,) how much more comes from one side than from the other
    reach: float  # metres within which things dim the light from everywhere


def light(rng: np.random.Generator, *, indoor: bool) -> Light:
    """Random light of a room, or of the open."""
    height, around = rng.uniform(0.1, 1.35), rng.uniform(-np.pi, np.pi)
    warm = rng.normal(0, 0.09)
    tint, cold = np.array([1 + warm, 1, 1 - warm]), np.array([1 - 0.8 * warm, 1, 1 + 0.8 * warm])
    if indoor:
        strength, softness, sky = rng.uniform(0.25, 1.7), rng.uniform(0.06, 0.45), rng.uniform(0.55, 1.1) * cold
    elif rng.random() < 0.4:  # overcast
        strength, softness, sky = rng.uniform(0.1, 0.7), 0.4, rng.uniform(0.9, 1.2) * np.array([0.95, 0.98, 1.03])
    else:
        strength, softness, sky = (
            rng.uniform(1.5, 3.4),
            rng.uniform(0.008, 0.04),
            rng.uniform(0.5, 0.95) * np.array([0.8, 0.95, 1.2]),
        )
    fill_strength = rng.uniform(0.1, 0.9) * (rng.random() < 0.4)
    aside = rng.normal(size=3) * [1, 1, 0.3]
    return Light(
        _toward(around, height),
        strength * tint,
        softness,
        _toward(rng.uniform(-np.pi, np.pi), rng.uniform(-0.1, 0.8)),
        fill_strength * rng.uniform(0.6, 1.2, 3),
        sky,
        sky * rng.uniform(0.25, 0.75) * rng.uniform(0.85, 1.1, 3),
        aside / np.linalg.norm(aside),
        rng.uniform(0, 0.45) * rng.uniform(0.8, 1.1, 3) * sky.mean(),
        0.8 if indoor else 1.5,
    )


def _toward(around: float, height: float) -> Array:
    """Unit vector (3,) at an angle from -y about z and above the horizon, radians."""
    return np.array([np.sin(around) * np.cos(height), -np.cos(around) * np.cos(height), np.sin(height)])


def pattern(row: Array, column: Array) -> Array:
    """Where in the spiral of PERIOD ** 2 samples a pixel looks: (N,) float32, one in every unit for each block of pixels.

    The place within its unit differs from block to block, or a soft shadow would be seen as the edges of 16 hard ones.
    """
    mixed = (row // PERIOD * 374761393 + column // PERIOD * 668265263) & 0x7FFFFFFF  # any hash would do
    mixed = ((mixed ^ (mixed >> 13)) * 1274126177) & 0x7FFFFFFF
    inside = 0.25 + ((mixed ^ (mixed >> 16)) & 0xFFFF) / np.float32(131072)  # half of the unit: more would be grain
    return (_ORDER[(row % PERIOD) * PERIOD + column % PERIOD] + inside).astype(np.float32)


def _spiral(index: Array) -> tuple[Array, Array]:
    """Even points of the unit disc (N,), (N,) by place in the spiral."""
    radius, angle = np.sqrt(index * np.float32(1 / PERIOD**2)), index * np.float32(2.399963)
    return (radius * np.cos(angle)).astype(np.float32), (radius * np.sin(angle)).astype(np.float32)


def toward_lamp(lamp: Light, index: Array) -> Array:
    """Directions (N,3) float32 to points of the lamp, by sample."""
    u, v = _spiral(index)
    first, second = _across(lamp.key[None])
    return (lamp.key + lamp.softness * (u[:, None] * first + v[:, None] * second)).astype(np.float32)


def toward_sky(normal: Array, index: Array) -> Array:
    """Directions (N,3) float32 around normals (N,3), as frequent as their light counts, by sample."""
    u, v = _spiral(index)
    first, second = _across(normal)
    up = np.sqrt(np.maximum(1 - u * u - v * v, 0))[:, None]
    return (u[:, None] * first + v[:, None] * second + up * normal).astype(np.float32)


def _across(normal: Array) -> tuple[Array, Array]:
    """Two unit vectors (N,3) at right angles to unit normals (N,3) and to each other (Duff et al. 2017)."""
    x, y, z = normal.T.astype(np.float32)
    sign = np.where(z < 0, np.float32(-1), np.float32(1))
    a = -1 / (sign + z)
    b = x * y * a
    return np.stack([1 + sign * x * x * a, sign * b, -sign * x], 1), np.stack([b, sign + y * y * a, -y], 1)


def shade(lamp: Light, albedo: Array, gloss: Array, normal: Array, ways: Array, looks: Array) -> tuple[Array, Array]:
    """Radiance (N,3) from the lamp if nothing stood between, and (N,3) from everywhere else if nothing dimmed it.

    Args:
        lamp: the light.
        albedo: (N,3).
        gloss: (N,).
        normal: (N,3) unit, world, toward the viewer.
        ways: (N,3) unit, from the viewer.
        looks: (N,) SKIN, HAIR or OTHER.
    """
    key, fill, side = (np.float32(values) for values in (lamp.key, lamp.fill, lamp.side))
    facing = (normal @ key)[:, None]
    diffuse = np.clip(facing, 0, 1) * np.ones(3, np.float32)
    skin, hair = looks == SKIN, looks == HAIR
    diffuse[skin] = np.clip((facing[skin] + WRAP) / (1 + WRAP), 0, 1)
    diffuse[hair] = 0.3 + 0.55 * diffuse[hair]
    direct = albedo * diffuse * np.float32(lamp.key_colour * 0.85)
    half = key - ways
    half = units(half)
    power = np.where(gloss > 0.4, 250, np.where(hair, 20, 14 + 60 * gloss)).astype(np.float32)
    glint = gloss * np.clip(dots(normal, half)[:, 0], 0, 1) ** power * (power + 8) / 26
    direct += glint[:, None] * np.float32(lamp.key_colour * 0.5)
    up = 0.5 + 0.5 * normal[:, 2:]
    around = np.float32(lamp.above) * up + np.float32(lamp.below) * (1 - up)
    around += (0.5 + 0.5 * (normal @ side))[:, None] * np.float32(lamp.side_colour)
    around += np.clip(normal @ fill, 0, 1)[:, None] * np.float32(lamp.fill_colour)
    rim = (0.04 + 0.96 * (1 - np.clip(-dots(normal, ways)[:, 0], 0, 1)) ** 5) * gloss
    return direct, albedo * around * np.float32(0.75) + (rim * 0.6)[:, None] * around
