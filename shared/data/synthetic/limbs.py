"""Limbs: rotations of bones that bring a wrist or an ankle to a place, and a test that no limb passes through the body.

Places are given in the person's own terms, so that one number serves both sides: outward, forward, up. Rotations are (3,3), in the
axes of the rest pose.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.spatial import KDTree

from shared.data.synthetic.regions import REGIONS, SIDES
from shared.data.synthetic.rig import Posed, Rig

Array = np.ndarray
X, Y, Z = np.eye(3)
DEEPEST = {"elbow": 2.45, "knee": 2.45}  # radians a joint bends
INSIDE = 0.004  # metres below the skin, from where on a point counts as inside


class Body(NamedTuple):
    """Whose limbs: a rest shape."""

    rig: Rig
    rest: Array  # (V,3)
    heads: Array  # (B,3)

    def joint(self, name: str) -> Array:
        """The middle (3,) of a joint at rest."""
        return self.rig.joint(name, self.rest)


def turn(axis: Array, angle: float) -> Array:
    """The rotation (3,3) by an angle in radians about an axis (3,)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def aligned(start: Array, end: Array) -> Array:
    """The smallest rotation (3,3) that turns the direction `start` (3,) into `end` (3,)."""
    a, b = unit(start), unit(end)
    axis = np.cross(a, b)
    if np.linalg.norm(axis) < 1e-8:
        return np.eye(3) if a @ b > 0 else turn(np.cross(a, X if abs(a[0]) < 0.9 else Y), np.pi)
    return turn(axis, float(np.arctan2(np.linalg.norm(axis), a @ b)))


def unit(vector: Array) -> Array:
    """The direction (3,) of a vector (3,)."""
    return vector / np.linalg.norm(vector)


def own(place: Array, sign: int) -> Array:
    """(outward, forward, up) of the left (sign 1) or right (-1) side -> x, y, z."""
    return np.array([sign * place[0], -place[1], place[2]])


class Bend(NamedTuple):
    """Two bones that reach a place."""

    upper: Array  # (3,3) of the upper bone, in the frame of what carries it
    lower: Array  # (3,3) of the lower bone, relative to the upper one


def reach(start: Array, middle: Array, end: Array, target: Array, pole: Array, hinge: Array, deepest: float) -> Bend:
    """Bring the end of a chain of two bones to a target, or as near as it goes.

    Args:
        start, middle, end: (3,) the joints at rest.
        target: (3,) from the start, metres.
        pole: (3,) toward where the middle joint points.
        hinge: (3,) the axis at rest about which a positive angle bends the middle joint.
        deepest: most bend, radians.
    """
    a, b = np.linalg.norm(middle - start), np.linalg.norm(end - middle)
    nearest = np.sqrt(a * a + b * b + 2 * a * b * np.cos(deepest))
    distance = np.clip(np.linalg.norm(target), nearest, (a + b) * 0.9995)
    toward = unit(target)
    aside = unit(pole - (pole @ toward) * toward)
    opening = np.arccos(np.clip((a * a + distance**2 - b * b) / (2 * a * distance), -1, 1))
    first = np.cos(opening) * toward + np.sin(opening) * aside
    bend = np.pi - np.arccos(np.clip((a * a + b * b - distance**2) / (2 * a * b), -1, 1))
    at_rest = unit(middle - start)
    hinge = unit(hinge - (hinge @ at_rest) * at_rest)
    upper = _frame(first, np.cross(aside, toward)) @ _frame(at_rest, hinge).T
    below = unit(end - middle)
    bent = np.arctan2(np.cross(at_rest, below) @ hinge, at_rest @ below)
    return Bend(upper, turn(hinge, bend - bent))


def _frame(along: Array, normal: Array) -> Array:
    return np.stack([along, normal, np.cross(along, normal)], 1)


def twisted(rotation: Array, axis: Array) -> tuple[Array, Array]:
    """A rotation shared by two bones in line along an axis (3,): the swing with half of the twist, and the other half."""
    swing = aligned(axis, rotation @ axis)
    twist = swing.T @ rotation
    sine = (twist[2, 1] - twist[1, 2]) * axis[0] + (twist[0, 2] - twist[2, 0]) * axis[1] + (twist[1, 0] - twist[0, 1]) * axis[2]
    half = turn(axis, np.arctan2(sine, np.trace(twist) - 1) / 2)
    return swing @ half, half


def arm(body: Body, side: int, wrist: Array, elbow: Array, *, roll: float = 0.0, flex: float = 0.0) -> dict[str, Array]:
    """Rotations of an arm.

    Args:
        side: 0 left, 1 right.
        wrist: (outward, forward, up) from the shoulder, in lengths of the arm.
        elbow: (outward, forward, up), toward where the elbow points.
        roll: radians of the forearm about itself, positive turns the palm down where the arm points forward.
        flex: radians of the wrist, positive toward the palm.
    """
    _, b, j, sign = SIDES[side]
    shoulder, middle, hand = (body.joint(f"{j}-{name}") for name in ("shoulder", "elbow", "hand"))
    root, length = body.joint(f"{j}-clavicle"), np.linalg.norm(middle - shoulder) + np.linalg.norm(hand - middle)
    goal = shoulder + length * own(wrist, sign)
    rise = 0.45 * np.clip((unit(np.asarray(wrist, float))[2] + 0.2), 0, 1)
    ahead = 0.25 * np.clip(unit(np.asarray(wrist, float))[1], -0.3, 1)
    girdle = turn(Y, -sign * rise) @ turn(Z, -sign * ahead)
    moved = root + girdle @ (shoulder - root)
    hinge = np.cross(middle - shoulder, hand - middle)
    bend = reach(shoulder, middle, hand, goal - moved, own(elbow, sign), hinge, DEEPEST["elbow"])
    first, second = twisted(girdle.T @ bend.upper, unit(middle - shoulder))
    forearm = unit(hand - middle)
    across = unit(body.joint(f"{j}-finger-5-1") - body.joint(f"{j}-finger-2-1"))
    return {
        f"clavicle.{b}": girdle,
        f"upperarm01.{b}": first,
        f"upperarm02.{b}": second,
        f"lowerarm01.{b}": bend.lower @ turn(forearm, sign * roll * 0.3),
        f"lowerarm02.{b}": turn(forearm, sign * roll * 0.7),
        f"wrist.{b}": turn(across, sign * flex),
    }


