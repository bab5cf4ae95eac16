"""A whole person: body, pose, face, clothes, hair, things worn and things sat upon, with named points."""

from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from shared.data.synthetic import faces, furniture, keypoints
from shared.data.synthetic.accessories import accessories
from shared.data.synthetic.garments import dress
from shared.data.synthetic.hair import hair
from shared.data.synthetic.looks import look
from shared.data.synthetic.mesh import Array, Piece
from shared.data.synthetic.poses import pose
from shared.data.synthetic.rig import Posed, Rig
from shared.data.synthetic.store import Store

FINENESS = MappingProxyType(  # of cloth, of hair
    {"full": (1, 0.8), "group": (1, 0.6), "upper": (None, 1.2), "face": (None, 2.0), "hand": (None, 1.2)}
)
COARSE = MappingProxyType(  # for small pictures
    {"full": (0, 0.4), "group": (0, 0.3), "upper": (1, 0.6), "face": (1, 1.0), "hand": (1, 0.6)}
)


class Figure(NamedTuple):
    """A person who stands at the origin, facing -y."""

    pieces: list[Piece]
    things: list[Piece]  # what the person sits on
    keypoints: Array  # (K,3) metres, NaN where undefined
    tolerance: Array  # (K,) metres a point may lie behind what is seen there and still count as visible
    frames: dict[str, Array]  # what each shot but group should have in the frame: (N,3) metres each
    ahead: dict[str, Array]  # unit (3,), where the person looks (face), holds a hand (hand) or turns to (the others)
    facts: dict[str, object]  # what was drawn
    head: Array  # (3,4) head -> world: rotation and origin, metres; see faces.py


def figure(rng: np.random.Generator, shot: str = "full", *, coarse: bool = False) -> Figure:
    """An adult, clothed, at the origin; the shot and whether `coarse` will do say how fine cloth and hair are cut."""
    who_rng, pose_rng, look_rng, cloth_rng, hair_rng, worn_rng, seat_rng = rng.spawn(7)
    rig = Rig.load()
    identity = rig.adult(who_rng)
    held = pose(pose_rng, identity=identity)
    rest, heads = rig.rest(identity, held.expression)
    posed = rig.pose(rest, heads, held.rotations, held.root)
    worn = look(look_rng, feminine=1 - identity.gender, old=float(np.clip((identity.age - 2 / 3) * 3, 0, 1)))
    levels, detail = (COARSE if coarse else FINENESS)[shot]
    pieces = dress(rig, rest, posed, worn, cloth_rng, levels=levels)
    pieces += hair(rig, rest, posed, worn, hair_rng, detail=detail)
    pieces += accessories(rig, rest, posed, worn, worn_rng)
    hips = (rig.joint("l-upper-leg", posed.points) + rig.joint("r-upper-leg", posed.points)) / 2
    ground = min(float(one.points[:, 2].min()) for one in pieces)
    shift = np.array([-hips[0], -hips[1], -ground], np.float32)
    pieces = [one._replace(points=one.points + shift) for one in pieces]
    points = posed.points + shift
    hand = _hand(rig, posed)
    things = _seat(hips + shift, pieces, seat_rng) if held.support == "seat" else []
    facts = {
        "pose": held.name,
        "gender": identity.gender,
        "age": identity.age,
        "shape": identity.coefficients,
        "expression": dict(held.expression),
    }
    return Figure(
        pieces,
        things,
        keypoints.place(rig, points),
        keypoints.TOLERANCE,
        _frames(rig, points, pieces, hand),
        _ahead(rig, posed, held.support, hand),
        facts,
        faces.head(rig, posed) + np.c_[np.zeros((3, 3)), shift],
    )


def _seat(hips: Array, pieces: list[Piece], rng: np.random.Generator) -> list[Piece]:
    """A block, a stool or a chair under the hips (3,) of somebody who sits."""
    near = np.concatenate([one.points for one in pieces])
    near = near[np.linalg.norm(near[:, :2] - hips[:2] - (0, 0.03), axis=1) < 0.17]
    top = float(near[near[:, 2] > hips[2] - 0.3][:, 2].min()) + 0.012
    store = Store(rng)
    wide, deep = rng.uniform(0.2, 0.32), 0.2
    kind = rng.integers(3)
    thick = top if kind == 0 else min(rng.uniform(0.03, 0.12), top)
    thing = furniture.box((-wide, -deep, top - thick), (wide, deep, top), store.pick("cloth" if kind == 2 else "any"))
    if kind:
        wood = store.pick("wood")
        thing += [
            furniture.tube((x * (wide - 0.04), y * (deep - 0.04), 0), 0.02, top - thick, wood) for x in (-1, 1) for y in (-1, 1)
        ]
    if kind == 2:
        back = near[:, 1].max() - hips[1] + 0.1
        thing += furniture.box((-wide, back, top), (wide, back + 0.05, top + rng.uniform(0.3, 0.5)), store.pick("cloth"))
    placed = furniture.moved(thing, 0.0, (hips[0], hips[1] + 0.05, 0))
    return furniture.pieces([placed], store.textures, gloss=np.array(store.gloss), glow=np.array(store.glow))


def _hand(rig: Rig, posed: Posed) -> str:
    """L or R: the hand that is farther before the chest, which a look at hands shows."""
    ahead = posed.bones[rig.bone("spine01")][:, :3] @ (0, -1, 0)
    return max("LR", key=lambda side: float(rig.joint(f"{side.lower()}-hand", posed.points) @ ahead))


def _frames(rig: Rig, points: Array, pieces: list[Piece], hand: str) -> dict[str, Array]:
    """What each shot should show of points (V,3) and of all that is worn."""
    body = np.unique(rig.quads["body"])
    head = points[body[rig.share("head")[body] > 0.6]]
    hips = np.stack([rig.joint("l-upper-leg", points), rig.joint("r-upper-leg", points)])
    shoulders = np.stack([rig.joint("l-shoulder", points), rig.joint("r-shoulder", points)])
    side = "Left_Hand" if hand == "L" else "Right_Hand"
    return {
        "full": np.concatenate([one.points[::7] for one in pieces]),
        "upper": np.concatenate([head, hips, shoulders]),
        "face": head,
        "hand": points[body[rig.region[body] == side]],
    }


def _ahead(rig: Rig, posed: Posed, support: str, hand: str) -> dict[str, Array]:
    """Where each shot takes the front of the person to be."""
    head, chest = (posed.bones[rig.bone(name)][:, :3] @ (0, -1, 0) for name in ("head", "spine01"))
    if support != "back":  # who leans is seen from the front all the same
        chest = np.array([chest[0], chest[1], 0]) / max(float(np.hypot(chest[0], chest[1])), 1e-6)
    joints = [rig.joint(name, posed.points) for name in (f"{hand.lower()}-hand", "l-shoulder", "r-shoulder")]
    reach = joints[0] - (joints[1] + joints[2]) / 2
    toward = chest + reach / max(float(np.linalg.norm(reach)), 1e-6)  # from the side on which the hand is before the body
    toward /= max(float(np.linalg.norm(toward)), 1e-6)
    return {"full": chest, "upper": chest, "group": chest, "face": head, "hand": toward}
