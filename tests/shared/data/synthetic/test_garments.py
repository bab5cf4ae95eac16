"""Clothes: everybody wears them, in every pose; they lie over one another and over the skin, and are closed where they end."""

import dataclasses

import numpy as np
import pytest

from shared.data.synthetic.cuts import covered, places
from shared.data.synthetic.drape import GAP, shell
from shared.data.synthetic.garments import dress, layers
from shared.data.synthetic.looks import NONE, Look, look
from shared.data.synthetic.mesh import PART, PARTS, Piece
from shared.data.synthetic.poses import pose
from shared.data.synthetic.rig import Posed, Rig

CLOTH = [PART["Upper_Clothing"], PART["Lower_Clothing"]]
WORN = [*CLOTH, PART["Apparel"], *(PART[f"{side}_{what}"] for side in ("Left", "Right") for what in ("Sock", "Shoe"))]


def person(seed: int, *, posing: bool = True) -> tuple[Rig, np.ndarray, Posed, Look]:
    rig, rng = Rig.load(), np.random.default_rng(seed)
    identity = rig.adult(rng)
    held = pose(rng, identity=identity)
    rest, heads = rig.rest(identity, held.expression if posing else {})
    posed = rig.pose(rest, heads, held.rotations if posing else {}, held.root if posing else None)
    return rig, rest, posed, look(rng, feminine=1 - identity.gender)


def dressed(seed: int, *, posing: bool = True, levels: int = 1) -> list[Piece]:
    return dress(*person(seed, posing=posing), np.random.default_rng(seed), levels=levels)


