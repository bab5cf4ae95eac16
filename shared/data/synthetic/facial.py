"""Hair of the face: brows, lashes and beards. Its class is Face_Neck, as in Sapiens' labels of faces."""

import functools

import numpy as np

from shared.data.synthetic.drape import ramp, waves
from shared.data.synthetic.hems import clip, lip
from shared.data.synthetic.looks import Hair, Look
from shared.data.synthetic.mesh import Piece, piece, vertex_normals
from shared.data.synthetic.regions import eyes
from shared.data.synthetic.rig import Posed, Rig
from shared.data.synthetic.strands import ribbons

Array = np.ndarray
GROWTH = {"none": 0.0, "stubble": 0.0035, "moustache": 0.005, "short": 0.006, "full": 0.006}  # as the skin's growth, metres
THICK = {"moustache": 0.0035, "short": 0.0035, "full": 0.011}  # metres


@functools.cache
def beard_field(rig: Rig, style: str) -> Array:
    """(V,) metres inside the border of a beard; a moustache lies above the mouth only."""
    x, y, z = (rig.mean - eyes(rig)).T
    nose = (rig.curve("nose_bottom")[0] - eyes(rig))[2]
    corner = (rig.curve("lip_upper_outer")[0] - eyes(rig))[2]
    upper = np.interp(np.abs(x), [0.0, 0.02, 0.035, 0.055, 0.068], [nose, nose - 0.004, nose - 0.02, nose - 0.012, 0.01])
    lower = np.interp(y, [0.0, 0.05, 0.09], [-0.135, -0.115, -0.06])
    field = np.minimum(np.minimum(upper - z, z - lower), 0.082 - y)
    if style == "moustache":
        field = np.minimum(np.minimum(field, z - corner + 0.006), 0.03 - np.abs(x))
    bare = (rig.lips > 0.3) | (rig.mouth > 0.3) | (rig.ears > 0.2) | (rig.shares[:, 0] < 0.5)
    return np.where(bare, -0.004, field)


def growth(rig: Rig, hair: Hair) -> Array:
    """(V,) how much the skin is coloured by a beard, in the unit of Rig.scalp."""
    return ramp(beard_field(rig, hair.beard), -0.004, 0.006) * GROWTH[hair.beard]


def facial(rig: Rig, posed: Posed, look: Look, rng: np.random.Generator, *, detail: float = 1.0) -> list[Piece]:
    """Brows, lashes and a beard on a posed face; `detail` scales how many hairs there are."""
    brows, lashes, beards = rng.spawn(3)
    pieces = [*_brows(rig, posed, look.hair, brows, detail), *_lashes(rig, posed, look.hair, lashes, detail)]
    return pieces + (_beard(rig, posed, look.hair, beards, detail) if look.hair.beard in THICK else [])


def _along(curve: Array, place: Array) -> Array:
    """Points (N,3) of a polyline (n,3) at places (N,) in 0..1."""
    knots = np.linspace(0, 1, len(curve))
    return np.stack([np.interp(place, knots, axis) for axis in curve.T], 1)


def _brows(rig: Rig, posed: Posed, hair: Hair, rng: np.random.Generator, detail: float) -> list[Piece]:
    head, count = posed.bones[rig.bone("head")][:, :3], int(150 * detail)
    thick = 0.7 + 0.5 * rng.random()
    pieces = []
    for side, sign in (("left", 1), ("right", -1)):
        low, high = (rig.curve(f"brow_{edge}_{side}", posed.points) for edge in ("lower", "upper"))
        place, up = rng.random(count), rng.random((count, 1))
        root = _along(low, place) * (1 - up) + _along(high, place) * up
        way = np.stack([sign * (0.4 + 0.8 * place), np.full(count, -0.22), 0.9 - 1.1 * place], 1) @ head.T
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        lines = root[:, None] + way[:, None] * np.linspace(0, 0.0068, 3)[:, None] - head[:, 1] * 0.0006
        outward = np.broadcast_to(head @ [0, -1, 0.2], lines.shape)
        width = 0.0013 * thick / np.sqrt(detail)
        pieces.append(ribbons(lines, outward, width, "Face_Neck", hair.facial, rng.uniform(0.6, 1.0, count)))
    return pieces


def _lashes(rig: Rig, posed: Posed, hair: Hair, rng: np.random.Generator, detail: float) -> list[Piece]:
    head, count = posed.bones[rig.bone("head")][:, :3], int(36 * detail)
    pieces = []
    for side in ("left", "right"):
        edge = rig.curve(f"lash_upper_{side}", posed.points)
        place = rng.random(count)
        root = _along(edge, place)
        across = ((root - edge.mean(0)) @ head[:, 0])[:, None] * 30 * head[:, 0]
        way = across - 0.9 * head[:, 1] + 0.3 * head[:, 2]
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        t = np.linspace(0, 1, 4)[:, None]
        lines = root[:, None] + way[:, None] * 0.0065 * t + head[:, 2] * 0.003 * t**2
        outward = np.broadcast_to(head @ [0, -0.4, 1], lines.shape)
        dark = np.full(count, 0.35)
        pieces.append(ribbons(lines, outward, 0.0005 / np.sqrt(detail), "Face_Neck", hair.facial, dark))
    return pieces


def _beard(rig: Rig, posed: Posed, hair: Hair, rng: np.random.Generator, detail: float) -> list[Piece]:
    """A shell that thins out to its border, and hairs on it."""
    part = rig.part("body")
    field = np.asarray(part.matrix @ beard_field(rig, hair.beard))
    cut = clip(part.faces[(field[part.faces] > 0).any(1)], field)
    inside, rest = cut.matrix @ field, cut.matrix @ (part.matrix @ rig.mean)
    points = cut.matrix @ (part.matrix @ posed.points)
    normals = vertex_normals(points, cut.faces)
    chin = ramp(-rest[:, 2], -rig.curve("groove")[0, 2], -rig.curve("chin")[0, 2])
    long = THICK[hair.beard] * hair.length * (1 + 1.4 * chin * (hair.beard == "full"))
    lifted = points + normals * (long * ramp(inside, 0, 0.014) * (0.8 + 0.2 * waves(rest, rng, 0.008)))[:, None]
    bright = np.stack([0.75 + 0.12 * waves(rest, rng, [0.004, 0.004, 0.02]), np.full(len(rest), 0.4)], 1)
    band = lip(lifted, normals, cut.faces, 0.002)
    shell = piece(
        np.concatenate([lifted, band.points]),
        np.concatenate([cut.faces, band.faces + len(lifted)]),
        hair.facial,
        "Face_Neck",
        rest=np.concatenate([rest, rest[band.source]]),
        extra=np.concatenate([bright, bright[band.source]]),
    )
    count = int(420 * detail)
    index = rng.choice(np.flatnonzero(inside > 0.001), count)
    head = posed.bones[rig.bone("head")][:, :3]
    down = normals[index] * 0.6 - head[:, 2] + 0.25 * rng.normal(size=(count, 3)) @ head.T
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    length = 0.006 + 0.8 * long[index] * rng.uniform(0.6, 1.3, count)
    t = np.linspace(0, 1, 3)[:, None]
    lines = lifted[index][:, None] + down[:, None] * length[:, None, None] * t - normals[index][:, None] * 0.004 * t**2
    outward = np.broadcast_to(normals[index][:, None], lines.shape)
    return [shell, ribbons(lines, outward, 0.0012 / np.sqrt(detail), "Face_Neck", hair.facial, rng.uniform(0.6, 1.15, count))]
