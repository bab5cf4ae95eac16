"""Clothes: the shell around the posed body, lifted layer by layer, cut along the fields of cuts.py and closed at the hems.

`dress` gives a whole person but hair and accessories: skin, eyes and mouth, shirt, trousers or skirt, jacket, socks, shoes.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from shared.data.synthetic.cuts import (
    Places,
    bottom_field,
    jacket_field,
    places,
    shoe_field,
    skirt_field,
    sock_field,
    strap_field,
    top_field,
)
from shared.data.synthetic.drape import (
    Shell,
    cuff,
    fold,
    hanging_leg,
    hanging_sleeve,
    hip_bend,
    presence,
    ramp,
    shell,
    stacked,
    waves,
    wrinkles,
)
from shared.data.synthetic.hems import clip, lip
from shared.data.synthetic.looks import WAIST, Look
from shared.data.synthetic.mesh import PART, Material, Piece, piece, vertex_normals
from shared.data.synthetic.rig import Posed, Rig
from shared.data.synthetic.skin import skin

Array = np.ndarray
UNDER = 0.012  # metres that the lip of a hem goes on below the shell: as far as the skin is from it
SOLE = 0.035  # height, in the mean adult, below which what faces the ground is sole


class Layer(NamedTuple):
    """One garment on the shell; T vertices."""

    field: Array  # (T,) positive where there is cloth
    distance: Array  # (T,) metres along the shell's rays
    cloth: Material
    part: str  # a name of PARTS, or one without its Left_ or Right_


def dress(rig: Rig, rest: Array, posed: Posed, look: Look, rng: np.random.Generator, *, levels: int | None = None) -> list[Piece]:
    """Skin and clothes of a posed person; hair.py and accessories.py add the rest.

    Args:
        rig: the rig.
        rest: (V,3) the same body in rest pose, metres.
        posed: the body in the world.
        look: what is worn.
        rng: for wrinkles.
        levels: how often the cloth is subdivided; 1 is enough for small pictures.
    """
    on = shell(rig, rest, posed, levels)
    pieces = skin(rig, posed, look)
    for layer in layers(places(rig, "tights", levels), on, look, rng):
        pieces.extend(_sewn(on, layer, look))
    if look.bottom.skirt > 0:
        pieces.append(_skirt(rig, posed, look, rng, levels))
    return pieces


def layers(at: Places, on: Shell, look: Look, rng: np.random.Generator) -> Iterator[Layer]:
    """What is worn on the shell, from the innermost to the outermost; `at` are the places of its vertices."""
    makers = {"sock": _sock, "shoe": _shoe, "bottom": _bottom, "top": _top, "jacket": _jacket, "strap": _strap}
    generators: dict[str, np.random.Generator] = dict(zip(makers, rng.spawn(len(makers))))
    order = ["sock", "shoe", "top", "bottom"] if look.top.tucked else ["sock", "shoe", "bottom", "top"]
    if look.feet.shoe < 1.9 and look.bottom.straight < 0.6:  # boots over the trousers
        order.remove("shoe")
        order.append("shoe")
    if look.jacket is not None:
        order.append("jacket")
    if look.extras.bag:
        order.append("strap")
    laid: list[tuple[Array, Array]] = []
    for name in order:
        layer = makers[name](at, on, look, generators[name])
        if layer.field.max() <= 0:
            continue
        layer = layer._replace(distance=stacked(layer.distance, laid))
        laid.append((layer.distance, presence(on.part.faces, layer.field)))
        yield layer


def _bottom(at: Places, on: Shell, look: Look, rng: np.random.Generator) -> Layer:
    bottom = look.bottom
    below = at.hip + WAIST - on.rest[:, 2]
    loose = ramp(below, 0.02, 0.2)  # the waistband is tight
    folds = wrinkles(on, rng) * fold(look.wrinkles, 0.004 + 0.35 * bottom.ease + 0.006 * bottom.straight)
    away = 0.003 + loose * (bottom.ease * (0.4 + 0.3 * np.clip(on.leg, 0, 2)) + hanging_leg(on, bottom.straight) + folds)
    if bottom.skirt > 0:
        away = np.full_like(away, 0.003)
    part = "Upper_Clothing" if bottom.dress else "Lower_Clothing"
    return Layer(bottom_field(at, bottom), away, bottom.cloth, part)


def _top(at: Places, on: Shell, look: Look, rng: np.random.Generator) -> Layer:
    top, height = look.top, on.rest[:, 2]
    free = 1 - 0.85 * ramp(height, at.neck - 0.10, at.neck - 0.01)  # lies on the shoulders
    if top.tucked:
        free = free * np.maximum(ramp(height, at.hip + WAIST - 0.01, at.hip + WAIST + 0.10), on.arm > 0)
    free = free * cuff(on, top.sleeve)
    share = min(top.ease / 0.03, 1.0)
    folds = wrinkles(on, rng) * fold(look.wrinkles, 0.003 + 0.4 * top.ease)
    away = 0.004 + free * (top.ease * 0.6 + share * on.hang + hanging_sleeve(on, top.ease) + folds)
    return Layer(top_field(at, top), away, top.cloth, "Upper_Clothing")


def _jacket(at: Places, on: Shell, look: Look, rng: np.random.Generator) -> Layer:
    jacket = look.jacket
    if jacket is None:
        raise ValueError("this look has no jacket; ask only where look.jacket is not None")
    free = 1 - 0.6 * ramp(on.rest[:, 2], at.neck - 0.10, at.neck)
    free = free * np.maximum(cuff(on, jacket.sleeve), 0.45)
    folds = wrinkles(on, rng) * fold(look.wrinkles, 0.005 + 0.3 * jacket.ease)
    away = 0.006 + free * (0.7 * jacket.ease + 0.8 * on.hang + hanging_sleeve(on, jacket.ease + 0.012) + folds)
    return Layer(jacket_field(at, jacket), away, jacket.cloth, "Upper_Clothing")


def _strap(at: Places, on: Shell, look: Look, rng: np.random.Generator) -> Layer:
    away = 0.006 + 0.0005 * waves(on.rest, rng, 0.05)
    return Layer(strap_field(at, look.extras.bag), away, look.extras.leather, "Apparel")


def _sock(at: Places, on: Shell, look: Look, rng: np.random.Generator) -> Layer:
    away = 0.0025 + 0.001 * np.clip(wrinkles(on, rng), 0, 1)
    return Layer(sock_field(at, look.feet), away, look.feet.sock_cloth, "Sock")


def _shoe(at: Places, on: Shell, look: Look, rng: np.random.Generator) -> Layer:
    """The upper; soles are added when it is sewn."""
    field = shoe_field(at, look.feet)
    toes = ramp(on.leg, 2.0, 2.2)
    welt = 0.004 * ramp(-on.rest[:, 2], -SOLE - 0.012, -SOLE)
    away = 0.005 + 0.003 * toes + welt + 0.0006 * waves(on.rest, rng, 0.04)
    return Layer(field, away, look.feet.shoe_cloth, "Shoe")


def _sewn(on: Shell, layer: Layer, look: Look) -> list[Piece]:
    """The pieces of a layer: cut, lifted, hemmed; shoes as upper and sole."""
    if layer.part != "Shoe":
        return [_hemmed(on, layer.field, layer, on.points + on.ways * layer.distance[:, None], layer.distance)]
    lifted, sole = _soled(on, layer, look.feet.sole)
    upper = _hemmed(on, np.minimum(layer.field, -sole), layer, lifted, layer.distance)
    below = _hemmed(on, np.minimum(layer.field, sole), layer, lifted, layer.distance, closed=False)
    return [upper, below._replace(material=look.feet.sole_colour)]


def _soled(on: Shell, layer: Layer, thickness: float) -> tuple[Array, Array]:
    """Where the shell of a shoe goes: points (T,3), flat below, and a field (T,) positive on the sole."""
    points = on.points + on.ways * layer.distance[:, None]
    field = np.full(len(points), -1.0)
    for sign in (1, -1):
        foot = np.flatnonzero((layer.field > -0.03) & (on.rest[:, 0] * sign > 0))
        rest = on.rest[foot]
        low = rest[:, 2].min()
        share = on.underside[foot] * ramp(-rest[:, 2], -SOLE - 0.03, -SOLE)
        points[foot] += _down(on, foot, rest) * (share * (rest[:, 2] - low + thickness - 0.006))[:, None]
        field[foot] = 0.03 * (share - 0.5)
    return points, field


def _down(on: Shell, foot: Array, rest: Array) -> Array:
    """The direction (3,) in the world that was down for this foot in the rest pose: the best rotation between the two."""
    a, b = rest - rest.mean(0), on.points[foot] - on.points[foot].mean(0)
    left, _, right = np.linalg.svd(a.T @ b)
    turn = left @ np.diag([1, 1, np.sign(np.linalg.det(left @ right))]) @ right  # rows: a @ turn = b
    return np.array([0.0, 0.0, -1.0]) @ turn


def _hemmed(on: Shell, field: Array, layer: Layer, lifted: Array, distance: Array, *, closed: bool = True) -> Piece:
    """The part of the lifted shell (T,3) where the field is positive; with `closed`, its borders turn inward to the skin."""
    cut = clip(on.part.faces, field)
    points, rest = cut.matrix @ lifted, cut.matrix @ on.rest
    normals = vertex_normals(points, cut.faces)
    depth = cut.matrix @ (distance + UNDER) if closed else 0.004
    band = lip(points, cut.matrix @ on.ways, cut.faces, depth)
    faces = np.concatenate([cut.faces, band.faces + len(points)])
    worn = np.concatenate([rest, rest[band.source]])
    return piece(
        np.concatenate([points, band.points]),
        faces,
        layer.cloth,
        _part(layer.part, worn, faces),
        normals=np.concatenate([normals, band.normals]),
        rest=worn,
    )


def _part(name: str, rest: Array, faces: Array) -> int | Array:
    """The class of faces: that name, or Left_ or Right_ of it by the side of the body."""
    if name in PART:
        return PART[name]
    return np.where(rest[faces, 0].mean(1) > 0, PART[f"Left_{name}"], PART[f"Right_{name}"])


def _skirt(rig: Rig, posed: Posed, look: Look, rng: np.random.Generator, levels: int | None) -> Piece:
    bottom, part = look.bottom, rig.part("skirt", levels)
    at = places(rig, "skirt", levels)
    points, rest = part.matrix @ posed.points, at.xyz.T
    ways = vertex_normals(points, part.faces)
    below = np.clip(at.hip + WAIST - rest[:, 2], 0, 1)
    falls = np.clip(below / 0.5, 0, 1.4)
    angle = np.arctan2(rest[:, 1], rest[:, 0])
    pleats = np.sin(angle * bottom.pleats) if bottom.pleats else waves(rest * [1, 1, 0.15], rng, 0.12)
    flare = bottom.flare * (1 - 0.8 * ramp(hip_bend(rig, posed), 0.4, 1.2))  # seated cloth lies on the legs
    away = 0.011 + falls * (0.006 + flare * (1 + 0.25 * pleats) + 0.006 * (1 + pleats))
    away += 0.003 * look.wrinkles * ramp(below, 0.0, 0.1) * waves(rest, rng, [0.06, 0.06, 0.12])
    lifted = points + ways * away[:, None]
    cut = clip(part.faces, skirt_field(at, bottom))
    moved, worn = cut.matrix @ lifted, cut.matrix @ rest
    band = lip(moved, cut.matrix @ ways, cut.faces, np.where(cut.matrix @ below < 0.05, 0.03, 0.004))
    return piece(
        np.concatenate([moved, band.points]),
        np.concatenate([cut.faces, band.faces + len(moved)]),
        bottom.cloth,
        "Upper_Clothing" if bottom.dress else "Lower_Clothing",
        normals=np.concatenate([vertex_normals(moved, cut.faces), band.normals]),
        rest=np.concatenate([worn, worn[band.source]]),
    )
