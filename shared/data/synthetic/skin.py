"""The body itself: skin where it shows, eyes, teeth and tongue. What is under cloth is sunk a little and then cut away."""

import functools
from typing import NamedTuple

import numpy as np

from shared.data.synthetic.cuts import covered, places
from shared.data.synthetic.drape import ramp
from shared.data.synthetic.facial import growth
from shared.data.synthetic.looks import Look
from shared.data.synthetic.mesh import PART, Piece, piece, vertex_normals
from shared.data.synthetic.regions import REGIONS
from shared.data.synthetic.rig import Posed, Rig
from shared.data.synthetic.subdivide import triangles

Array = np.ndarray
HIDDEN = 0.028  # metres inside the border of what covers it, beyond which there is no skin
SUNK = 0.008  # metres that covered skin goes inward
EARS = 0.3  # from here on it is an ear and has no hair


class _Static(NamedTuple):
    """What of the body does not depend on who it is; N vertices, M faces."""

    rest: Array  # (N,3) metres
    scalp: Array  # (N,) metres above the hairline; -1 on the ears
    extra: Array  # (N,5) as the skin's material wants it, without growth
    labels: Array  # (M,) classes of a bald head
    haired: Array  # (M,) bool, faces of the scalp


@functools.cache
def _static(rig: Rig) -> _Static:
    part = rig.part("body")
    onto = lambda field: np.asarray(part.matrix @ field.astype(np.float32))  # noqa: E731
    mean = lambda field: onto(field)[part.faces].mean(1)  # noqa: E731
    scalp = np.where(onto(rig.ears) > EARS, -1, onto(rig.scalp))
    labels = np.array([PART[name] for name in REGIONS], np.uint8)[mean(rig.shares).argmax(1)]
    lips = (mean(rig.lips) > 0.5) & (labels == PART["Face_Neck"])
    labels[lips] = np.where(mean(rig.lower_lip)[lips] > 0.5, PART["Lower_Lip"], PART["Upper_Lip"])
    extra = np.stack([onto(field) for field in (rig.lips, np.zeros(len(rig.mean)), rig.blush, rig.mouth, rig.nails)], 1)
    return _Static(onto(rig.mean), scalp, extra, labels, np.asarray((scalp[part.faces] > 0).all(1)))


def skin(rig: Rig, posed: Posed, look: Look) -> list[Piece]:
    """The pieces of the bare body: all of it that the clothes of this look leave free, and a little more."""
    part, static = rig.part("body"), _static(rig)
    inward = vertex_normals(posed.points, triangles(rig.quads["body"]))
    depth = SUNK * ramp(covered(places(rig), look), 0, HIDDEN)
    points = part.matrix @ (posed.points - inward * depth[:, None])
    hidden = (covered(places(rig, "body"), look)[part.faces] > HIDDEN).all(1)
    faces = part.faces[~hidden]
    used = np.zeros(len(points), bool)
    used[faces] = True
    haired = look.hair.style != "bald"
    extra = static.extra[used]
    beard = (part.matrix @ growth(rig, look.hair))[used]
    extra[:, 1] = np.maximum(static.scalp[used], beard) if haired else beard
    body = piece(
        points[used],
        (np.cumsum(used) - 1)[faces],
        look.skin,
        np.where(static.haired & haired, PART["Hair"], static.labels)[~hidden],
        normals=vertex_normals(points, part.faces[used[part.faces].any(1)])[used],
        rest=static.rest[used],
        extra=extra,
    )
    return [body, *_inside(rig, posed, look)]


def _inside(rig: Rig, posed: Posed, look: Look) -> list[Piece]:
    """Eyes, teeth and tongue."""
    pieces = []
    for name, part, paint in (
        ("eye_left", "Face_Neck", look.eye),
        ("eye_right", "Face_Neck", look.eye),
        ("teeth_upper", "Upper_Teeth", look.teeth),
        ("teeth_lower", "Lower_Teeth", look.teeth),
        ("tongue", "Tongue", look.tongue),
    ):
        mesh = rig.part(name)
        rest = mesh.matrix @ rig.mean
        pieces.append(piece(mesh.matrix @ posed.points, mesh.faces, paint, part, rest=rest - rest.mean(0)))
    return pieces
