"""How people hold themselves: legs, arms, fingers, spine, head, gaze and face, drawn at random and never through one another.

A family is how somebody stands and what the hands do: `standing, folded`. Every draw is tried on the body that it is for; one that
would pass a limb through the torso, the head or another limb is drawn again, and after TRIES of them the arms hang apart.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from shared.data.synthetic.limbs import Body, X, Y, Z, arm, fingers, leg, passes_through, turn
from shared.data.synthetic.rig import Identity, Rig

Array = np.ndarray
Rotations = dict[str, Array]
TRIES = 14
TOUCHING = 8  # vertices of limbs inside the body that pass as skin pressed on skin
SPINE = ("spine05", "spine04", "spine03", "spine02", "spine01")
NECK = ("neck01", "neck02", "neck03", "head")


class Pose(NamedTuple):
    """How somebody holds themselves; fits any Rig."""

    name: str  # legs, arms
    rotations: Rotations  # (3,3) of each bone that is turned, for Rig.pose, with the eyes
    expression: dict[str, float]  # for Rig.rest
    gaze: Array  # (2,) radians of the eyes relative to the head: to the person's left, up
    support: str  # what carries them: "feet", "seat" (something to sit on is missing below the thighs), "knee" or "back"
    root: Array  # (3,3) of the whole person before it is turned about z; the identity but for those who lie


class Hands(NamedTuple):
    """What one arm does; lengths of the arm, (outward, forward, up)."""

    wrist: tuple[float, float, float]
    elbow: tuple[float, float, float]
    spread: float  # standard deviation of the wrist
    roll: float
    curl: tuple[float, float]  # least and most bend of the fingers, radians


def _both(hands: Hands) -> tuple[Hands, Hands]:
    return hands, hands


HANGING = Hands((0.20, 0.06, -0.97), (0.4, -1, 0), 0.03, 0.0, (0.2, 0.8))
RESTING = Hands((0.02, 0.62, -0.62), (0.6, -0.8, 0), 0.03, 0.9, (0.1, 0.6))  # on the thigh, where a hanging arm would meet the seat
ARMS: dict[str, tuple[Hands, Hands]] = {  # two hands, either of which may be the left
    "hanging": (HANGING, HANGING),
    "apart": _both(Hands((0.45, 0.1, -0.85), (0.3, -1, 0), 0.08, 0.0, (0, 0.9))),
    "hips": _both(Hands((0.22, 0.06, -0.70), (1, -0.5, 0), 0.02, -1.0, (0.4, 1.1))),
    "hip": (Hands((0.22, 0.06, -0.70), (1, -0.5, 0), 0.02, -1.0, (0.4, 1.1)), HANGING),
    "folded": (
        Hands((-0.40, 0.58, -0.50), (0.7, 0.1, -1), 0.02, 0.0, (0.1, 0.5)),
        Hands((-0.36, 0.62, -0.30), (0.7, 0.1, -1), 0.02, 0.0, (0.1, 0.5)),
    ),
    "clasped": (
        Hands((-0.12, 0.38, -0.78), (0.8, -0.4, -0.4), 0.02, 0.0, (0.3, 0.8)),
        Hands((-0.12, 0.58, -0.68), (0.8, -0.4, -0.4), 0.02, 0.0, (0.3, 0.8)),
    ),
    "waving": (Hands((0.42, 0.22, 0.34), (0.7, -0.1, -1), 0.10, 1.0, (0, 0.25)), HANGING),
    "phone": (Hands((-0.14, 0.58, -0.20), (0.3, -0.2, -1), 0.05, -0.6, (0.7, 1.1)), HANGING),
    "calling": (Hands((0.04, 0.34, 0.14), (0.6, 0.2, -1), 0.02, 0.0, (0.7, 1.1)), HANGING),
    "thinking": (
        Hands((-0.16, 0.46, 0.02), (0.3, 0.3, -1), 0.02, 0.2, (0.5, 1.2)),
        Hands((-0.40, 0.52, -0.50), (0.7, 0.0, -1), 0.02, 0.0, (0.1, 0.5)),
    ),
    "reaching": (Hands((0.05, 0.90, 0.05), (0.4, -0.2, -1), 0.20, 0.0, (0, 0.6)), HANGING),
    "both reaching": _both(Hands((0.05, 0.80, 0.0), (0.5, -0.2, -1), 0.16, 0.0, (0, 0.6))),
    "pointing": (Hands((0.45, 0.80, 0.15), (0.5, -0.2, -1), 0.15, 0.0, (0.9, 1.4)), HANGING),
    "raised": _both(Hands((0.25, 0.10, 0.85), (1, 0.3, 0), 0.12, 0.7, (0, 0.5))),
    "one raised": (Hands((0.15, 0.10, 0.90), (1, 0.3, 0), 0.12, 0.7, (0, 1.2)), HANGING),
    "spread": _both(Hands((0.95, 0.10, 0.05), (0, -0.4, -1), 0.12, 0.8, (0, 0.3))),
    "on head": (Hands((0.02, 0.16, 0.52), (1, 0.1, 0.2), 0.02, 0.0, (0.1, 0.5)), HANGING),
    "gesturing": _both(Hands((0.10, 0.55, -0.40), (0.5, -0.6, -0.8), 0.12, 0.3, (0, 0.8))),
    "swinging": (  # with the legs: forward against the leg of its side
        Hands((0.16, 0.45, -0.78), (0.3, -1, -0.3), 0.05, 0.0, (0.3, 0.9)),
        Hands((0.18, -0.30, -0.90), (0.3, -1, 0.2), 0.05, 0.0, (0.3, 0.9)),
    ),
    "running": (
        Hands((0.02, 0.50, -0.28), (0.4, -1, -0.6), 0.04, 0.0, (0.9, 1.3)),
        Hands((0.26, -0.18, -0.58), (0.4, -1, 0.1), 0.04, 0.0, (0.9, 1.3)),
    ),
    "lap": (RESTING, RESTING),
}
CALM = ("hanging", "apart", "hips", "hip", "folded", "clasped", "phone", "calling", "thinking", "gesturing", "one raised", "waving")
LIVELY = ("reaching", "both reaching", "pointing", "raised", "spread", "on head")
SEATED = ("lap", "lap", "folded", "phone", "calling", "thinking", "gesturing", "reaching", "waving", "raised")


class Legs(NamedTuple):
    """How somebody stands, sits or moves."""

    share: float  # of all people
    arms: tuple[str, ...]
    draw: Callable[[Body, np.random.Generator], Rotations]  # the leading leg is the left one; mirrored half of the time
    lean: tuple[float, float] = (0.0, 0.06)  # radians forward: mean, standard deviation
    support: str = "feet"


def _standing(body: Body, rng: np.random.Generator) -> Rotations:
    bend, wide = rng.uniform(0, 0.015), rng.uniform(-0.02, 0.12)
    step = 0.5 * rng.normal(0, 0.12)
    height = -0.992 + bend + step**2 / 2
    yaws = rng.uniform(0, 0.45, 2)
    return leg(body, 0, np.array([wide, step, height]), yaw=yaws[0]) | leg(body, 1, np.array([wide, -step, height]), yaw=yaws[1])


def _walking(body: Body, rng: np.random.Generator) -> Rotations:
    step, lift = rng.uniform(0.14, 0.30), rng.uniform(0.03, 0.11)
    height = -np.sqrt(0.985**2 - step**2)
    front = leg(body, 0, np.array([0, step, height]), yaw=0.1)
    return front | leg(body, 1, np.array([0, -step, height]), yaw=0.1, heel=lift)


def _running(body: Body, rng: np.random.Generator) -> Rotations:
    high, push = rng.uniform(0.0, 0.2), rng.uniform(0.1, 0.3)
    front = leg(body, 0, np.array([0, 0.22, -0.70 + high]), yaw=0.0, tip=rng.uniform(-0.2, 0.4))
    return front | leg(body, 1, np.array([0, -push, -np.sqrt(0.97**2 - push**2)]), yaw=0.0, tip=0.5)


def _sitting(body: Body, rng: np.random.Generator) -> Rotations:
    height, wide = -rng.uniform(0.44, 0.56), rng.uniform(0.0, 0.14)
    sides = [
        leg(body, side, np.array([wide, rng.uniform(0.36, 0.56), height]), knee=rng.uniform(0, 0.3), yaw=rng.uniform(0, 0.3))
        for side in (0, 1)
    ]
    return sides[0] | sides[1]


def _crouching(body: Body, rng: np.random.Generator) -> Rotations:
    height, wide, tip = -rng.uniform(0.32, 0.58), rng.uniform(0.08, 0.22), rng.uniform(0, 0.5)
    sides = [leg(body, side, np.array([wide, 0.12, height]), knee=rng.uniform(0.4, 0.9), yaw=0.4, tip=tip) for side in (0, 1)]
    return sides[0] | sides[1]


def _lunging(body: Body, rng: np.random.Generator) -> Rotations:
    step, lift = rng.uniform(0.38, 0.52), rng.uniform(0.06, 0.13)
    height = -rng.uniform(0.66, 0.78)
    front = leg(body, 0, np.array([0.04, step, height]), yaw=0.1)
    return front | leg(body, 1, np.array([0.04, -step, height]), yaw=0.1, heel=lift)


def _kneeling(body: Body, rng: np.random.Generator) -> Rotations:
    """On the right knee: the hip is lowered until that knee is on the ground of the left foot."""
    back, height, length = -0.50 + rng.uniform(-0.03, 0.03), -0.455, np.ptp(body.rest[:, 2]) / 2
    knee, foot = np.abs(body.rig.limb_u[1] - 1) < 0.2, body.rig.region == "Left_Foot"
    for step in range(5):
        rotations = leg(body, 0, np.array([0.06, 0.46, height]), yaw=0.1)
        rotations |= leg(body, 1, np.array([0.04, back, height]), yaw=0.0, heel=0.085)
        if step < 4:
            points = body.rig.pose(body.rest, body.heads, rotations).points
            height += float(points[knee, 2].min() - points[foot, 2].min()) / length
    return rotations


def _on_one_leg(body: Body, rng: np.random.Generator) -> Rotations:
    lifted = np.array([0.03, rng.uniform(0.1, 0.5), -rng.uniform(0.55, 0.8)])
    return leg(body, 0, lifted, yaw=0.1, tip=rng.uniform(0, 0.5)) | leg(body, 1, np.array([-0.05, 0, -0.99]), yaw=0.2)


LEGS: dict[str, Legs] = {
    "standing": Legs(0.44, (*CALM, *CALM, *LIVELY), _standing),
    "walking": Legs(0.16, ("swinging", "swinging", "swinging", "phone", "waving", "calling", "hanging"), _walking),
    "running": Legs(0.05, ("running",), _running, (0.16, 0.06)),
    "sitting": Legs(0.15, SEATED, _sitting, (0.02, 0.10), "seat"),
    "crouching": Legs(0.06, ("both reaching", "gesturing", "raised", "phone", "thinking"), _crouching, (0.25, 0.10)),
    "lunging": Legs(0.05, ("hanging", "spread", "reaching", "pointing", "raised", "swinging"), _lunging, (0.05, 0.06)),
    "kneeling": Legs(0.03, ("both reaching", "gesturing", "hanging", "phone"), _kneeling, (0.10, 0.08), "knee"),
    "on one leg": Legs(0.03, ("apart", "spread", "raised", "hanging"), _on_one_leg),
    "lying": Legs(0.03, ("apart", "raised", "spread"), _standing, (0.0, 0.02), "back"),
}
FAMILIES = tuple(f"{legs}, {arms}" for legs, spec in LEGS.items() for arms in dict.fromkeys(spec.arms))


def pose(rng: np.random.Generator, *, identity: Identity | None = None, family: str | None = None) -> Pose:
    """Draw a pose that this person can take: the mean adult where nobody is given, any of FAMILIES where none is named."""
    rig = Rig.load()
    limbs_rng, head_rng, face_rng = rng.spawn(3)
    name = family or _family(limbs_rng)
    if name not in FAMILIES:
        raise ValueError(f"there is no family of poses {name!r}; there are {'; '.join(FAMILIES)}")
    body = Body(rig, rig.mean, rig.heads_mean) if identity is None else Body(rig, *rig.rest(identity))
    gaze = head_rng.normal((0.0, -0.05), (0.16, 0.07))
    look = turn(Z, gaze[0]) @ turn(X, -gaze[1])
    above = _head(head_rng) | {"eye.L": look, "eye.R": look}
    legs, arms = name.split(", ")
    for attempt in range(TRIES + 1):
        if attempt == TRIES:
            arms = "apart"
        rotations = _limbs(body, legs, arms, limbs_rng) | above
        if passes_through(rig, rig.pose(body.rest, body.heads, rotations)) <= TOUCHING:
            break
    else:
        legs, arms, rotations = "standing", "apart", _still(body) | above
    root = turn(X, -np.pi / 2) if LEGS[legs].support == "back" else np.eye(3)
    return Pose(f"{legs}, {arms}", rotations, expression(face_rng), gaze, LEGS[legs].support, root)


def _family(rng: np.random.Generator) -> str:
    shares = np.array([spec.share for spec in LEGS.values()])
    legs = list(LEGS)[rng.choice(len(LEGS), p=shares / shares.sum())]
    return f"{legs}, {rng.choice(LEGS[legs].arms)}"


def _limbs(body: Body, legs: str, arms: str, rng: np.random.Generator) -> Rotations:
    spec, rotations = LEGS[legs], {}
    lean, bow, wind = rng.normal(*spec.lean), rng.normal(0, 0.05), rng.normal(0, 0.08)
    for bone in SPINE:
        rotations[bone] = turn(X, lean / 3) @ turn(Y, bow / 3) @ turn(Z, wind / 2)
    rotations |= spec.draw(body, rng)
    pair = ARMS[arms]
    if arms not in ("swinging", "running") and rng.random() < 0.5:
        pair = pair[::-1]
    elif arms in ("swinging", "running"):
        pair = pair[::-1]  # the right arm goes with the left leg
    if spec.support == "seat":
        pair = tuple(RESTING if hands is HANGING else hands for hands in pair)
    for side, hands in enumerate(pair):
        wrist = np.array(hands.wrist) + rng.normal(0, hands.spread, 3)
        roll, flex = hands.roll + rng.normal(0, 0.3), rng.normal(0.05, 0.2)
        rotations |= arm(body, side, wrist, np.array(hands.elbow) + rng.normal(0, 0.08, 3), roll=roll, flex=flex)
        curl = np.clip(rng.uniform(*hands.curl) + rng.normal(0, 0.15, 4), 0, 1.4)
        if arms == "pointing" and hands is not HANGING:
            curl[0] = 0.05
        rotations |= fingers(body, side, curl, rng.normal(0.02, 0.05), rng.uniform(0, 0.5))
    return mirrored(rotations) if rng.random() < 0.5 else rotations


def _still(body: Body) -> Rotations:
    down, back = np.array([0.45, 0.1, -0.85]), np.array([0.3, -1, 0])
    straight = np.array([0.06, 0, -0.985])
    return arm(body, 0, down, back) | arm(body, 1, down, back) | leg(body, 0, straight) | leg(body, 1, straight)


def _head(rng: np.random.Generator) -> Rotations:
    nod, tilt, yaw = rng.normal(0.02, 0.13), rng.normal(0, 0.09), rng.normal(0, 0.28)
    each = turn(Z, np.clip(yaw, -0.8, 0.8) / len(NECK)) @ turn(X, np.clip(nod, -0.4, 0.4) / len(NECK)) @ turn(Y, tilt / len(NECK))
    return dict.fromkeys(NECK, each)


def mirrored(rotations: Mapping[str, Array]) -> Rotations:
    """The same pose seen in a mirror: left and right change places."""
    flip, other = np.diag([-1.0, 1, 1]), {".L": ".R", ".R": ".L"}
    return {bone[:-2] + other.get(bone[-2:], bone[-2:]): flip @ turned @ flip for bone, turned in rotations.items()}


MOODS = {  # share of all faces, and units of expression with their least and most strength
    "neutral": (0.24, {}),
    "smile": (0.22, {"mouthSmile": (0.3, 0.9), "cheekSquint": (0.1, 0.5)}),
    "laugh": (0.12, {"mouthSmile": (0.6, 1), "cheekSquint": (0.3, 0.7), "jawOpen": (0.2, 0.7), "mouthUpperUp": (0.2, 0.6)}),
    "talk": (0.12, {"jawOpen": (0.05, 0.4), "mouthFunnel": (0, 0.5), "mouthLowerDown": (0, 0.5)}),
    "surprise": (0.06, {"jawOpen": (0.3, 0.9), "browInnerUp": (0.5, 1), "browOuterUp": (0.4, 1), "eyeWide": (0.4, 1)}),
    "frown": (0.08, {"mouthFrown": (0.3, 0.9), "browDown": (0.4, 1), "eyeSquint": (0, 0.5)}),
    "disgust": (0.03, {"noseSneer": (0.4, 1), "mouthUpperUp": (0.2, 0.7), "browDown": (0.2, 0.7)}),
    "pucker": (0.05, {"mouthPucker": (0.4, 1)}),
    "pressed": (0.04, {"mouthPress": (0.3, 0.9), "mouthRollUpper": (0.2, 0.7), "mouthRollLower": (0.2, 0.7)}),
    "tongue": (0.04, {"tongueOut": (0.5, 1), "jawOpen": (0.3, 0.6)}),
}


def expression(rng: np.random.Generator) -> dict[str, float]:
    """Units of expression and their strength 0..1, nearly alike left and right."""
    names = list(MOODS)
    shares = np.array([MOODS[name][0] for name in names])
    units = dict(MOODS[names[rng.choice(len(names), p=shares / shares.sum())]][1])
    units["eyeBlink"] = (0.0, 0.25) if rng.random() < 0.93 else (0.85, 1.0)
    known, drawn = Rig.load().expressions, {}
    for name, (least, most) in units.items():
        strength = rng.uniform(least, most)
        sides = [name] if name in known else [name + "Left", name + "Right"]
        for side in sides:
            drawn[side] = float(np.clip(strength * (rng.uniform(0.85, 1) if len(sides) > 1 and name != "eyeBlink" else 1), 0, 1))
    return drawn
