"""What surfaces look like: linear albedo and gloss from a material, rest coordinates and the numbers at a vertex."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from shared.data.synthetic.mesh import Array, Material
from shared.data.synthetic.textures import look_up

CELLS = 96  # of the noise, along each axis
TILT = np.array([(0.64, 0.48, 0.6), (-0.6, 0.8, 0), (-0.48, -0.36, 0.8)], np.float32)  # so that no cell lies along a sleeve
GREY = (0.5, 0.5, 0.5)
DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "skin": {"colour": (0.6, 0.4, 0.3), "hair": (0.05, 0.03, 0.02), "lip": None, "redness": 1.0, "gloss": 0.06, "seed": 0},
        "eye": {"colour": (0.2, 0.1, 0.05)},
        "plain": {"colour": GREY, "gloss": 0.25},
        "hair": {"colour": (0.05, 0.03, 0.02), "gloss": 0.1},
        "cloth": {
            "colour": GREY,
            "second": (0.1, 0.1, 0.1),
            "pattern": "plain",
            "period": 0.1,
            "angle": 0.0,
            "gloss": 0.02,
            "offset": (0.0, 0.0, 0.0),
            "seed": 0,
        },
        "ground": {"texture": None, "gloss": 0.03, "glow": 0.0},
    }
)


class Surface(NamedTuple):
    """What light meets at N points."""

    albedo: Array  # (N,3) float32 linear
    gloss: Array  # (N,) float32 strength of the highlight
    glow: Array | float  # (N,) or one number: radiance the surface sends out, in units of its albedo


def surface(what: Material, rest: Array, extra: Array, footprint: Array) -> Surface:
    """The look of a material at N points: rest (N,3) metres, extra (N,5), footprint (N,) metres that a pixel covers there."""
    values = {**DEFAULTS[what.kind], **what.values}
    if what.kind == "ground":
        albedo = look_up(values["texture"], rest[:, :2], footprint)
        return Surface(albedo, np.full(len(rest), values["gloss"], np.float32), values["glow"])
    albedo, gloss = _LOOKS[what.kind](values, rest, extra, footprint)
    shine = np.broadcast_to(np.asarray(gloss, np.float32), len(rest))
    return Surface(np.clip(albedo, 0.003, 0.97).astype(np.float32), shine, 0.0)


@functools.cache
def _lattice(octaves: int) -> Array:
    """Noise (CELLS,CELLS,CELLS) float32 that repeats, with unit spread; drawn once and always the same."""
    from scipy.ndimage import gaussian_filter

    rng, total = np.random.default_rng(1234), np.zeros((CELLS,) * 3, np.float32)
    for octave in range(octaves):
        white = rng.standard_normal((CELLS,) * 3, np.float32)
        smooth = gaussian_filter(white, 0.8 * 2 ** (octaves - 1 - octave), mode="wrap", truncate=2.5)
        total += np.float32(0.55**octave / smooth.std()) * smooth
    return total / total.std()


def noise(points: Array, *, octaves: int = 1, seed: int = 0) -> Array:
    """Noise (N,) of unit spread at points (N,3); the blobs of its coarsest octave are about 1 wide."""
    from scipy.ndimage import map_coordinates

    lattice = _lattice(octaves)
    moved = (points * np.float32(2 ** (octaves - 1))) @ TILT + np.float32(17.3 * seed)
    return map_coordinates(lattice, moved.T, order=1, mode="grid-wrap", prefilter=False)


def _skin(values: Mapping[str, Any], rest: Array, extra: Array, footprint: Array) -> tuple[Array, Array]:
    base, hair = np.asarray(values["colour"], np.float32), np.asarray(values["hair"], np.float32)
    lip = base * (0.82, 0.5, 0.5) if values["lip"] is None else np.asarray(values["lip"], np.float32)
    lips, growth, blush, mouth, nails = extra.T[..., None]
    mottle, fine = noise(rest * 22, octaves=3, seed=values["seed"])[:, None], _grain(rest * 420, footprint * 420)[:, None]
    albedo = base * (1 + 0.04 * mottle + 0.025 * fine)
    red = np.clip(0.55 * blush * values["redness"] + 0.05 * mottle, 0, 1)
    albedo = albedo * (1 - red * np.array([0.02, 0.24, 0.22], np.float32))
    freckle = np.clip(noise(rest * 230, octaves=2, seed=values["seed"] + 1)[:, None] - 2.0, 0, 1)
    albedo = albedo * (1 - 0.25 * freckle)
    on_lip = np.clip(lips * 1.6 - 0.3, 0, 1)
    albedo = albedo + on_lip * (lip * (1 + 0.05 * mottle) - albedo)
    rooted = np.clip(growth * 120 + 0.2 * mottle, 0, 1) * 0.75
    albedo = albedo + rooted * (hair - albedo)
    inside = np.clip(mouth * 2 - 0.6, 0, 1) * (1 - on_lip)
    albedo = albedo + inside * (np.array([0.28, 0.08, 0.08], np.float32) - albedo)
    nail = np.clip(nails, 0, 1)
    albedo = albedo * (1 + nail * np.array([0.14, 0.08, 0.1], np.float32))
    return albedo, values["gloss"] * (1 + 0.4 * mottle[:, 0]) + 0.1 * on_lip[:, 0] + 0.12 * nail[:, 0]


def _eye(values: Mapping[str, Any], rest: Array, extra: Array, footprint: Array) -> tuple[Array, float]:
    way = rest / np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), 1e-9)
    angle, around = np.arccos(np.clip(-way[:, 1], -1, 1)), np.arctan2(way[:, 2], way[:, 0])
    fibre = 0.8 + 0.2 * np.sin(around * 37 + 3 * noise(rest * 300))
    iris = np.asarray(values["colour"], np.float32) * (fibre * (0.6 + 1.1 * angle / 0.5))[:, None]
    vein = np.clip(noise(rest * 400, octaves=2) - 0.8, 0, 1)[:, None] * np.clip(angle - 0.7, 0, 1)[:, None]
    albedo = np.array([0.76, 0.72, 0.70], np.float32) * (1 - vein * np.array([0.05, 0.35, 0.35], np.float32))
    albedo = np.where((angle < 0.5)[:, None], iris, albedo)
    albedo = np.where(((angle > 0.45) & (angle < 0.53))[:, None], albedo * 0.5, albedo)
    return np.where((angle < 0.2)[:, None], np.float32(0.008), albedo), 0.7


def _plain(values: Mapping[str, Any], rest: Array, extra: Array, footprint: Array) -> tuple[Array, float]:
    return np.broadcast_to(np.asarray(values["colour"], np.float32), rest.shape), values["gloss"]


def _hair(values: Mapping[str, Any], rest: Array, extra: Array, footprint: Array) -> tuple[Array, Array]:
    shine = values["gloss"] * 0.6 * np.clip(extra[:, 0], 0, 1.3) ** 3  # by the strand, or a head would shine like a helmet
    return np.asarray(values["colour"], np.float32) * (extra[:, :1] * (0.5 + 0.75 * extra[:, 1:2])), shine


def _cloth(values: Mapping[str, Any], rest: Array, extra: Array, footprint: Array) -> tuple[Array, float]:
    c, s = np.cos(values["angle"]), np.sin(values["angle"])
    side, height = rest[:, 0] + 0.6 * rest[:, 1] + values["offset"][0], rest[:, 2] + values["offset"][2]
    across, along = side * c + height * s, height * c - side * s
    turn = np.float32(2 * np.pi / values["period"])
    pattern = PATTERNS[values["pattern"]](across * turn, along * turn, rest / values["period"], values["seed"])
    first, second = (np.asarray(values[name], np.float32) for name in ("colour", "second"))
    share = np.asarray(pattern, np.float32)
    blurred = np.clip(footprint * np.float32(3 / values["period"]) - 1, 0, 1) * (values["pattern"] != "halves")
    share = share + blurred * (_mean(values["pattern"]) - share)  # what is finer than a pixel is seen as its mean
    albedo = first + share[:, None] * (second - first)
    weave = _grain(rest * np.array([800, 800, 400], np.float32), footprint * 500, seed=1)
    worn = noise(rest * 6, octaves=4, seed=values["seed"])
    return albedo * (1 + 0.06 * weave + 0.02 * worn)[:, None], values["gloss"]


def _grain(points: Array, footprint: Array, *, seed: int = 3) -> Array:
    """Noise (N,) of the finest things, without those that a pixel covers many of: footprint (N,) in the unit of points (N,3)."""
    seen, out = np.flatnonzero(footprint < 1.5), np.zeros(len(points), np.float32)
    out[seen] = noise(points[seen], seed=seed) * np.minimum(1.5 - footprint[seen], 1)
    return out


Pattern = Callable[
    [Array, Array, Array, int], Array
]  # across, along (N,) radians, rest (N,3) periods, seed -> share of second (N,)
PATTERNS: Mapping[str, Pattern] = MappingProxyType(
    {
        "plain": lambda u, v, p, k: np.zeros(len(u), np.float32),
        "stripe": lambda u, v, p, k: np.sin(v) > 0.3,
        "upright": lambda u, v, p, k: np.sin(u) > 0.3,
        "plaid": lambda u, v, p, k: 0.4 * (np.sin(u) > 0.4) + 0.4 * (np.sin(v) > 0.4) + 0.2 * (np.sin(3 * u + 1) > 0.8),
        "check": lambda u, v, p, k: (np.sin(u) > 0) ^ (np.sin(v) > 0),
        "dots": lambda u, v, p, k: np.sin(u) * np.sin(v) > 0.5,
        "camo": lambda u, v, p, k: noise(p, octaves=2, seed=k) > 0.1,
        "print": lambda u, v, p, k: np.clip(2 * np.abs(noise(p, seed=k)) - 0.6, 0, 1) * (noise(p * 2, seed=k + 2) > 0.2),
        "heather": lambda u, v, p, k: np.clip(0.5 + 0.3 * noise(p * np.array([40, 40, 12], np.float32), seed=k), 0, 1),
        "halves": lambda u, v, p, k: v > 0,
    }
)


@functools.cache
def _mean(pattern: str) -> np.float32:
    """The share of a pattern that has the second colour."""
    points = np.random.default_rng(0).uniform(0, 16, (4096, 3)).astype(np.float32)
    turns = points * np.float32(2 * np.pi)
    return np.float32(np.mean(PATTERNS[pattern](turns[:, 0], turns[:, 1], points, 0)))


_LOOKS = MappingProxyType({"skin": _skin, "eye": _eye, "plain": _plain, "hair": _hair, "cloth": _cloth})
