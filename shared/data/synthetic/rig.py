"""A body that can be posed: who it is + its face's expression + how its bones are turned -> the points of its mesh.

One mesh of 19158 vertices holds the body, eyes, teeth and tongue, a shell for tights, a cone for skirts and a small cube around
every joint. World space is metres, z up, the person faces -y and its left is +x; the rest pose stands on z = 0 with its arms half
down. Letters: V vertices, B bones, I coefficients of identity, A adults.

`rig.npz` was made by bake.py; the licences of what is in it are in rig.LICENSE.txt.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse

from shared.data.synthetic import regions
from shared.data.synthetic.subdivide import subdivided, triangles

Array = np.ndarray
FILE = Path(__file__).with_name("rig.npz")
ADULT = 2 / 3  # of the age axis: MakeHuman's "young", 25 years old; 1 is 90 years
BLEND = 0.35  # most of a second adult in an identity
LEVELS = {  # steps of Catmull-Clark
    "body": 1,
    "eye_left": 2,
    "eye_right": 2,
    "teeth_upper": 1,
    "teeth_lower": 1,
    "tongue": 1,
    "tights": 2,
    "skirt": 2,
}


class Identity(NamedTuple):
    """Who somebody is. Made by Rig.adult, from adults only."""

    coefficients: Array  # (I,) in standard deviations
    gender: float  # 0 female .. 1 male
    age: float  # 2/3, 25 years .. 1, 90 years
    ancestry: Array  # (3,) shares of African, Asian, European shape; they sum to 1


class Posed(NamedTuple):
    """A body in the world."""

    points: Array  # (V,3) float32 metres
    bones: Array  # (B,3,4) float64: rest coordinates -> world, for each bone


class Part(NamedTuple):
    """A piece of the mesh, subdivided."""

    matrix: sparse.csr_matrix  # (N,V) float32: any field or position of the V vertices -> the N of this piece
    faces: Array  # (M,3) int32, counter-clockwise from outside
    quads: Array  # (Q,4) int32


@dataclass(frozen=True, eq=False, repr=False)
class Rig:
    """The mesh, its bones, the adults it may become and the fields on it; nothing in it changes."""

    mean: Array  # (V,3) float64 metres: the mean adult
    heads_mean: Array  # (B,3) where the mean adult's bones begin
    basis: Array  # (I,V,3) float32 metres per standard deviation
    heads_basis: Array  # (I,B,3)
    adults: Array  # (A,I) coefficients of the adults it was made from
    facts: Array  # (A,5) their gender, age, African, Asian, European share
    expressions: dict[str, Array]  # (V,3) float32 metres at full strength, by name
    weights: sparse.csr_matrix  # (V,B) float32, rows sum to 1
    bones: tuple[str, ...]
    parents: tuple[int, ...]  # -1 for the root
    joints: dict[str, int]  # the first of the 8 vertices of the cube around each joint
    regressor: sparse.csr_matrix  # (R,V): the vertices -> joints as COCO sees them
    regressed: tuple[str, ...]  # their names
    quads: dict[str, Array]  # (Q,4) int64 faces of each part
    painted: dict[str, Array]  # (V,) float32 0..1: lips, ears, nails, mouth
    anchors: dict[str, tuple[Array, Array]]  # curves on the skin: (n,3) vertices and (n,3) weights of each point; see anchors.py

    @staticmethod
    @functools.cache
    def load() -> "Rig":
        """The rig that ships with the project; read once per process."""
        return read(FILE)

    def adult(self, rng: np.random.Generator) -> Identity:
        """Somebody: between two of the adults, nearer to the first, so never younger, smaller or thinner than an adult may be."""
        first = int(rng.integers(len(self.adults)))
        alike = np.flatnonzero(np.abs(self.facts[:, 0] - self.facts[first, 0]) < 0.3)
        second, share = int(rng.choice(alike)), rng.uniform(0, BLEND)
        mix = lambda rows: rows[first] * (1 - share) + rows[second] * share  # noqa: E731
        facts = mix(self.facts)
        ancestry = facts[2:] / facts[2:].sum()
        return Identity(mix(self.adults), float(np.clip(facts[0], 0, 1)), float(facts[1]), ancestry)

    def rest(self, identity: Identity, expression: Mapping[str, float] | None = None) -> tuple[Array, Array]:
        """The body in rest pose: points (V,3) and where its bones begin (B,3), metres; expression is name -> 0..1."""
        coefficients = identity.coefficients
        points = self.mean + np.tensordot(coefficients.astype(np.float32), self.basis, 1)
        heads = self.heads_mean + np.tensordot(coefficients, self.heads_basis, 1)
        for name, strength in (expression or {}).items():
            if name not in self.expressions:
                raise ValueError(f"there is no expression {name!r}; there are {', '.join(self.expressions)}")
            points = points + strength * self.expressions[name]
        return points, heads

    def pose(self, rest: Array, heads: Array, rotations: Mapping[str, Array], root: Array | None = None) -> Posed:
        """Turn the bones and put the body into the world.

        Args:
            rest: (V,3) metres, and heads (B,3), from `rest`.
            rotations: (3,3) of each bone that is turned: about where it begins, in rest axes, relative to its parent.
            root: (3,3) or (3,4), where the posed body stands in the world; identity where absent.
        """
        unknown = set(rotations) - set(self.bones)
        if unknown:
            raise ValueError(f"there is no bone {sorted(unknown)[0]!r}; there are {', '.join(self.bones)}")
        place = np.eye(3, 4)
        if root is not None:
            place[:, : root.shape[1]] = root
        bones = np.zeros((len(self.bones), 3, 4))
        for b, (name, parent) in enumerate(zip(self.bones, self.parents)):
            above = place if parent < 0 else bones[parent]
            turn = rotations.get(name)
            if turn is None:
                bones[b] = above
                continue
            turned = above[:, :3] @ turn
            bones[b, :, :3] = turned
            bones[b, :, 3] = above[:, :3] @ heads[b] + above[:, 3] - turned @ heads[b]
        return Posed(carry(rest, bones, self.weights), bones)

    def joint(self, name: str, points: Array | None = None) -> Array:
        """The middle (3,) of a joint's cube, in the mean adult or in these points (V,3)."""
        first = self.joints[name]
        return (self.mean if points is None else points)[first : first + 8].mean(0)

    def curve(self, name: str, points: Array | None = None) -> Array:
        """The points (n,3) of a named curve of anchors.py, on the mean adult or on these points (V,3), at rest or posed."""
        vertices, weights = self.anchors[name]
        return np.einsum("nk,nkd->nd", weights, (self.mean if points is None else points)[vertices])

    def bone(self, name: str) -> int:
        """The index of a bone."""
        return self.bones.index(name)

    def part(self, name: str, levels: int | None = None) -> Part:
        """A piece of the mesh, subdivided `levels` times (as often as LEVELS says where absent); made once per process."""
        if name not in self.quads:
            raise ValueError(f"the rig has no part {name!r}; it has {', '.join(self.quads)}")
        return _part(self, name, LEVELS[name] if levels is None else levels)

    def share(self, *bones: str) -> Array:
        """How much of each vertex (V,) hangs on these bones; a name that ends in * stands for all that begin so."""
        found = [
            i for i, bone in enumerate(self.bones) if any(bone.startswith(n[:-1]) if n[-1] == "*" else bone == n for n in bones)
        ]
        return np.asarray(self.weights[:, found].sum(1)).ravel()

    @property
    def lips(self) -> Array:
        """(V,) 0..1, 1 on the red of the lips."""
        return self.painted["lips"]

    @property
    def ears(self) -> Array:
        """(V,) 0..1, 1 on the ears."""
        return self.painted["ears"]

    @property
    def nails(self) -> Array:
        """(V,) 0..1, 1 on finger nails."""
        return self.painted["nails"]

    @property
    def mouth(self) -> Array:
        """(V,) 0..1, 1 inside the mouth."""
        return self.painted["mouth"]

    @functools.cached_property
    def limb_t(self) -> Array:
        """(2,V) along the left and the right arm: 0 shoulder, 1 elbow, 2 wrist, beyond on the hand; -1 off that arm."""
        return regions.along_arms(self)

    @functools.cached_property
    def limb_u(self) -> Array:
        """(2,V) along the left and the right leg: 0 hip, 1 knee, 2 ankle, beyond on the foot; -1 off that leg."""
        return regions.along_legs(self)

    @functools.cached_property
    def shares(self) -> Array:
        """(V,R) float32, how much of each vertex belongs to each of regions.REGIONS; rows sum to 1."""
        return regions.shares(self)

    @functools.cached_property
    def region(self) -> Array:
        """(V,) names of regions.REGIONS, those of the bare body's classes."""
        return np.array(regions.REGIONS)[self.shares.argmax(1)]

    @functools.cached_property
    def scalp(self) -> Array:
        """(V,) metres above the hairline, negative below it and off the head."""
        return regions.scalp(self)

    @functools.cached_property
    def lower_lip(self) -> Array:
        """(V,) 1 on what of the face lies below the line between the lips, else 0."""
        return regions.lower_lip(self)

    @functools.cached_property
    def blush(self) -> Array:
        """(V,) 0..1, where blood shows: cheeks, tip of the nose, ears."""
        return regions.blush(self)


