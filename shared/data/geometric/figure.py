"""A dressed person in the world: every solid of body, clothes and head, the joints and the points of the face."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shared.data.geometric import fabric
from shared.data.geometric.fabric import Texture, plain
from shared.data.geometric.face import features
from shared.data.geometric.head import NAMES, between, carried, hairdo, head, lenses, points
from shared.data.geometric.shapes import Array, Cone, Ellipsoid, Paint, Solid
from shared.data.geometric.skeleton import SIDES, Build, Frame, build, frames, pose

SEG = {name: number for number, name in enumerate(NAMES["seg"])}


@dataclass(frozen=True)
class Figure:
    """A person in the world, metres; the ground is y = 0."""

    solids: list[Solid]
    skull: range  # which of the solids are the bare head: there the points of the face lie
    joints: Array  # (17,3) in COCO order
    face: Array  # (238,3)
    normals: Array  # (238,3) outward unit normals at the points of the face
    frames: dict[str, Frame]
    build: Build
    pose: str


@dataclass(frozen=True)
class Outfit:
    """What is worn. Lengths: 0 nothing, 1 to elbow or knee, 2 to wrist or ankle."""

    sleeves: float
    legs: float
    skirt: bool
    loose: float  # metres between limb and cloth
    neckline: float  # metres below the throat
    shoes: bool
    socks: bool
    bag: str  # "", "backpack" or "shoulder"
    hem: float  # metres the top hangs over the hips
    upper: Texture
    sleeve: Texture
    lower: Texture
    shoe: Texture
    sock: Texture


def outfit(rng: np.random.Generator) -> Outfit:
    """Random clothes; everybody wears a top and trousers or a skirt, in colours that nobody's skin has."""
    upper, sleeve = fabric.woven(rng), fabric.woven(rng)
    return Outfit(
        sleeves=float(rng.choice([0, rng.uniform(0.35, 0.75), rng.uniform(1.2, 1.6), 2.0], p=[0.15, 0.4, 0.1, 0.35])),
        legs=float(rng.choice([rng.uniform(0.35, 0.9), rng.uniform(1.3, 1.7), 2.0], p=[0.32, 0.1, 0.58])),
        skirt=bool(rng.random() < 0.16),
        loose=rng.uniform(0.006, 0.022),
        neckline=rng.uniform(0.0, 0.1),
        shoes=bool(rng.random() < 0.8),
        socks=bool(rng.random() < 0.6),
        bag=str(rng.choice(["", "backpack", "shoulder"], p=[0.8, 0.12, 0.08])),
        hem=rng.uniform(-0.02, 0.09),
        upper=upper,
        sleeve=upper if rng.random() < 0.8 else sleeve,
        lower=fabric.woven(rng),
        shoe=fabric.blotchy(rng, fabric.dye(rng), 0.1, 0.06),
        sock=fabric.blotchy(rng, fabric.dye(rng), 0.1, 0.06),
    )


