"""The body itself: skin where it shows, eyes, teeth and tongue. What is under cloth is sunk a little and then cut away."""

import functools
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix, identity

from shared.data.synthetic.cuts import covered, places
from shared.data.synthetic.drape import ramp
from shared.data.synthetic.facial import growth
from shared.data.synthetic.hems import split
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
    """What of the body does not depend on who it is; N vertices, M faces, cut where classes meet."""

    more: csr_matrix  # (N - B,B) the vertices on those borders, from the B of the part
    faces: Array  # (M,3)
    rest: Array  # (N,3) metres
    scalp: Array  # (N,) metres above the hairline; -1 on the ears
    extra: Array  # (N,5) as the skin's material wants it, without growth
    labels: Array  # (M,) classes of a bald head
    haired: Array  # (M,) bool, faces of the scalp

    def onto(self, values: Array) -> Array:
        """Values (B,...) of the part's vertices on all N."""
        return np.concatenate([values, self.more @ values])


def borders(rig: Rig) -> tuple[Array, list[tuple[str, Array]]]:
    """Fields whose zeros are where classes of bare skin meet: the hairline's (V,), and for each step from the trunk to the ends
    of the limbs the name of what lies beyond, without its side, and a field (V,) that is positive there."""
    share = {name: rig.shares[:, number] for number, name in enumerate(REGIONS)}
    whole = rig.shares.sum(1)
    steps = [("Face_Neck", 2 * share["Face_Neck"] - whole)]
    for limb in (("Hand", "Lower_Arm", "Upper_Arm"), ("Foot", "Lower_Leg", "Upper_Leg")):
        for number, name in reversed(list(enumerate(limb))):
            sides = [2 * sum(share[f"{side}_{one}"] for one in limb[: number + 1]) - whole for side in ("Left", "Right")]
            steps.append((name, np.maximum(*sides)))
    return np.where(rig.ears > EARS, -1, rig.scalp), steps


@functools.cache
def _static(rig: Rig) -> _Static:
    part, (scalp, steps) = rig.part("body"), borders(rig)
    faces, count = part.faces, int(part.faces.max()) + 1
    matrix = csr_matrix(identity(count))
    for field in (scalp, *(field for _, field in steps), rig.lips - 0.5, rig.lower_lip - 0.5):
        cut = split(faces, matrix @ (part.matrix @ field))
        faces, matrix = cut.faces, csr_matrix(cut.matrix @ matrix)
    onto = lambda field: np.asarray(matrix @ (part.matrix @ field.astype(np.float32)))  # noqa: E731
    mean = lambda field: onto(field)[faces].mean(1)  # noqa: E731
    rest = onto(rig.mean)
    left = rest[faces, 0].mean(1) > 0
    labels = np.full(len(faces), PART["Torso"], np.uint8)
    for name, field in steps:
        ours = (PART[name], PART[name]) if name in PART else (PART[f"Left_{name}"], PART[f"Right_{name}"])
        labels = np.where(mean(field) > 0, np.where(left, *ours), labels).astype(np.uint8)
    lips = (mean(rig.lips) > 0.5) & (labels == PART["Face_Neck"])
    labels[lips] = np.where(mean(rig.lower_lip)[lips] > 0.5, PART["Lower_Lip"], PART["Upper_Lip"])
    extra = np.stack([onto(field) for field in (rig.lips, np.zeros(len(rig.mean)), rig.blush, rig.mouth, rig.nails)], 1)
    more = csr_matrix(matrix[count:], dtype=np.float32)
    return _Static(more, faces, rest, onto(scalp), extra, labels, np.asarray(mean(scalp) > 0))


def skin(rig: Rig, posed: Posed, look: Look) -> list[Piece]:
    """The pieces of the bare body: all of it that the clothes of this look leave free, and a little more."""
    part, static = rig.part("body"), _static(rig)
    inward = vertex_normals(posed.points, triangles(rig.quads["body"]))
    depth = SUNK * ramp(covered(places(rig), look), 0, HIDDEN)
    smooth = part.matrix @ (posed.points - inward * depth[:, None])
    beneath = covered(places(rig, "body"), look)
    faces = static.faces[~(hidden := (static.onto(beneath)[static.faces] > HIDDEN).all(1))]
    used = np.zeros(len(static.rest), bool)
    used[faces] = True
    normals = vertex_normals(smooth, part.faces[used[: len(smooth)][part.faces].any(1)])
    haired = look.hair.style != "bald"
    extra = static.extra[used]
    beard = static.onto(part.matrix @ growth(rig, look.hair))[used]
    extra[:, 1] = np.maximum(static.scalp[used], beard) if haired else beard
    body = piece(
        static.onto(smooth)[used],
        (np.cumsum(used) - 1)[faces],
        look.skin,
        np.where(static.haired & haired, PART["Hair"], static.labels)[~hidden],
        normals=static.onto(normals)[used],
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
