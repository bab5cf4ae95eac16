"""How cloth stands off the body: a direction and a distance for every vertex of the shell that garments are cut from.

All layers of a person move the same vertices along the same rays, each at least GAP farther out than the one below, so that they
cannot cross. T vertices of the shell, V of the rig.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.data.synthetic.mesh import vertex_normals
from shared.data.synthetic.rig import Part, Posed, Rig

Array = np.ndarray
GAP = 0.0035  # metres between two layers
LEAST = 0.002  # metres from the shell to the first layer
SECTORS = 48  # around the trunk, where cloth may hang from
CHEST = 1.33  # height, in the mean adult, above which a shirt lies on the shoulders
JOINTS = (("upperarm02", "lowerarm01"), ("upperleg02", "lowerleg01"))  # bones on both sides of elbow and knee


@dataclass(frozen=True, eq=False)
class Shell:
    """The posed shell of one person."""

    part: Part
    points: Array  # (T,3) world metres
    ways: Array  # (T,3) unit vectors outward, along which layers are stacked
    rest: Array  # (T,3) the mean adult's rest pose
    arm: Array  # (T,) along the arm, -1 off it
    leg: Array  # (T,)
    radius: Array  # (T,) metres from the bone of the limb, or from the spine, in this body
    hang: Array  # (T,) metres to a vertical drop from chest, belly and seat
    underside: Array  # (T,) 1 where the shell faces the ground in the rest pose, 0 where it faces up
    bends: Array  # (T,) 0..1, creases at bent elbows and knees


def shell(rig: Rig, rest: Array, posed: Posed, levels: int | None = None) -> Shell:
    """The shell of a body at rest (V,3) that was posed."""
    part = rig.part("tights", levels)
    static = _static(rig, levels)
    points = part.matrix @ posed.points
    turned = rig.weights @ posed.bones[:, :, :3].reshape(-1, 9).astype(np.float32)  # (V,9)
    ray, _ = _axes(rig, rest)
    ray = np.einsum("vij,vj->vi", turned.reshape(-1, 3, 3), ray * static.limb[:, None])
    ways = vertex_normals(points, part.faces) + 1.5 * (part.matrix @ ray)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    shape = part.matrix @ rest
    _, radius = _axes(rig, rest)
    return Shell(
        part,
        points,
        ways,
        static.rest,
        static.arm,
        static.leg,
        part.matrix @ radius,
        _hang(shape, static),
        static.underside,
        _bends(rig, posed, static),
    )


@dataclass(frozen=True, eq=False)
class _Static:
    """What does not depend on the person."""

    rest: Array
    arm: Array
    leg: Array
    arms: Array  # (2,T)
    legs: Array  # (2,T)
    limb: Array  # (V,) 1 on limbs, 0 on the trunk, hands and feet
    trunk: Array  # (T,) bool
    underside: Array  # (T,)


@functools.cache
def _static(rig: Rig, levels: int | None) -> _Static:
    part = rig.part("tights", levels)
    onto = lambda field: np.asarray(part.matrix @ field.astype(np.float32))  # noqa: E731
    arm, leg = rig.limb_t.max(0), rig.limb_u.max(0)
    limb = np.maximum(ramp(arm, 0.1, 0.5) * ramp(-arm, -2.2, -2.0), ramp(leg, 0.35, 0.8) * ramp(-leg, -2.0, -1.8))
    arms, legs = (np.stack([onto(one) for one in field]) for field in (rig.limb_t, rig.limb_u))
    rest = onto(rig.mean)
    trunk = (arms.max(0) < 0.05) & (rest[:, 2] > 0.75)
    underside = ramp(-vertex_normals(rest, part.faces)[:, 2], -0.3, 0.35)
    return _Static(rest, arms.max(0), legs.max(0), arms, legs, limb, trunk, underside)


def ramp(value: Array | float, low: float, high: float) -> Array:
    """0 below low, 1 above high, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _axes(rig: Rig, rest: Array) -> tuple[Array, Array]:
    """Away from the nearest bone: unit vectors (V,3), and the distance (V,); on the trunk from the spine."""
    away = rest * [1.0, 1.0, 0.0] - rig.joint("spine-2", rest) * [0.0, 1.0, 0.0]
    for side in "lr":
        for names, field in ((("shoulder", "elbow", "hand"), rig.limb_t), (("upper-leg", "knee", "ankle"), rig.limb_u)):
            place = field[0 if side == "l" else 1]
            on = place > 0.05
            a, b, c = (rig.joint(f"{side}-{name}", rest) for name in names)
            first, second = _from_line(rest[on], a, b), _from_line(rest[on], b, c)
            away[on] = first + ramp(place[on], 0.85, 1.15)[:, None] * (second - first)
    distance = np.linalg.norm(away, axis=1)
    return away / np.maximum(distance, 1e-6)[:, None], distance


def _from_line(points: Array, a: Array, b: Array) -> Array:
    way = (b - a) / np.linalg.norm(b - a)
    return points - a - ((points - a) @ way)[:, None] * way