def figure(rng: np.random.Generator, *, turn: float, calm: bool) -> Figure:
    """A random person.

    Args:
        turn: degrees the person is turned to the left, away from +z.
        calm: the head looks ahead, more or less; else it may look well to the side.
    """
    body_rng, cloth_rng, skin_rng, head_rng = rng.spawn(4)
    body = build(body_rng)
    name, posed = pose(body_rng)
    spread = np.array([12, 7, 4]) if calm else np.array([24, 11, 7])
    at = frames(body, posed, look=tuple(body_rng.normal(0, spread)), turn=turn)
    skin = fabric.blotchy(skin_rng, fabric.skin_tone(skin_rng), 0.11, 0.045)
    worn = outfit(cloth_rng)
    solids = _limbs(body, at, worn, skin) + _trunk(body, at, worn, skin, cloth_rng)
    face = features(head_rng)
    bare = head(face, skin, _face_colours(skin_rng, skin))
    topped = hairdo(head_rng, fabric.streaked(head_rng, _hair_colour(head_rng)), fabric.woven(head_rng))
    if head_rng.random() < 0.06:
        topped += lenses(fabric.blotchy(head_rng, fabric.colour(head_rng, value=(0.02, 0.3)), 0.1, 0.02))
    first = len(solids)
    solids += carried(bare + topped, at["head"], body.head)
    places, normals = points(face, bare)
    rotation, origin = at["head"]
    places, normals = places * body.head @ rotation.T + origin, normals @ rotation.T
    where = dict(zip(NAMES["keypoints"][17:], places))
    on_head = {"nose": "tip_of_nose"}
    for side in SIDES:
        on_head |= {f"{side}_eye": f"{side[0]}_center_of_iris", f"{side}_ear": f"{side[0]}_protruding_point_of_tragus"}
    joints = np.stack([where[on_head[n]] if n in on_head else at[n][1] for n in NAMES["keypoints"][:17]])
    return Figure(solids, range(first, first + len(bare)), joints, places, normals, at, body, name)


def _hair_colour(rng: np.random.Generator) -> Array:
    dyed = rng.random() < 0.08
    return fabric.colour(rng, (0.4, 0.9)) if dyed else fabric.HAIR[rng.integers(len(fabric.HAIR))] * rng.uniform(0.7, 1.3)


def _face_colours(rng: np.random.Generator, skin: Texture) -> dict[str, Array]:
    tone = skin(np.zeros((1, 3), np.float32))[0]
    return {
        "iris": np.array([(0.2, 0.11, 0.06), (0.16, 0.28, 0.42), (0.2, 0.3, 0.16)][rng.integers(3)], np.float32),
        "brow": (tone * rng.uniform(0.12, 0.45)).astype(np.float32),
        "lips": (tone * (0.92, 0.6, 0.62) * rng.uniform(0.75, 1.0)).astype(np.float32),
        "beard": np.array(rng.uniform(0.3, 0.8) if rng.random() < 0.22 else 0.0),
        "shadow": np.array(rng.random() * 0.8),
    }


def _cut(length: float) -> Callable[[Array], Array]:
    """Open the lower end of a cone: what lies beyond `length` along it goes."""
    return lambda local: local[:, 1] > -length


def _limbs(body: Build, at: dict[str, Frame], worn: Outfit, skin: Texture) -> list[Solid]:
    """Arms and legs with hands and feet, and what covers them."""
    k, thick = body.scale, body.scale * body.girth
    solids = []
    for side, sign in SIDES.items():
        part = {name: plain(SEG[f"{side.title()}_{name}"], skin) for name in ("Upper_Arm", "Lower_Arm", "Hand", "Foot")}
        part |= {name: plain(SEG[f"{side.title()}_{name}"], skin) for name in ("Upper_Leg", "Lower_Leg")}
        for first, second, length, top, end, painted, cloth, cover in (
            ("shoulder", "elbow", 0.29, 0.050, 0.038, "Upper_Arm", "Upper_Clothing", worn.sleeves),
            ("elbow", "wrist", 0.25, 0.039, 0.026, "Lower_Arm", "Upper_Clothing", worn.sleeves - 1),
            ("hip", "knee", 0.425, 0.086, 0.055, "Upper_Leg", "Lower_Clothing", 0.3 if worn.skirt else worn.legs),
            ("knee", "ankle", 0.415, 0.055, 0.034, "Lower_Leg", "Lower_Clothing", 0.0 if worn.skirt else worn.legs - 1),
        ):
            rotation, origin = at[f"{side}_{first}"]
            solids.append(Solid(Cone(length * k, top * thick, end * thick), rotation, origin, part[painted]))
            if cover > 0:
                share = min(cover, 1.0)
                loose = worn.loose * (1.0 if cloth == "Upper_Clothing" else 1.3)
                shape = Cone(length * k, top * thick + loose, end * thick + loose * 1.1)
                keep = _cut(share * length * k) if second not in ("elbow", "knee") or share < 1 else None
                solids.append(
                    Solid(
                        shape, rotation, origin, plain(SEG[cloth], worn.sleeve if cloth == "Upper_Clothing" else worn.lower), keep
                    )
                )
        solids += _hand(at[f"{side}_wrist"], k, sign, part["Hand"])
        solids += _foot(at, side, k, worn, part["Foot"])
    return solids