def leg(
    body: Body, side: int, ankle: Array, *, knee: float = 0.1, yaw: float = 0.2, tip: float = 0.0, heel: float = 0.0
) -> dict[str, Array]:
    """Rotations of a leg whose foot is level, but for `tip` and `heel`.

    Args:
        side: 0 left, 1 right.
        ankle: (outward, forward, up) from the hip, in lengths of the leg.
        knee: how much the knee points outward, where 1 is half sideways.
        yaw: radians the foot is turned outward.
        tip: radians the toes are lowered.
        heel: lengths of the leg by which the ankle is lifted above `ankle` while the toes stay where they were.
    """
    _, b, j, sign = SIDES[side]
    hip, middle, foot = (body.joint(f"{j}-{name}") for name in ("upper-leg", "knee", "ankle"))
    length = np.linalg.norm(middle - hip) + np.linalg.norm(foot - middle)
    pole = own(np.array([knee, 1, 0.3]), sign)
    bend = reach(hip, middle, foot, length * own(ankle + heel * Z, sign), pole, X, DEEPEST["knee"])
    first, second = twisted(bend.upper, unit(middle - hip))
    shin = bend.upper @ bend.lower
    level = turn(Z, sign * yaw) @ turn(X, _on_toes(body, side, float(heel * length)) if heel else tip)
    return {
        f"upperleg01.{b}": first,
        f"upperleg02.{b}": second,
        f"lowerleg01.{b}": bend.lower,
        f"foot.{b}": shin.T @ level,
    }


def _on_toes(body: Body, side: int, lift: float) -> float:
    """Radians to tip a foot whose ankle is lifted by so many metres, so that its toes reach the ground as before."""
    name, _, j, _ = SIDES[side]
    foot = body.rest[body.rig.region == f"{name}_Foot"] - body.joint(f"{j}-ankle")
    low, high = 0.0, 1.4
    for _ in range(16):
        tip = (low + high) / 2
        deepest = (foot @ turn(X, tip)[2]).min()
        low, high = (low, tip) if deepest < foot[:, 2].min() - lift else (tip, high)
    return tip


def fingers(body: Body, side: int, curl: Array, spread: float, thumb: float) -> dict[str, Array]:
    """Rotations of a hand: curl (4,) radians from fore to little finger, spread and the thumb's bend in radians."""
    _, b, j, sign = SIDES[side]
    knuckles = unit(body.joint(f"{j}-finger-5-1") - body.joint(f"{j}-finger-2-1"))
    ahead = unit(body.joint(f"{j}-finger-3-4") - body.joint(f"{j}-finger-3-1"))
    out = unit(np.cross(ahead, knuckles))
    rotations = {}
    for finger, angle in enumerate(curl, 2):
        for segment, share in ((1, 0.75), (2, 1.0), (3, 0.6)):
            turned = turn(knuckles, sign * angle * share)
            rotations[f"finger{finger}-{segment}.{b}"] = (
                turned @ turn(out, sign * spread * (finger - 3.5)) if segment == 1 else turned
            )
    first, second, tip = (body.joint(f"{j}-finger-1-{k}") for k in (1, 2, 4))
    axis = np.cross(tip - first, body.joint(f"{j}-finger-2-1") - second)
    return rotations | {f"finger1-{segment}.{b}": turn(axis, thumb * 0.5) for segment in (1, 2, 3)}


def passes_through(rig: Rig, posed: Posed) -> int:
    """How many of some vertices of forearms, hands, shins and feet lie inside what they should not: torso, head or another limb."""
    skin = np.unique(rig.quads["body"])
    points = posed.points[skin].astype(float)
    normals = _normals(rig, posed.points)[skin]
    region = rig.shares[skin].argmax(1)
    inside = 0
    for side in ("Left", "Right"):
        for near, far in (("Upper_Arm", ("Lower_Arm", "Hand")), ("Upper_Leg", ("Lower_Leg", "Foot"))):
            moving = np.isin(region, [REGIONS.index(f"{side}_{name}") for name in far])
            others = ~np.isin(region, [REGIONS.index(f"{side}_{name}") for name in (near, *far)])
            sparse = np.isin(region, [REGIONS.index(f"{side}_{far[0]}")])
            probes = np.concatenate([points[sparse], points[moving & ~sparse][::4]])  # hands and feet have most of the vertices
            found: Any = KDTree(points[others]).query(probes, distance_upper_bound=0.12)
            distance, nearest = found
            close = np.isfinite(distance)
            away = probes[close] - points[others][nearest[close]]
            inside += int(((away * normals[others][nearest[close]]).sum(1) < -INSIDE).sum())
    return inside


def _normals(rig: Rig, points: Array) -> Array:
    """Unit normals (V,3) of the skin, outward."""
    quads = rig.quads["body"]
    a, b, c, d = (points[quads[:, k]].astype(float) for k in range(4))
    normal = np.cross(c - a, d - b)
    total = np.stack([sum(np.bincount(quads[:, k], normal[:, i], len(points)) for k in range(4)) for i in range(3)], 1)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
