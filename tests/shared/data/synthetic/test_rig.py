"""The rig: adults only, skinning that is rigid where it must be, and fields where they belong."""

import numpy as np
import pytest

from shared.data.synthetic import rig as rig_module
from shared.data.synthetic.anchors import mirrored
from shared.data.synthetic.bake import HEIGHT, Drawn, again, folded, grown, save
from shared.data.synthetic.limbs import turn
from shared.data.synthetic.regions import REGIONS, eyes
from shared.data.synthetic.rig import ADULT, FILE, Rig, read

RIG = Rig.load()
SKIN = np.unique(RIG.quads["body"])


def tall(points):
    return np.ptp(points[SKIN, 2])


def heads_tall(points):
    """How many heads, from the chin to the crown, a body is tall: about 4 at one year, 6 at ten, 7 to 8 grown up."""
    return tall(points) / (points[SKIN, 2].max() - RIG.curve("chin", points)[0, 2])


def test_only_adults_are_in_the_file():
    with np.load(FILE) as file:
        assert file["facts"][:, 1].min() >= ADULT
    for coefficients in RIG.adults[::7]:
        height = tall(RIG.mean + np.tensordot(coefficients, RIG.basis.astype(float), 1))
        assert HEIGHT[0] - 0.01 < height < HEIGHT[1] + 0.01


@pytest.mark.parametrize("seed", range(25))
def test_everybody_drawn_is_an_adult_with_an_adults_proportions(seed):
    somebody = RIG.adult(np.random.default_rng(seed))
    rest, heads = RIG.rest(somebody)
    assert ADULT <= somebody.age <= 1
    assert 0 <= somebody.gender <= 1
    np.testing.assert_allclose(somebody.ancestry.sum(), 1)
    assert 1.4 < tall(rest) < 2.1
    assert heads_tall(rest) > 6.3
    assert abs(rest[SKIN, 2].min()) < 0.01
    assert heads.shape == (len(RIG.bones), 3)


def test_an_identity_lies_between_adults():
    somebody = RIG.adult(np.random.default_rng(3))
    distances = np.linalg.norm(RIG.adults - somebody.coefficients, axis=1)
    assert distances.min() <= rig_module.BLEND * np.linalg.norm(RIG.adults[:, None] - RIG.adults[None], axis=2).max()


def test_baking_drops_children_and_giants():
    rng = np.random.default_rng(0)
    rest = rng.uniform(0, 1, (6, 9, 3)).astype(np.float32)
    rest[:, 0, 2], rest[:, 1, 2] = 0.2, [1.9, 1.9, 1.9, 2.6, 1.2, 2.0]
    ages = [0.9, 0.3, 0.5, 0.9, 0.9, 0.7]
    facts = np.stack([np.full(6, 0.5), ages, *np.full((3, 6), 1 / 3)], 1).astype(np.float32)
    kept = grown(Drawn(rest, rest[:, :2].copy(), facts), np.arange(2))
    np.testing.assert_allclose(kept.facts[:, 1], [0.9, 0.7])
    np.testing.assert_allclose(kept.rest[:, 0, 2], 0, atol=1e-6)
    with pytest.raises(ValueError, match="draw more"):
        grown(Drawn(rest[1:3], rest[1:3, :2], facts[1:3]), np.arange(2))


def test_folding_gives_back_the_people_folded():
    rng = np.random.default_rng(1)
    directions = rng.normal(0, 0.05, (3, 20, 3))
    people = rng.normal(size=(12, 3)) @ directions.reshape(3, -1)
    people = people.reshape(12, 20, 3).astype(np.float32)
    kept = folded(Drawn(people[:, :15], people[:, 15:], np.zeros((12, 5), np.float32)), 3)
    again = kept["mean"] + np.tensordot(kept["adults"].astype(float), kept["basis"].astype(float) / 1000, 1)
    np.testing.assert_allclose(again, people[:, :15], atol=2e-3)


def test_baking_again_keeps_the_people_and_finds_the_same_curves(tmp_path):
    pytest.importorskip("embreex")
    save(tmp_path / "rig.npz", *again(FILE))
    baked = read(tmp_path / "rig.npz")
    np.testing.assert_allclose(baked.mean, RIG.mean, atol=2e-3)
    assert baked.adults.shape[1] == RIG.adults.shape[1]
    assert list(baked.anchors) == list(RIG.anchors)
    for name in RIG.anchors:
        np.testing.assert_allclose(baked.curve(name), RIG.curve(name), atol=3e-3, err_msg=name)


def test_the_pose_of_nothing_is_the_rest_pose():
    rest, heads = RIG.rest(RIG.adult(np.random.default_rng(0)))
    posed = RIG.pose(rest, heads, {})
    np.testing.assert_allclose(posed.points, rest, atol=2e-6)
    np.testing.assert_allclose(posed.bones, np.broadcast_to(np.eye(3, 4), posed.bones.shape))
    still = RIG.pose(rest, heads, {bone: np.eye(3) for bone in RIG.bones})
    np.testing.assert_allclose(still.points, rest, atol=2e-6)


def test_turning_the_root_turns_all_alike():
    rest, heads = RIG.rest(RIG.adult(np.random.default_rng(1)))
    bent = {"upperarm01.L": turn(np.array([0, 1.0, 0]), 0.7), "spine02": turn(np.array([1.0, 0, 0]), 0.4)}
    turned, shift = turn(np.array([0.2, -0.4, 1]), 1.1), np.array([3.0, -2, 0.5])
    plain = RIG.pose(rest, heads, bent).points
    placed = RIG.pose(rest, heads, bent, np.concatenate([turned, shift[:, None]], 1)).points
    np.testing.assert_allclose(placed, plain @ turned.T + shift, atol=2e-5)
    np.testing.assert_allclose(RIG.pose(rest, heads, bent, turned).points, plain @ turned.T, atol=2e-5)