def _hang(shape: Array, static: _Static) -> Array:
    """(T,) how far the widest place above, at the same angle around the spine, stands out beyond a vertex of the trunk."""
    from scipy.ndimage import gaussian_filter1d, map_coordinates

    out = np.zeros(len(shape))
    index = np.flatnonzero(static.trunk & (shape[:, 2] < CHEST * shape[:, 2].max() / 1.52))
    x, y, z = shape[index].T
    radius = np.hypot(x, y)
    sector = (np.arctan2(y, x) / (2 * np.pi) + 0.5) * SECTORS
    height = (z.max() - z) / 0.02
    widest = np.zeros((SECTORS, int(height.max()) + 2))
    np.maximum.at(widest, (sector.astype(int) % SECTORS, height.astype(int)), radius)
    widest = gaussian_filter1d(np.maximum.accumulate(widest, 1), 1.5, axis=0, mode="wrap")
    widest = gaussian_filter1d(widest, 1.5, axis=1, mode="nearest")
    drop = map_coordinates(widest, [sector - 0.5, height - 0.5], order=1, mode="grid-wrap") - radius
    out[index] = np.clip(drop, 0, 0.07) * ramp(height, 0, 4)
    return out


def _bends(rig: Rig, posed: Posed, static: _Static) -> Array:
    out = np.zeros(len(static.arm))
    for (upper, lower), places in zip(JOINTS, (static.arms, static.legs)):
        for side, place in zip("LR", places):
            angle = _angle(rig, posed, f"{upper}.{side}", f"{lower}.{side}")
            out += min(angle / 1.5, 1.0) * np.exp(-(((place - 1) / 0.28) ** 2))
    return np.clip(out, 0, 1)


def _angle(rig: Rig, posed: Posed, first: str, second: str) -> float:
    """Radians between two bones, beyond those of the rest pose."""
    a, b = (posed.bones[rig.bone(name), :, :3] for name in (first, second))
    return float(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1)))


def hip_bend(rig: Rig, posed: Posed) -> float:
    """Radians that the more bent hip is bent."""
    return max(_angle(rig, posed, "root", f"upperleg01.{side}") for side in "LR")


def waves(points: Array, rng: np.random.Generator, size: float | Sequence[float], count: int = 14) -> Array:
    """Smooth noise (N,) with unit spread, of about `size` metres (a number or one per axis), from `count` plane waves."""
    way = rng.normal(0, 2 * np.pi, (3, count)) / np.broadcast_to(size, 3)[:, None] / 1.7
    phase = rng.uniform(0, 2 * np.pi, count)
    return np.cos(points.astype(np.float32) @ way.astype(np.float32) + phase.astype(np.float32)).sum(1) * np.sqrt(2 / count)


def wrinkles(on: Shell, rng: np.random.Generator) -> Array:
    """(T,) 0 in the valleys of cloth .. about 1 on its folds: ridges where it is loose, creases across bent joints."""
    ridge = 1 - np.abs(waves(on.rest, rng, [0.075, 0.075, 0.14]))  # sharp crests, wide valleys
    soft = 0.5 + 0.3 * waves(on.rest, rng, [0.045, 0.045, 0.08])
    along = np.where(on.arm > 0, on.arm * 0.26, on.leg * 0.42)
    crease = 0.5 + 0.5 * np.sin(2 * np.pi * along / 0.045 + 2.5 * waves(on.rest, rng, 0.12))
    return np.clip(0.6 * np.clip(ridge, -0.5, 1) + 0.4 * soft, 0, 1.2) + 0.6 * on.bends * crease


def fold(wrinkled: float, size: float) -> float:
    """Metres that folds of cloth are high, of usual height `size`; steeper ones would not be resolved by the mesh."""
    return min(wrinkled * size, 0.012)


def hanging_leg(on: Shell, straight: float) -> Array:
    """(T,) metres from the leg to trousers that fall from the thigh."""
    target = 0.088 - 0.017 * np.clip(on.leg, 0, 2)
    return straight * ramp(on.leg, 0.2, 1.0) * np.clip(target - on.radius, 0, 0.05)


def hanging_sleeve(on: Shell, ease: float) -> Array:
    """(T,) metres from the arm to a sleeve of that ease, which is tube shaped."""
    target = 0.042 + 0.6 * ease - 0.006 * np.clip(on.arm, 0, 2)
    return ramp(on.arm, 0.2, 0.7) * np.clip(target - on.radius, 0, 0.03)


def cuff(on: Shell, end: float) -> Array:
    """(T,) 1, but 0.2 at the wrist where sleeves that go so far (`end` along the arm) are gathered."""
    return 1 - 0.8 * ramp(on.arm, end - 0.3, end - 0.05) * (end > 1.5)


def presence(faces: Array, field: Array) -> Array:
    """(T,) 1 on every triangle that holds some of the cloth where `field` (T,) is positive, falling to 0 within 5 cm of it."""
    near = ramp(field, -0.05, -0.015)
    near[faces[(field[faces] > 0).any(1)]] = 1
    return near


def stacked(wanted: Array, below: list[tuple[Array, Array]]) -> Array:
    """(T,) distances of a layer: what is wanted, but farther out than every layer below wherever that is.

    Args:
        wanted: (T,) metres.
        below: distances (T,) and presence (T,) of the layers already laid.
    """
    out = np.maximum(wanted, LEAST)
    for distance, there in below:
        out = np.maximum(out, there * (distance + GAP))
    return out
