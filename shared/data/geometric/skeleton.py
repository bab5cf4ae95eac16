"""Where the joints of a person are: proportions, poses and forward kinematics.

Person space: x to the person's left, y up, z where the person looks, metres, the ground at y = 0.
A frame is (rotation (3,3), origin (3,)); its columns are the local axes, and a limb runs down its local y axis.
"""

from dataclasses import dataclass

import numpy as np

Array = np.ndarray
Frame = tuple[Array, Array]
SIDES = {"left": 1, "right": -1}


@dataclass(frozen=True)
class Build:
    """How a person is made; metres."""

    height: float
    girth: float  # 1 is average; scales every thickness
    shoulders: float  # half the distance between the shoulder joints
    hips: float  # half the distance between the hip joints
    head: float  # 1 is an average head

    @property
    def scale(self) -> float:
        """Size next to a person of 1.75 m, for whom every length of this package is written."""
        return self.height / 1.75


@dataclass(frozen=True)
class Pose:
    """Degrees. Arms: forward, outward, twist inward, elbow. Legs: forward, outward, knee."""

    arms: tuple[tuple[float, ...], tuple[float, ...]]  # left, right
    legs: tuple[tuple[float, ...], tuple[float, ...]]
    lean: float = 0.0  # trunk bent forward


def _same(*angles: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return angles, angles


STRAIGHT = _same(2, 4, 3)
POSES = {
    "standing": Pose(_same(5, 8, 10, 12), STRAIGHT),
    "at ease": Pose(((0, 32, 75, 95), (5, 8, 10, 12)), ((2, 5, 3), (10, 10, 18))),
    "hands on hips": Pose(_same(-8, 42, 80, 98), _same(2, 10, 3)),
    "walking": Pose(((28, 6, 5, 25), (-28, 8, 5, 18)), ((-22, 2, 18), (26, 2, 12)), 4),
    "running": Pose(((45, 10, 20, 95), (-45, 12, 10, 85)), ((-25, 2, 75), (65, 3, 70)), 14),
    "arms raised": Pose(_same(165, 18, 0, 15), _same(2, 8, 3)),
    "star": Pose(_same(0, 115, 0, 8), _same(0, 24, 4)),
    "arms wide": Pose(_same(0, 88, 0, 6), _same(2, 6, 3)),
    "waving": Pose(((0, 88, -85, 95), (5, 8, 10, 12)), STRAIGHT),
    "pointing": Pose(((88, 12, 0, 6), (5, 8, 10, 12)), _same(5, 6, 5)),
    "reaching": Pose(_same(95, 4, 5, 18), ((25, 4, 30), (-12, 4, 12)), 15),
    "arms folded": Pose(_same(32, 10, 68, 98), _same(3, 6, 4)),
    "on the phone": Pose(((52, 22, 15, 142), (0, 10, 20, 20)), ((2, 5, 3), (8, 8, 14))),
    "sitting": Pose(_same(28, 10, 22, 45), _same(84, 10, 84), 4),
    "crouching": Pose(_same(62, 12, 25, 55), _same(112, 18, 128), 32),
    "kneeling": Pose(((40, 10, 20, 60), (10, 12, 10, 25)), ((88, 8, 88), (2, 5, 92)), 5),
    "lunging": Pose(_same(10, 30, 50, 80), ((62, 6, 66), (-32, 4, 28)), 6),
    "bending": Pose(_same(45, 8, 5, 12), _same(18, 6, 12), 55),
}


def build(rng: np.random.Generator) -> Build:
    """A random adult."""
    height = rng.uniform(1.5, 1.95)
    scale = height / 1.75
    return Build(
        height,
        girth=float(np.clip(rng.normal(1, 0.11), 0.82, 1.3)),
        shoulders=scale * rng.uniform(0.155, 0.19),
        hips=scale * rng.uniform(0.078, 0.095),
        head=scale**0.5 * rng.uniform(0.96, 1.06),
    )


def pose(rng: np.random.Generator) -> tuple[str, Pose]:
    """A random pose: one of POSES or its mirror image, every angle disturbed."""
    name = str(rng.choice(list(POSES)))
    chosen = POSES[name]
    arms, legs = np.array(chosen.arms), np.array(chosen.legs)
    if rng.random() < 0.5:
        arms, legs = arms[::-1], legs[::-1]
    arms = arms + rng.normal(0, [9, 6, 10, 9], (2, 4))
    legs = legs + rng.normal(0, [5, 3, 5], (2, 3))
    arms[:, 1], legs[:, 1] = np.maximum(arms[:, 1], 4), np.maximum(legs[:, 1], 0)
    arms[:, 3], legs[:, 2] = np.clip(arms[:, 3], 2, 148), np.clip(legs[:, 2], 0, 140)
    disturbed = Pose((tuple(arms[0]), tuple(arms[1])), (tuple(legs[0]), tuple(legs[1])), chosen.lean + rng.normal(0, 4))
    return name, disturbed


def frames(body: Build, posed: Pose, *, look: tuple[float, float, float], turn: float = 0.0) -> dict[str, Frame]:
    """Every joint of a posed person who stands on the ground above the world's origin.

    Args:
        look: degrees the head is turned to the person's left, nodded down and tilted.
        turn: degrees the whole body is turned to its left, about the vertical.
    """
    k = body.scale
    found: dict[str, Frame] = {"pelvis": (about("y", turn), np.zeros(3))}

    def grow(name: str, parent: str, offset: tuple[float, float, float], rotation: Array) -> None:
        turned, origin = found[parent]
        found[name] = turned @ rotation, origin + turned @ np.array(offset)

    grow("belly", "pelvis", (0, 0.06 * k, 0), about("x", posed.lean * 0.5))
    grow("chest", "belly", (0, 0.11 * k, 0), about("x", posed.lean * 0.5))
    grow("neck", "chest", (0, 0.305 * k, -0.012 * k), about("x", look[1] * 0.4 - posed.lean * 0.35))
    skull = about("y", look[0]) @ about("x", look[1] * 0.6) @ about("z", look[2])
    grow("head", "neck", (0, 0.048 * k + 0.112 * body.head, 0.018 * k), skull)
    for (side, sign), arm, leg in zip(SIDES.items(), posed.arms, posed.legs):
        forward, outward, twist, elbow = arm
        upper = about("x", -forward) @ about("z", sign * outward) @ about("y", -sign * twist)
        grow(f"{side}_shoulder", "chest", (sign * body.shoulders, 0.262 * k, -0.008 * k), upper)
        grow(f"{side}_elbow", f"{side}_shoulder", (0, -0.29 * k, 0), about("x", -elbow))
        grow(f"{side}_wrist", f"{side}_elbow", (0, -0.25 * k, 0), about("x", -8))
        forward, outward, knee = leg
        grow(f"{side}_hip", "pelvis", (sign * body.hips, -0.03 * k, 0), about("x", -forward) @ about("z", sign * outward))
        grow(f"{side}_knee", f"{side}_hip", (0, -0.425 * k, 0), about("x", knee))
        hanging = knee - forward > 50  # then the toes point away, else the foot stays level as far as the ankle can
        flat = 35 if hanging else np.clip(forward - knee, -30, 12)
        grow(f"{side}_ankle", f"{side}_knee", (0, -0.415 * k, 0), about("x", flat))
    lowest = min(float((turned @ (0, -0.09 * k, end * k) + origin)[1]) for turned, origin, end in _soles(found))
    lowest = min(lowest, min(found[f"{side}_knee"][1][1] for side in SIDES) - 0.06 * k)
    return {name: (turned, origin - (0, lowest, 0)) for name, (turned, origin) in found.items()}


def about(axis: str, degrees: float) -> Array:
    """Rotation (3,3) about a coordinate axis, right-handed."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    turned = np.eye(3)
    turned[first, first] = turned[second, second] = c
    turned[second, first], turned[first, second] = s, -s
    return turned


def _soles(found: dict[str, Frame]) -> list[tuple[Array, Array, float]]:
    """Both ends of both feet: rotation, origin, distance ahead of the ankle."""
    return [(*found[f"{side}_ankle"], end) for side in SIDES for end in (-0.04, 0.15)]