def test_a_turned_bone_moves_what_hangs_on_it_and_nothing_else():
    moved = RIG.pose(RIG.mean, RIG.heads_mean, {"lowerarm01.L": turn(np.array([1.0, 0, 0]), 0.8)}).points - RIG.mean
    far = np.linalg.norm(moved, axis=1)
    assert far[RIG.region == "Left_Hand"].min() > 0.01
    assert far[RIG.region == "Right_Hand"].max() < 1e-5
    assert far[RIG.region == "Face_Neck"].max() < 1e-5
    hand = RIG.weights[:, RIG.bone("wrist.L")].toarray().ravel() > 0.999
    before, after = RIG.mean[hand], (RIG.mean + moved)[hand]
    apart = np.linalg.norm(before[:1] - before, axis=1)
    np.testing.assert_allclose(np.linalg.norm(after[:1] - after, axis=1), apart, atol=1e-5)


def test_expressions_move_the_face_only():
    somebody = RIG.adult(np.random.default_rng(2))
    plain, _ = RIG.rest(somebody)
    changed, _ = RIG.rest(somebody, {"jawOpen": 1.0, "mouthSmileLeft": 0.5})
    moved = np.linalg.norm(changed - plain, axis=1)
    assert moved[RIG.region != "Face_Neck"].max() < 1e-3
    assert RIG.curve("lip_lower_inner", changed)[4, 2] < RIG.curve("lip_lower_inner", plain)[4, 2] - 0.005


def test_unknown_names_are_refused_in_sentences():
    somebody = RIG.adult(np.random.default_rng(0))
    with pytest.raises(ValueError, match="no expression 'scowl'"):
        RIG.rest(somebody, {"scowl": 1.0})
    with pytest.raises(ValueError, match=r"no bone 'tail'"):
        RIG.pose(RIG.mean, RIG.heads_mean, {"tail": np.eye(3)})
    with pytest.raises(ValueError, match="no part 'wing'"):
        RIG.part("wing")
    with pytest.raises(FileNotFoundError, match="ships with the project"):
        read(FILE.with_name("nowhere.npz"))


@pytest.mark.parametrize("name", rig_module.LEVELS)
def test_every_part_is_a_map_of_the_mesh(name):
    part = RIG.part(name)
    np.testing.assert_allclose(np.asarray(part.matrix.sum(1)).ravel(), 1, atol=1e-5)
    assert part.matrix.shape == (part.faces.max() + 1, len(RIG.mean))
    fine, coarse = part.matrix @ RIG.mean, RIG.mean[np.unique(RIG.quads[name])]
    assert (fine.min(0) >= coarse.min(0) - 1e-6).all()
    assert (fine.max(0) <= coarse.max(0) + 1e-6).all()
    assert RIG.part(name) is part


def test_faces_of_the_skin_look_outward():
    part = RIG.part("body", 0)
    points = part.matrix @ RIG.mean
    a, b, c = (points[part.faces[:, k]] for k in range(3))
    assert (a * np.cross(b, c)).sum() / 6 > 0.04  # the volume, m3, of a closed surface seen from outside


def test_regions_and_limbs_lie_on_their_side():
    x, z = RIG.mean[:, 0], RIG.mean[:, 2]
    for name in REGIONS[2:]:
        on = x[SKIN][RIG.region[SKIN] == name]
        assert len(on) > 100
        assert ((on > -0.01) if name.startswith("Left") else (on < 0.01)).all()
    np.testing.assert_allclose(RIG.shares.sum(1), 1, atol=1e-5)
    hand, foot = RIG.region == "Left_Hand", RIG.region == "Right_Foot"
    assert RIG.limb_t[0][hand & (RIG.nails > 0.5)].min() > 2
    assert (RIG.limb_t[1][hand] == -1).all()
    assert RIG.limb_u[1][foot & (z < 0.03)].min() > 1.7


def test_painted_fields_lie_on_the_head_and_hands():
    middle = eyes(RIG)
    for field in (RIG.lips, RIG.ears, RIG.mouth, RIG.blush, RIG.lower_lip):
        assert 0 <= field.min() <= field.max() <= 1
        assert (field > 0.5).sum() > 20
        assert (np.linalg.norm(RIG.mean[field > 0.5] - middle, axis=1) < 0.2).all()
    assert (RIG.lower_lip[RIG.lips > 0.5] > 0.5).mean() == pytest.approx(0.5, abs=0.2)
    assert set(RIG.region[RIG.nails > 0.5]) == {"Left_Hand", "Right_Hand"}
    crown = SKIN[RIG.mean[SKIN, 2].argmax()]
    assert RIG.scalp[crown] > 0.05
    assert (RIG.scalp[RIG.lips > 0.5] < 0).all()


def test_curves_of_the_right_are_those_of_the_left_in_a_mirror():
    for name in RIG.anchors:
        if name.endswith("_left"):
            right = RIG.curve(name[:-5] + "_right") * (-1, 1, 1)
            np.testing.assert_allclose(right, RIG.curve(name), atol=1.5e-3, err_msg=name)
        vertices, weights = RIG.anchors[name]
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-4)
        assert set(np.unique(vertices)) <= set(np.flatnonzero(mirrored(RIG) >= 0))


def test_the_file_is_small_and_says_whose_it_is():
    assert FILE.stat().st_size < 7_000_000
    words = FILE.with_name("rig.LICENSE.txt").read_text()
    assert all(owner in words for owner in ("CC0", "MakeHuman", "Mika Suominen", "NAVER", "Apache"))
