"""What everything in a scene is made of: triangles with a class for each and numbers for the material at each vertex.

World: metres, z up, people face -y. A Piece is drawn in one Material; `extra` and `rest` say what the material needs at a vertex:

| kind | values | extra (N,5) | rest |
|---|---|---|---|
| skin | colour, hair, lip, redness, gloss, seed | lips, hair growth (>0 on the scalp), blush, inside mouth, nails | rest pose |
| eye | colour of the iris | unused | rest pose, the middle of the eyeball at 0, gaze along -y |
| plain | colour, gloss | unused | unused |
| hair | colour, gloss | brightness of the strand, 0 root to 1 tip | unused |
| cloth | colour, second, pattern, period, angle, gloss, offset, seed | unused | rest pose |
| ground | texture (textures.Texture), gloss, glow | unused | u, v in metres, anything |

Colours are linear albedo (3,) in 0..1; redness, gloss and glow 0..1; period in metres; angle in radians; offset (3,) metres.
Patterns of cloth: plain stripe upright plaid check dots camo print heather halves. Missing values fall back to materials.DEFAULTS.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray
Point = Array | Sequence[float]  # (3,)
EXTRAS = 5
PARTS = (
    "Background",
    "Apparel",
    "Face_Neck",
    "Hair",
    "Left_Foot",
    "Left_Hand",
    "Left_Lower_Arm",
    "Left_Lower_Leg",
    "Left_Shoe",
    "Left_Sock",
    "Left_Upper_Arm",
    "Left_Upper_Leg",
    "Lower_Clothing",
    "Right_Foot",
    "Right_Hand",
    "Right_Lower_Arm",
    "Right_Lower_Leg",
    "Right_Shoe",
    "Right_Sock",
    "Right_Upper_Arm",
    "Right_Upper_Leg",
    "Torso",
    "Upper_Clothing",
    "Lower_Lip",
    "Upper_Lip",
    "Lower_Teeth",
    "Upper_Teeth",
    "Tongue",
    "Eyeglass",  # last, so that the 28 before it keep the ids of Sapiens' 28
)
PART = MappingProxyType({name: number for number, name in enumerate(PARTS)})


class Material(NamedTuple):
    """What a surface looks like; `kind` and `values` as in the table above."""

    kind: str
    values: Mapping[str, Any]


def material(kind: str, **values: Any) -> Material:
    """A Material whose values cannot be changed."""
    return Material(kind, MappingProxyType(values))


class Piece(NamedTuple):
    """Triangles in one material."""

    points: Array  # (N,3) float32 world metres
    normals: Array  # (N,3) float32 unit, outward
    rest: Array  # (N,3) float32 metres
    extra: Array  # (N,5) float32
    faces: Array  # (M,3) int32
    part: Array  # (M,) uint8 index into PARTS
    material: Material


def piece(
    points: Array,
    faces: Array,
    material: Material,
    part: int | str | Array,
    *,
    normals: Array | None = None,
    rest: Array | None = None,
    extra: Array | None = None,
) -> Piece:
    """A Piece of points (N,3) metres and faces (M,3); what is left out is derived.

    Args:
        part: one name or id for all faces, or ids (M,).
        normals: (N,3); the mean of the faces' otherwise.
        rest: (N,3); the points themselves otherwise.
        extra: (N,k) with k at most 5; zeros otherwise.
    """
    faces = np.ascontiguousarray(faces, np.int32)
    points = np.ascontiguousarray(points, np.float32)
    filled = np.zeros((len(points), EXTRAS), np.float32)
    if extra is not None:
        filled[:, : extra.shape[1]] = extra
    ids = np.broadcast_to(np.asarray(PART[part] if isinstance(part, str) else part, np.uint8), len(faces)).copy()
    return Piece(
        points,
        np.ascontiguousarray(vertex_normals(points, faces) if normals is None else normals, np.float32),
        np.ascontiguousarray(points if rest is None else rest, np.float32),
        filled,
        faces,
        ids,
        material,
    )


def vertex_normals(points: Array, faces: Array) -> Array:
    """Unit normals (N,3) float32: the mean of the faces around each vertex by area, (0,0,1) where there is none."""
    corners = points[faces]
    across = cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.stack([np.bincount(faces.ravel(), np.repeat(across[:, axis], 3), minlength=len(points)) for axis in range(3)], 1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 1e-20, total / np.maximum(length, 1e-20), (0.0, 0.0, 1.0)).astype(np.float32)


class Soup(NamedTuple):
    """All pieces of a scene as one triangle list, as a ray caster wants it; Q pieces."""

    vertices: Array  # (N,14) float32: points, normals, rest, extra side by side, since whoever needs one needs all
    faces: Array  # (M,3) int32
    part: Array  # (M,) uint8
    owner: Array  # (M,) int16 index of the piece
    person: Array  # (M,) int16 index of the person, -1 for things
    materials: tuple[Material, ...]  # (Q,)


POINTS, NORMALS, REST, EXTRA = slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 14)  # columns of Soup.vertices


def soup(pieces: Sequence[Piece], people: Sequence[int]) -> Soup:
    """Join pieces; people[i] says to whom piece i belongs, -1 to nobody."""
    starts = np.cumsum([0, *(len(one.points) for one in pieces)])
    counts = [len(one.faces) for one in pieces]
    vertices = np.empty((starts[-1], 9 + EXTRAS), np.float32)
    for one, start, end in zip(pieces, starts, starts[1:]):
        for columns, values in zip((POINTS, NORMALS, REST, EXTRA), one[:4]):
            vertices[start:end, columns] = values
    return Soup(
        vertices,
        np.concatenate([one.faces + np.int32(start) for one, start in zip(pieces, starts)]),
        np.concatenate([one.part for one in pieces]),
        np.repeat(np.arange(len(pieces), dtype=np.int16), counts),
        np.repeat(np.asarray(people, np.int16), counts),
        tuple(one.material for one in pieces),
    )


def dots(first: Array, second: Array) -> Array:
    """Dot products (N,1) of rows (N,3)."""
    return np.einsum("ij,ij->i", first, second)[:, None]


def units(vectors: Array) -> Array:
    """Vectors (N,3) made length 1; the zero vector stays."""
    return vectors / np.maximum(np.sqrt(dots(vectors, vectors)), 1e-20)


def cross(first: Array, second: Array) -> Array:
    """Cross products (N,3) of rows, several times as fast as numpy's."""
    (a, b, c), (x, y, z) = first.T, second.T
    return np.stack([b * z - c * y, c * x - a * z, a * y - b * x], 1)