def _hand(frame: Frame, k: float, sign: int, painted: Paint) -> list[Solid]:
    """Palm, fingers and thumb; the palm looks inward and the thumb forward when the arm hangs."""
    rotation, origin = frame

    def at(*local: float) -> Array:
        return rotation @ (np.array(local) * k) + origin

    solids = [Solid(Ellipsoid((0.019 * k, 0.055 * k, 0.042 * k)), rotation, at(0, -0.05, 0.004), painted)]
    for across, length in ((0.030, 0.078), (0.011, 0.09), (-0.009, 0.085), (-0.028, 0.066)):
        tip = at(-sign * 0.018, -0.088 - length, across * 1.15)
        solids.append(between(at(0, -0.085, across), tip, 0.0105 * k, 0.0085 * k, painted))
    solids.append(between(at(-sign * 0.006, -0.028, 0.03), at(-sign * 0.022, -0.09, 0.068), 0.0145 * k, 0.0095 * k, painted))
    return solids


def _foot(at: dict[str, Frame], side: str, k: float, worn: Outfit, bare: Paint) -> list[Solid]:
    """A bare or shod foot, and a sock up the shank."""
    rotation, origin = at[f"{side}_ankle"]
    heel, toe = (rotation @ (np.array(p) * k) + origin for p in ((0, -0.048, -0.032), (0, -0.062, 0.135)))
    if not worn.shoes and not worn.socks:
        return [between(heel, toe, 0.038 * k, 0.024 * k, bare)]
    title = side.title()
    cover = plain(SEG[f"{title}_Shoe"], worn.shoe) if worn.shoes else plain(SEG[f"{title}_Sock"], worn.sock)
    solids = [between(heel, toe, 0.043 * k, 0.031 * k, cover)]
    if worn.shoes:
        solids.append(between(origin + rotation @ (0, -0.01 * k, -0.004 * k), heel, 0.04 * k, 0.043 * k, cover))
    if worn.socks:
        turned, knee = at[f"{side}_knee"]
        top = knee + turned @ (0, -0.30 * k, 0)
        solids.append(between(top, origin, 0.0455 * k, 0.042 * k, plain(SEG[f"{title}_Sock"], worn.sock)))
    return solids