@functools.cache
def _part(rig: Rig, name: str, levels: int) -> Part:
    matrix, quads = subdivided(len(rig.mean), rig.quads[name], levels)
    return Part(matrix, triangles(quads), quads)


def carry(points: Array, bones: Array, weights: sparse.csr_matrix) -> Array:
    """Linear blend skinning: points (N,3) in rest space and bones (B,3,4) with weights (N,B) -> (N,3) float32, where `bones` go."""
    mixed = (weights @ bones.reshape(len(bones), 12).astype(np.float32)).reshape(-1, 3, 4)
    return (np.einsum("nij,nj->ni", mixed[:, :, :3], points.astype(np.float32)) + mixed[:, :, 3]).astype(np.float32)


def read(path: Path) -> Rig:
    """A rig from a file that bake.py wrote."""
    if not path.exists():
        raise FileNotFoundError(
            f"the rig is missing at {path}; it ships with the project, and shared/data/synthetic/bake.py makes it"
        )
    with np.load(path) as file:
        z = {key: file[key] for key in file.files}
    vertices, bones = len(z["mean"]), [str(name) for name in z["bones"]]
    places = (np.repeat(np.arange(vertices), z["weight_bones"].shape[1]), z["weight_bones"].ravel())
    weights = sparse.csr_matrix((z["weights"].astype(np.float32).ravel(), places), (vertices, len(bones)))
    weights = sparse.diags((1 / np.asarray(weights.sum(1)).ravel()).astype(np.float32)) @ weights
    regressor = sparse.csr_matrix(z["regressor"].astype(np.float64))
    regressor = sparse.diags(1 / np.asarray(regressor.sum(1)).ravel()) @ regressor
    parts = [str(name) for name in z["parts"]]
    ends = np.cumsum(z["anchor_counts"]) if "anchor_counts" in z else np.zeros(0, int)
    split = lambda key: np.split(z[key], ends[:-1])  # noqa: E731
    return Rig(
        mean=z["mean"].astype(np.float64),
        heads_mean=z["heads_mean"].astype(np.float64),
        basis=z["basis"].astype(np.float32) / 1000,
        heads_basis=z["heads_basis"].astype(np.float64),
        adults=z["adults"].astype(np.float64),
        facts=z["facts"].astype(np.float64),
        expressions={str(n): d.astype(np.float32) / 1000 for n, d in zip(z["expression_names"], z["expressions"])},
        weights=sparse.csr_matrix(weights),
        bones=tuple(bones),
        parents=tuple(int(p) for p in z["parents"]),
        joints={str(n): int(first) for n, first in zip(z["joint_names"], z["joint_first"])},
        regressor=sparse.csr_matrix(regressor),
        regressed=tuple(str(n) for n in z["regressor_names"]),
        quads={n: z["quads"][z["quad_parts"] == k].astype(np.int64) for k, n in enumerate(parts)},
        painted={n: z[n].astype(np.float32) / 255 for n in ("lips", "ears", "nails", "mouth")},
        anchors={}
        if not len(ends)
        else {str(n): (v, w) for n, v, w in zip(z["anchor_names"], split("anchor_vertices"), split("anchor_weights"))},
    )
