"""Hair, brows, beards and accessories: they grow where they should, stay off the eyes, and sit on the head in every pose."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial import KDTree

from shared.data.synthetic.accessories import accessories
from shared.data.synthetic.cuts import hat_field
from shared.data.synthetic.garments import dress
from shared.data.synthetic.hair import hair
from shared.data.synthetic.looks import STYLES, Look, look
from shared.data.synthetic.mesh import PART, Piece, vertex_normals
from shared.data.synthetic.poses import pose
from shared.data.synthetic.rig import Posed, Rig
from shared.data.synthetic.strands import comb, grow, ribbons, solid

BEARDS = ("stubble", "moustache", "short", "full")


def person(seed: int, **changes: str) -> tuple[Rig, np.ndarray, Posed, Look]:
    """A posed person; changes are fields of Hair or Extras."""
    rig, rng = Rig.load(), np.random.default_rng(seed)
    identity = rig.adult(rng)
    held = pose(rng, identity=identity)
    rest, heads = rig.rest(identity, held.expression)
    one = look(rng)
    own = {field.name for field in dataclasses.fields(one.hair)}
    extras = {"hat": "", "glasses": "", "bag": ""} | {name: value for name, value in changes.items() if name not in own}
    haired = dataclasses.replace(one.hair, **{name: value for name, value in changes.items() if name in own})
    one = dataclasses.replace(one, hair=haired, extras=dataclasses.replace(one.extras, **extras))
    return rig, rest, rig.pose(rest, heads, held.rotations, held.root), one


def grown(seed: int, detail: float = 1.0, **changes: str) -> list[Piece]:
    return hair(*person(seed, **changes), np.random.default_rng(seed), detail=detail)


def of_part(pieces: list[Piece], name: str) -> np.ndarray:
    """The points (N,3) of all faces of a class."""
    found = [one.points[one.faces[one.part == PART[name]]].reshape(-1, 3) for one in pieces]
    return np.concatenate([*found, np.zeros((0, 3), np.float32)])


def met(pieces: list[Piece], origins: np.ndarray, ways: np.ndarray) -> np.ndarray:
    """The class (N,) that rays (N,3) meet first, -1 for nothing."""
    scene = pytest.importorskip("embreex.rtcore_scene").EmbreeScene()
    starts = np.cumsum([0, *(len(one.points) for one in pieces)])
    faces = np.concatenate([one.faces + start for one, start in zip(pieces, starts)]).astype(np.int32)
    construction = pytest.importorskip("embreex.mesh_construction")
    construction.TriangleMesh(scene, np.concatenate([one.points for one in pieces]), faces)
    face = scene.run(origins.astype(np.float32), np.ascontiguousarray(ways, np.float32), output=1)["primID"]
    return np.where(face >= 0, np.concatenate([one.part for one in pieces])[face].astype(int), -1)


@pytest.mark.parametrize("style", STYLES)
def test_only_the_bald_have_no_hair_and_nobody_has_too_many_triangles(style):
    pieces = grown(1, style=style, beard="none")
    assert (len(of_part(pieces, "Hair")) == 0) == (style == "bald")
    assert sum(len(one.faces) for one in pieces) < 17_000


@pytest.mark.parametrize("style", [style for style in STYLES if style not in ("bald", "buzz")])
def test_more_detail_is_more_and_finer_strands(style):
    coarse, fine = (sum(len(one.faces) for one in grown(2, detail, style=style, beard="none")) for detail in (0.4, 2.0))
    assert fine > 1.7 * coarse


@pytest.mark.parametrize("style", [style for style in STYLES if style != "bald"])
@pytest.mark.parametrize("seed", [3, 4])
def test_no_scalp_shows_through_hair(style, seed):
    rig, rest, posed, one = person(seed, style=style, beard="none")
    pieces = hair(rig, rest, posed, one, np.random.default_rng(seed))
    body = dress(rig, rest, posed, one, np.random.default_rng(seed), levels=1)[0]
    scalp = body.faces[body.part == PART["Hair"]].ravel()
    inside = scalp[body.extra[scalp, 1] > 0.012]
    points, normals = body.points[inside], body.normals[inside]
    assert (met(pieces, points + 0.001 * normals, normals) == PART["Hair"]).mean() > 0.99


@pytest.mark.parametrize("style", [style for style in STYLES if style != "bald"])
@pytest.mark.parametrize("seed", range(3))
def test_hair_leaves_the_eyes_and_the_mouth_free(style, seed):
    rig, rest, posed, one = person(seed, style=style, beard="none")
    head = posed.bones[rig.bone("head")]
    local = lambda points: (points - head[:, 3]) @ head[:, :3]  # noqa: E731
    strands = local(of_part(hair(rig, rest, posed, one, np.random.default_rng(seed)), "Hair"))
    for name in ("iris_left", "iris_right", "nose_tip", "lip_upper_outer"):
        for target in local(rig.curve(name, posed.points))[::4]:
            before = (np.abs(strands[:, [0, 2]] - target[[0, 2]]) < 0.012).all(1) & (strands[:, 1] < target[1])
            assert before.mean() < 0.02


@pytest.mark.parametrize("beard", BEARDS)
def test_beards_are_below_the_nose_and_are_no_hair_of_the_head(beard):
    rig, rest, posed, one = person(5, style="bald", beard=beard)
    pieces = hair(rig, rest, posed, one, np.random.default_rng(0))
    bare = hair(
        rig, rest, posed, dataclasses.replace(one, hair=dataclasses.replace(one.hair, beard="none")), np.random.default_rng(0)
    )
    assert len(of_part(pieces, "Hair")) == 0
    assert (len(pieces) > len(bare)) == (beard != "stubble")
    head = posed.bones[rig.bone("head")]
    eyes = (rig.joint("l-eye", rest) + rig.joint("r-eye", rest)) / 2
    for one_piece in pieces[len(bare) :]:
        assert ((one_piece.points - head[:, 3]) @ head[:, :3])[:, 2].max() < eyes[2] + 0.02
    body = dress(rig, rest, posed, one, np.random.default_rng(0), levels=1)[0]
    assert body.extra[:, 1].max() > 0.001  # the skin below is darker


@pytest.mark.parametrize("seed", range(4))
def test_brows_and_lashes_are_where_they_belong(seed):
    rig, rest, posed, one = person(seed, style="bald", beard="none")
    left, right, lash_left, lash_right = hair(rig, rest, posed, one, np.random.default_rng(0))
    for piece, curve in ((left, "brow_lower_left"), (right, "brow_lower_right"), (lash_left, "lash_upper_left")):
        assert KDTree(rig.curve(curve, posed.points)).query(piece.points)[0].max() < 0.02
    assert len(lash_right.points) == len(lash_left.points)


@pytest.mark.parametrize(("style", "most"), [("short", 8), ("bob", 8), ("long", 8), ("ponytail", 8), ("bun", 8), ("curly", 20)])
def test_normals_of_hair_are_those_of_its_own_triangles(style, most):
    """Depth and normals are of one surface, the bands: degrees by which half of the triangles of all hair differ at most."""
    found = []
    for one in grown(6, style=style, beard="none"):
        corners = one.points[one.faces].astype(float)
        flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        smooth = one.normals[one.faces].mean(1)
        size = np.linalg.norm(flat, axis=1) * np.linalg.norm(smooth, axis=1)
        found.append(np.abs((flat * smooth).sum(1)) / np.maximum(size, 1e-12))
    assert np.degrees(np.arccos(np.clip(np.median(np.concatenate(found)), 0, 1))) < most


def test_hair_turns_with_its_wearer():
    rig, rest, posed, one = person(1, style="long", beard="full")
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    turned = Posed(posed.points @ turn.T, np.einsum("ij,bjk->bik", turn, posed.bones))
    for a, b in zip(hair(rig, rest, posed, one, np.random.default_rng(0)), hair(rig, rest, turned, one, np.random.default_rng(0))):
        assert np.percentile(np.abs(a.points @ turn.T - b.points), 99) < 2e-3


@pytest.mark.parametrize("hat", ["cap", "beanie", "brim"])
@pytest.mark.parametrize("style", ["long", "curly", "short", "bun"])
def test_a_hat_covers_the_hair_below_it(hat, style):
    rig, rest, posed, one = person(2, hat=hat, style=style, beard="none")
    crown = accessories(rig, rest, posed, one, np.random.default_rng(0))[0]
    strands = hair(rig, rest, posed, one, np.random.default_rng(0))
    assert (crown.part == PART["Apparel"]).all()
    part = rig.part("body")
    skull = part.matrix @ posed.points
    normals = vertex_normals(skull, part.faces)
    inside = part.matrix @ hat_field(rig) > 0.025
    points, normals = skull[inside], normals[inside]
    seen = met([crown, *strands], points + 0.2 * normals, -normals)
    assert (seen == PART["Apparel"]).mean() > 0.97


@pytest.mark.parametrize("glasses", ["round", "square", "sun"])
@pytest.mark.parametrize("seed", range(3))
def test_glasses_are_before_the_eyes_and_reach_the_ears(glasses, seed):
    rig, rest, posed, one = person(seed, glasses=glasses)
    points = of_part(accessories(rig, rest, posed, one, np.random.default_rng(0)), "Eyeglass")
    head = posed.bones[rig.bone("head")]
    local = (points - head[:, 3]) @ head[:, :3]
    for side in ("left", "right"):
        iris = (rig.curve(f"iris_{side}", posed.points)[0] - head[:, 3]) @ head[:, :3]
        beside = np.abs(local[:, 0] - iris[0]) < 0.01
        assert local[beside, 1].max() < iris[1] + 0.004  # between the viewer and the eye
        assert KDTree(points).query(rig.curve(f"ear_{side}", posed.points))[0].min() < 0.015


@pytest.mark.parametrize("bag", ["backpack", "shoulder"])
@pytest.mark.parametrize("seed", range(3))
def test_a_bag_is_close_to_the_body_and_its_strap_is_cloth_on_the_shoulder(bag, seed):
    rig, rest, posed, one = person(seed, bag=bag)
    (box,) = accessories(rig, rest, posed, one, np.random.default_rng(0))
    pieces = dress(rig, rest, posed, one, np.random.default_rng(0), levels=1)
    assert len(of_part(pieces, "Apparel"))
    assert KDTree(posed.points).query(box.points)[0].min() < 0.08


def test_strands_keep_out_of_solids_and_keep_their_length():
    ball = solid(np.zeros(3), np.array([0, 0, 1.0]), 0.1, 0.1)
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(200, 3))
    roots *= 0.1 / np.linalg.norm(roots, axis=1, keepdims=True)
    lines = grow(roots, roots / 0.1, np.full(200, 0.3), 10, solids=[ball], gravity=1.0)
    assert np.linalg.norm(lines[:, 1:], axis=2).min() > 0.099
    assert (np.linalg.norm(np.diff(lines, axis=1), axis=2).sum(1) < 0.3 * 1.31).all()
    assert lines[:, -1, 2].mean() < -0.1  # they hang


def test_combed_strands_lie_as_high_as_told():
    x, y = np.meshgrid(np.linspace(-1, 1, 60), np.linspace(-1, 1, 60))
    flat = np.stack([x.ravel(), y.ravel(), np.zeros(3600)], 1)
    up = np.tile([0.0, 0, 1], (3600, 1))
    roots = np.array([[0.0, 0, 0], [0.2, 0.1, 0]])
    ways = np.array([[1.0, 0, 0.3], [0, 1, -0.2]])
    lines = comb(roots, ways, np.full(2, 0.5), np.full((2, 4), 0.01), flat, up)
    assert lines[:, 1:, 2] == pytest.approx(0.01)


def test_ribbons_lie_flat_and_taper():
    lines = np.stack([np.linspace([0, 0, 0], [0, 0, -1.0], 5)])
    outward = np.broadcast_to([0, -1.0, 0], lines.shape)
    band = ribbons(lines, outward, 0.1, "Hair", person(0)[3].hair.colour, np.ones(1))
    assert np.ptp(band.points[:, 1]) == 0
    assert np.ptp(band.points[:2, 0]) == pytest.approx(0.1)
    assert np.ptp(band.points[-2:, 0]) == pytest.approx(0.025)