class Rays:
    """Casts rays at pieces."""

    def __init__(self, pieces: list[Piece]):
        scene = pytest.importorskip("embreex.rtcore_scene")
        construction = pytest.importorskip("embreex.mesh_construction")
        starts = np.cumsum([0, *(len(one.points) for one in pieces)])
        self.points = np.concatenate([one.points for one in pieces])
        self.faces = np.concatenate([one.faces + start for one, start in zip(pieces, starts)]).astype(np.int32)
        self.part = np.concatenate([one.part for one in pieces])
        self.scene = scene.EmbreeScene()
        construction.TriangleMesh(self.scene, self.points, self.faces)

    def cast(self, origins: np.ndarray, ways: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The class met first (N,) (-1: nothing), the distance (N,) and whether (N,) its outer side was met."""
        hit = self.scene.run(origins.astype(np.float32), np.ascontiguousarray(ways, np.float32), output=1)
        face = hit["primID"]
        a, b, c = (self.points[self.faces[face, k]] for k in range(3))
        outside = (np.cross(b - a, c - a) * ways).sum(1) < 0
        return np.where(face >= 0, self.part[face].astype(int), -1), hit["tfar"], outside


def bare() -> np.ndarray:
    """(N,) bool, vertices of the body that have to be covered: trunk, hips and the upper half of the upper legs."""
    rig = Rig.load()
    at, region = places(rig, "body"), rig.part("body").matrix @ rig.shares
    trunk = (region.argmax(1) == 1) & (at.xyz[2] < at.neck - 0.17) & (at.arm < 0.05)
    return trunk | ((at.leg > -0.5) & (at.leg < 0.5))


def test_trunk_hips_and_upper_legs_are_covered_whatever_is_drawn():
    at, vital = places(Rig.load(), "body"), bare()
    for seed in range(60):
        one = look(np.random.default_rng(seed), feminine=seed % 3 / 2)
        least = dataclasses.replace(
            one,
            top=dataclasses.replace(one.top, sleeve=-9, neck_drop=9, collar=-9, hem=9),
            bottom=dataclasses.replace(one.bottom, leg=-9),
            jacket=None,
            feet=dataclasses.replace(one.feet, sock=NONE, shoe=NONE),
        )
        for worn in (one, least):
            assert covered(at, worn)[vital].min() > 0


@pytest.mark.parametrize("seed", range(6))
def test_no_skin_of_the_trunk_is_left_in_the_picture(seed):
    body = dressed(seed)[0]
    ids = [PART["Torso"], PART["Left_Upper_Leg"], PART["Right_Upper_Leg"]]
    left = body.rest[body.faces[np.isin(body.part, ids)]]
    at = places(Rig.load())
    heights = left[..., 2].max(1)
    assert not ((heights < at.neck - 0.22) & (heights > at.hip - 0.1)).any()


@pytest.mark.parametrize("seed", range(6))
def test_covered_skin_lies_below_the_cloth(seed):
    pieces = dressed(seed, posing=False, levels=2)
    body = pieces[0]
    rig = Rig.load()
    at, one = places(rig, "body"), person(seed, posing=False)[3]
    tree = pytest.importorskip("scipy.spatial").KDTree(at.xyz.T)
    under = covered(at, one)[tree.query(body.rest)[1]] > 0.004
    rays = Rays(pieces)
    points, normals = body.points[under], body.normals[under]
    part, distance, _ = rays.cast(points + 0.0004 * normals, normals)
    assert (np.isin(part, WORN) & (distance < 0.12)).mean() > 0.99


@pytest.mark.parametrize("seed", range(6))
def test_in_no_pose_is_covered_skin_seen(seed):
    pieces, rig = dressed(seed), Rig.load()
    at, one = places(rig, "body"), person(seed)[3]
    rays, rng = Rays(pieces), np.random.default_rng(seed)
    aims = rng.uniform(rays.points.min(0), rays.points.max(0), (8000, 3))
    ways = rng.normal(size=aims.shape)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    face = rays.scene.run((aims - 4 * ways).astype(np.float32), ways.astype(np.float32), output=1)["primID"]
    body = pieces[0]
    seen = body.rest[rays.faces[face[(face >= 0) & (face < len(body.faces))]]].mean(1)
    cover = covered(at, one)[pytest.importorskip("scipy.spatial").KDTree(at.xyz.T).query(seen)[1]]
    assert (cover > 0.006).sum() < 0.003 * (face >= 0).sum()


@pytest.mark.parametrize("seed", range(8))
def test_layers_never_cross(seed):
    rig, rest, posed, one = person(seed)
    on = shell(rig, rest, posed, 1)
    laid = list(layers(places(rig, "tights", 1), on, one, np.random.default_rng(seed)))
    assert {"Upper_Clothing"} <= {layer.part for layer in laid}
    for index, outer in enumerate(laid):
        for inner in laid[:index]:
            both = on.part.faces[((outer.field > 0)[on.part.faces]).any(1) & ((inner.field > 0)[on.part.faces]).any(1)]
            assert (outer.distance[both] >= inner.distance[both] + GAP - 1e-6).all()


@pytest.mark.parametrize("seed", range(6))
def test_nobody_looks_into_a_sleeve_or_a_trouser_leg(seed):
    pieces, one = dressed(seed), person(seed)[3]
    if one.bottom.skirt > 0:
        return  # skirts are open below
    rays, rng = Rays(pieces), np.random.default_rng(seed)
    aims = rays.points[rays.faces[rng.integers(len(rays.faces), size=8000)]].mean(1)
    ways = rng.normal(size=aims.shape)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    part, _, outside = rays.cast(aims - 4 * ways, ways)
    cloth = np.isin(part, CLOTH)
    assert cloth.any()
    assert outside[cloth].mean() > 0.99


@pytest.mark.parametrize("seed", range(4))
def test_normals_are_those_of_the_wrinkled_surface(seed):
    for one in dressed(seed, levels=2):
        if one.material.kind != "cloth":
            continue
        corners = one.points[one.faces].astype(np.float64)
        facet = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(facet, axis=1)
        real = area > 1e-9
        smooth = one.normals[one.faces].mean(1)
        agree = (facet * smooth).sum(1)[real] / area[real]
        assert np.average(agree > 0.8, weights=area[real]) > 0.97
        assert np.abs(np.linalg.norm(one.normals, axis=1) - 1).max() < 1e-3


def test_left_is_left_and_every_part_of_a_body_occurs():
    seen = set()
    for seed in range(24):
        for one in dressed(seed, posing=False):
            assert one.part.max() < len(PARTS)
            seen |= set(one.part)
            for index in set(one.part):
                if PARTS[index].startswith(("Left_", "Right_")):
                    sign = 1 if PARTS[index].startswith("Left_") else -1
                    assert sign * one.points[one.faces[one.part == index]][..., 0].mean() > 0
    assert {PARTS[index] for index in seen} >= set(PARTS) - {"Background", "Apparel", "Eyeglass", "Hair"}


def test_clothes_turn_with_their_wearer():
    rig, rest, posed, one = person(1)
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    bones = posed.bones.copy()
    turned = Posed(posed.points @ turn.T, np.einsum("ij,bjk->bik", turn, bones))
    before = dress(rig, rest, posed, one, np.random.default_rng(0), levels=1)
    after = dress(rig, rest, turned, one, np.random.default_rng(0), levels=1)
    for a, b in zip(before, after):
        assert np.abs(a.points @ turn.T - b.points).max() < 1e-3


def test_the_same_rng_wrinkles_the_same():
    for a, b in zip(dressed(2), dressed(2)):
        assert (a.points == b.points).all()


def test_a_skirt_has_a_lining_and_a_dress_is_of_one_cloth():
    rig, rest, posed, one = person(0, posing=False)
    bottom = dataclasses.replace(one.bottom, skirt=0.5, dress=True, leg=0)
    one = dataclasses.replace(one, bottom=bottom, top=dataclasses.replace(one.top, cloth=bottom.cloth, tucked=True), jacket=None)
    pieces = dress(rig, rest, posed, one, np.random.default_rng(0), levels=1)
    same = [piece for piece in pieces if piece.material is bottom.cloth]
    assert len(same) == 3  # top, lining, skirt
    assert all((piece.part == PART["Upper_Clothing"]).all() for piece in same)