def _trunk(body: Build, at: dict[str, Frame], worn: Outfit, skin: Texture, rng: np.random.Generator) -> list[Solid]:
    """Pelvis, waist, chest, shoulders and neck, dressed; skirt and bag."""
    k, g = body.scale, body.scale * body.girth
    waist, hip = rng.uniform(0.118, 0.14) * g, body.hips + 0.066 * g
    chest = (body.shoulders - 0.022 * k) * 0.6 + 0.063 * g
    (_, pelvis), (_, belly), (upright, ribs) = at["pelvis"], at["belly"], at["chest"]
    ahead = {"front": upright[:, 2], "squash": 0.7}

    def dressed(bare: Callable[[Array], Array], hem: float = -np.inf) -> Paint:
        def painted(local: Array) -> tuple[Array, Array]:
            classes, albedo = np.full(len(local), SEG["Upper_Clothing"], np.uint8), worn.upper(local)
            show, low = bare(local), local[:, 1] < hem
            classes[show], albedo[show] = SEG["Torso"], skin(local[show])
            classes[low], albedo[low] = SEG["Lower_Clothing"], worn.lower(local[low])
            return classes, albedo

        return painted

    def throat(p: Array) -> Array:
        return (p[:, 2] > 0) & (p[:, 1] > 0.095 * k - worn.neckline * (1 - np.abs(p[:, 0]) / (0.06 * k)))

    def covered(p: Array) -> Array:
        return np.zeros(len(p), bool)

    hem = -0.04 * k - 0.35 * worn.hem
    solids = [
        between(ribs + upright @ (0, 0.148 * k, 0), belly, chest, waist, dressed(throat), **ahead),
        between(belly, pelvis + at["pelvis"][0] @ (0, -0.035 * k, 0), waist, hip, dressed(covered, hem), **ahead),
    ]
    neck, skull = at["neck"], at["head"]
    base, nape = neck[1] - neck[0] @ (0, 0.04 * k, 0), skull[1] - skull[0] @ (0, 0.05, 0.024)
    solids.append(between(nape, base, 0.048 * k, 0.058 * k, plain(SEG["Face_Neck"], skin)))
    for side in SIDES:
        tip = at[f"{side}_shoulder"][1] + upright @ (0, 0.004 * k, 0)
        inner = ribs + upright @ (0.035 * k * SIDES[side], 0.27 * k, -0.022 * k)
        solids.append(between(inner, tip, 0.05 * k, 0.05 * g + 0.004, dressed(covered)))
    if worn.skirt:
        solids.append(_skirt(body, at, worn, waist + 0.012))
    return solids + _bag(worn.bag, at, body, plain(SEG["Apparel"], fabric.woven(rng)))


def _skirt(body: Build, at: dict[str, Frame], worn: Outfit, waist: float) -> Solid:
    """A cone from the waist over both thighs, open below."""
    knees = [at[f"{side}_knee"][1] for side in SIDES]
    start = at["pelvis"][1] + at["pelvis"][0] @ (0, 0.02, 0)
    down = (knees[0] + knees[1]) / 2 - start
    length = float(np.clip(worn.legs, 0.5, 1.7) * np.linalg.norm(down))
    wide = max(0.12 * body.scale * body.girth + 0.5 * float(np.linalg.norm(knees[0] - knees[1])), waist + 0.04)
    end = start + down / np.linalg.norm(down) * length
    extra = {"keep": _cut(length), "front": at["pelvis"][0][:, 2], "squash": 0.85}
    return between(start, end, waist, wide, plain(SEG["Lower_Clothing"], worn.lower), **extra)


def _bag(kind: str, at: dict[str, Frame], body: Build, painted: Paint) -> list[Solid]:
    k, (upright, ribs) = body.scale, at["chest"]

    def on_chest(*local: float) -> Array:
        return ribs + upright @ (np.array(local) * k)

    if kind == "backpack":
        straps = [Ellipsoid((0.019 * k, 0.15 * k, 0.11 * k * body.girth))] * 2
        places = [on_chest(side * 0.09, 0.17, 0.012) for side in (1, -1)]
        pack = Solid(Ellipsoid((0.15 * k, 0.22 * k, 0.09 * k)), upright, on_chest(0, 0.08, -0.17), painted)
        return [pack, *(Solid(strap, upright, place, painted) for strap, place in zip(straps, places))]
    if kind == "shoulder":
        turned, pelvis = at["pelvis"]
        place = pelvis + turned @ (0.24 * k, -0.06 * k, 0)
        bag = Solid(Ellipsoid((0.045 * k, 0.12 * k, 0.14 * k)), turned, place, painted)
        return [bag, between(on_chest(0.1, 0.3, 0), place, 0.009 * k, 0.009 * k, painted)]
    return []


def stool(who: Figure, painted: Paint) -> Solid:
    """Something to sit on, below the pelvis."""
    seat = who.frames["pelvis"][1]
    height = max(seat[1] - 0.17 * who.build.scale, 0.1)
    return Solid(Ellipsoid((0.21, height / 2, 0.21)), np.eye(3), np.array([seat[0], height / 2, seat[2]]), painted)
