"""Hair: a closed cap on the scalp that no skin shows through, and ribbons on it that give it strands, volume and an outline."""

import functools
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from shared.data.synthetic.cuts import hat_field
from shared.data.synthetic.drape import ramp, waves
from shared.data.synthetic.facial import facial
from shared.data.synthetic.hems import Cut, clip, lip
from shared.data.synthetic.looks import Look
from shared.data.synthetic.mesh import Material, Piece, piece, vertex_normals
from shared.data.synthetic.regions import eyes
from shared.data.synthetic.rig import Posed, Rig
from shared.data.synthetic.strands import bodies, comb, grow, ribbons

Array = np.ndarray


class Style(NamedTuple):
    """How a style is made. Lengths in metres."""

    cap: float  # thickness of the cap
    count: int  # ribbons at detail 1
    length: float
    width: float
    steps: int
    lift: float  # how much strands set out away from the scalp; metres at the tip where they are combed
    gravity: float  # in each step; 0: combed along the head
    curl: float
    bump: float = 0.08  # how uneven the cap is, of its thickness


STYLES = {
    "buzz": Style(0.003, 0, 0, 0, 1, 0, 0, 0),
    "short": Style(0.010, 900, 0.045, 0.0034, 5, 0.016, 0, 0.15, 0.15),
    "bob": Style(0.016, 620, 0.20, 0.0065, 8, 0.1, 1.1, 0.05),
    "long": Style(0.014, 600, 0.40, 0.0095, 8, 0.1, 1.3, 0.05),
    "curly": Style(0.030, 680, 0.085, 0.0036, 8, 1.0, 0.02, 1.3, 0.35),
    "bun": Style(0.009, 500, 0.10, 0.0045, 5, 0.003, 0, 0.03),
    "ponytail": Style(0.009, 500, 0.10, 0.0045, 5, 0.003, 0, 0.03),
}
TIED = ("bun", "ponytail")


@functools.cache
def _cap(rig: Rig) -> tuple[Cut, Array, Array, Array]:
    """The scalp cut out of the body: the cut, metres (N,) inside the hairline, rest positions (N,3) in the mean adult,
    and which faces (M,) show below a hat."""
    part = rig.part("body")
    field = np.minimum(part.matrix @ rig.scalp, 0.01 * (0.3 - part.matrix @ rig.ears))
    cut = clip(part.faces[(field[part.faces] > 0).any(1)], field)
    onto = Cut(csr_matrix(cut.matrix @ part.matrix), cut.faces)
    below = (onto.matrix @ hat_field(rig))[cut.faces].max(1) < 0.004
    return onto, onto.matrix @ rig.scalp, onto.matrix @ rig.mean, below


def hair(rig: Rig, rest: Array, posed: Posed, look: Look, rng: np.random.Generator, *, detail: float = 1.0) -> list[Piece]:
    """Hair of the head and of the face.

    Args:
        rig: the rig.
        rest: (V,3) the body in rest pose, metres.
        posed: the body in the world.
        look: its style and colours.
        rng: for the strands.
        detail: scales how many strands there are; they become finer as they become more. 1 is about 15,000 triangles.
    """
    faces, heads = rng.spawn(2)
    pieces = facial(rig, posed, look, faces, detail=detail)
    if look.hair.style != "bald":
        pieces.extend(_head(rig, rest, posed, look, heads, detail))
    return pieces


def _head(rig: Rig, rest: Array, posed: Posed, look: Look, rng: np.random.Generator, detail: float) -> list[Piece]:
    style, worn, head = STYLES[look.hair.style], look.hair, posed.bones[rig.bone("head")]
    squeezed = 0.35 if look.extras.hat else 1.0  # below a hat
    cut, inside, where, below = _cap(rig)
    points = cut.matrix @ posed.points
    normals = vertex_normals(points, cut.faces)
    thick = style.cap * (1 if worn.style == "buzz" else worn.volume) * squeezed
    rough = 1 + style.bump * waves(where, rng, 0.022) + 0.5 * style.bump * waves(where, rng, 0.009)
    lifted = points + normals * (thick * ramp(inside, -0.004, 0.022) * rough)[:, None]
    pieces = [_closed(cut, lifted, normals, where, worn.colour, rng)]
    if style.count == 0:
        return pieces
    count = int(style.count * detail)
    corners = points[cut.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if look.extras.hat:
        count, area = int(count * below.mean()) + 1, area * below
    face = np.searchsorted(np.cumsum(area), rng.random(count) * area.sum())
    mix = rng.dirichlet([1, 1, 1], count)
    at = lambda values: np.einsum("nk,nkd->nd", mix, values[cut.faces[face]])  # noqa: E731
    roots, outward, local = at(lifted) - 0.3 * thick * at(normals), at(normals), at(where) - eyes(rig)
    crown = np.array([worn.parting, 0.125, 0.105])  # from the eyes
    way = _set_out(worn.style, local, crown, worn.parting, rng) @ head[:, :3].T
    way -= outward * (way * outward).sum(1, keepdims=True)
    way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)
    lengths = style.length * worn.length * rng.uniform(0.65, 1.1, count)
    if style.gravity == 0:
        lift = style.lift * worn.volume * squeezed * rng.uniform(0.1, 1, (count, 1))
        heights = 0.001 + lift * np.linspace(0, 1, style.steps + 1)[1:] ** 1.3
        lines = comb(roots, way, lengths, heights, lifted, normals)
    else:
        way = way + outward * style.lift * squeezed
        falls = worn.style in ("bob", "long")
        curls = style.curl * _curls(worn.style, style.steps, count, rng) @ head[:, :3].T
        lines = grow(
            roots,
            way / np.linalg.norm(way, axis=1, keepdims=True),
            lengths,
            style.steps,
            solids=bodies(rig, rest, posed, 0.5 * thick if falls else 0),
            gravity=style.gravity,
            curls=curls,
            aside=(head, eyes(rig) + (rest - rig.mean)[_eye(rig)]) if falls else None,
        )
    middle = head[:, :3] @ (where.mean(0) - np.array([0, 0, 0.04])) + head[:, 3]
    bright = rng.uniform(0.7, 1.3, count)
    width = style.width / np.sqrt(detail) * rng.uniform(0.7, 1.3, count)
    pieces.append(ribbons(lines, lines - middle, width, "Hair", worn.colour, bright))
    if worn.style in TIED and not look.extras.hat:
        pieces.extend(_tied(rig, rest, posed, look, rng, detail))
    return pieces


def _curls(style: str, steps: int, count: int, rng: np.random.Generator) -> Array:
    """What turns strands in each step (steps,count,3), in the frame of the head: coils when curly, otherwise a little disorder."""
    if style != "curly":
        return rng.normal(size=(steps, count, 3))
    across = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
    turn = rng.uniform(0, 2 * np.pi, count) + rng.uniform(1.2, 1.7, count) * np.arange(steps)[:, None]
    return np.cos(turn)[..., None] * across[:, 0] + np.sin(turn)[..., None] * across[:, 1]


def _eye(rig: Rig) -> int:
    """A vertex between the eyes, which shows how far an identity's face is from the mean one's."""
    return int(rig.anchors["glabella"][0][0, 0])


def _closed(cut: Cut, lifted: Array, normals: Array, where: Array, paint: Material, rng: np.random.Generator) -> Piece:
    """The cap with its border turned inward, streaked from front to back."""
    band = lip(lifted, normals, cut.faces, 0.006)
    streak = 0.85 + 0.14 * waves(where, rng, [0.006, 0.03, 0.03])
    extra = np.stack([streak, np.full(len(where), 0.35)], 1)
    return piece(
        np.concatenate([lifted, band.points]),
        np.concatenate([cut.faces, band.faces + len(lifted)]),
        paint,
        "Hair",
        normals=np.concatenate([vertex_normals(lifted, cut.faces), band.normals]),
        rest=np.concatenate([where, where[band.source]]),
        extra=np.concatenate([extra, extra[band.source]]),
    )


def _set_out(style: str, local: Array, crown: Array, parting: float, rng: np.random.Generator) -> Array:
    """Which way (N,3), in the frame of the head, strands with roots `local` (N,3, metres from the eyes) set out."""
    count = len(local)
    side = np.sign(local[:, 0] - parting) * 0.9
    if style == "curly":
        way = rng.normal(0, 0.5, (count, 3))
    elif style in ("bob", "long"):
        way = np.stack([side, np.full(count, 0.4), np.full(count, -0.5)], 1)
    elif style in TIED:
        way = (np.array([0, 0.19, 0.06]) - local) * 8
    else:
        way = (local - crown) * np.array([1, rng.choice([-0.3, 1, 1]), 1]) * 8 + np.array([0, 0, -0.2])
    return way + 0.25 * np.stack([waves(local, rng, 0.05) for _ in range(3)], 1)


def _tied(rig: Rig, rest: Array, posed: Posed, look: Look, rng: np.random.Generator, detail: float) -> list[Piece]:
    """A bun or a ponytail at the back of the head."""
    worn, head = look.hair, posed.bones[rig.bone("head")]
    _, _, where, _ = _cap(rig)
    back = where[where[:, 1].argmax()]
    knot = np.array([0, back[1] - 0.005, back[2] + rng.uniform(-0.01, 0.06)])
    knot = head[:, :3] @ (knot + (rest - rig.mean)[_eye(rig)]) + head[:, 3]
    if worn.style == "bun":
        polar, around = np.mgrid[0 : np.pi : 13j, 0 : 2 * np.pi : 25j]
        ball = np.stack([np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)], 2).reshape(-1, 3)
        twist = 1 + 0.05 * np.sin(9 * around.ravel() + 7 * polar.ravel())
        radius = 0.036 * worn.volume**0.5
        points = knot + (ball * [1, 0.8, 1] * (radius * twist)[:, None] + [0, 0.6 * radius, 0]) @ head[:, :3].T
        a = (np.arange(12)[:, None] * 25 + np.arange(24)).ravel()
        faces = np.concatenate([np.stack([a, a + 1, a + 26], 1), np.stack([a, a + 26, a + 25], 1)])
        shade = np.stack([0.9 + 0.2 * np.sin(9 * around.ravel() + 7 * polar.ravel()), np.full(len(points), 0.4)], 1)
        return [piece(points, faces, worn.colour, "Hair", extra=shade)]
    count = int(260 * detail)
    roots = knot + 0.012 * rng.normal(size=(count, 3)) @ head[:, :3].T
    way = head[:, 1] * 1.0 + 0.2 * head[:, 2] + 0.22 * rng.normal(size=(count, 3)) @ head[:, :3].T
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    lengths = 0.30 * worn.length * rng.uniform(0.75, 1.1, count)
    curls = 0.07 * rng.normal(size=(7, count, 3)) @ head[:, :3].T
    lines = grow(roots, way, lengths, 7, solids=bodies(rig, rest, posed, 0.012), gravity=1.0, curls=curls)
    outward = lines - lines.mean(0) + 0.03 * head[:, 1]
    width = 0.0075 / np.sqrt(detail)
    return [ribbons(lines, outward, width, "Hair", worn.colour, rng.uniform(0.7, 1.25, count))]
