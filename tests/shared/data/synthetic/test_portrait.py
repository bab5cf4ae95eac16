"""Do all fields of a picture of people tell the same story?"""

import cv2
import numpy as np
import pytest

from shared.data.codec import encode
from shared.data.fields import CORE, EXTRA, FIELDS
from shared.data.places import Places
from shared.data.synthetic import NAMES, person, samples
from shared.data.synthetic.backdrop import SHARES as BACKDROPS
from shared.data.synthetic.camera import NEAREST, SHOTS
from shared.data.synthetic.mesh import PART
from shared.data.synthetic.people import figure
from shared.data.synthetic.portrait import look, point_map, sample, setting

HW = (128, 96)
SEEDS = range(10)
COVER = ("Upper_Clothing", "Lower_Clothing")


@pytest.fixture(scope="module")
def views(doll, embree):
    """Settings and views of dolls in every shot."""
    made = [setting((1, seed), shot=shot, make=doll) for seed in range(5) for shot in SHOTS]
    return [(what, look(what, HW)) for what in made]


@pytest.fixture(scope="module")
def people(embree):
    """Samples of the rig's people."""
    return [person((3, seed), HW) for seed in SEEDS]


def test_maps_agree_where_people_are(views):
    for _, view in views:
        on = view.maps.person >= 0
        assert ((view.maps.part > 0) == on).all()
        assert np.isfinite(view.maps.depth[on]).all()
        assert np.isfinite(view.maps.normal[on]).all()
        assert (view.maps.alpha[on] > 0).mean() > 0.9
        assert (view.maps.alpha[cv2.erode(on.astype(np.uint8), np.ones((3, 3))) > 0] > 0.6).mean() > 0.99


def test_boxes_are_the_outer_edges_of_masks(views):
    for what, view in views:
        for number in range(len(what.people)):
            rows, columns = np.nonzero(view.maps.person == number)
            if len(rows):
                edges = [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]
                assert view.boxes[number] == pytest.approx(edges)
            else:
                assert np.isnan(view.boxes[number]).all()


def test_the_camera_keeps_away_from_everybody(views):
    for what, _ in views:
        for one in what.people:
            points = np.concatenate([piece.points for piece in one.pieces])
            assert np.linalg.norm(points - what.camera.position, axis=1).min() > NEAREST - 0.06


def test_visible_points_lie_on_their_person(views):
    count = 0
    for what, view in views:
        for number in range(len(what.people)):
            x, y, seen = view.keypoints[number].T
            mask = cv2.dilate((view.maps.person == number).astype(np.uint8), np.ones((3, 3)))
            for column, row in zip(np.round(x[seen > 0]).astype(int), np.round(y[seen > 0]).astype(int)):
                assert mask[row, column]
                count += 1
    assert count > 20


def test_the_depth_of_a_point_is_near_that_of_what_is_seen_there(views):
    for what, view in views:
        for number, one in enumerate(what.people):
            for (x, y, seen), (_, _, z), allowed in zip(view.keypoints[number], view.points[number], one.tolerance):
                row, column = round(float(np.nan_to_num(y))), round(float(np.nan_to_num(x)))
                if seen and view.maps.person[row, column] == number:
                    assert z - view.maps.depth[row, column] < allowed + 0.1


def test_an_undefined_point_is_unknown(views):
    for _, view in views:
        assert (view.keypoints[:, 3, 2] == 0).all()
        assert np.isnan(view.points[:, 3]).all()
        assert np.isfinite(sample(view)["keypoints"]).all()


def test_the_point_map_projects_back_onto_its_pixels(views):
    _, view = views[0]
    fx, fy, cx, cy = view.intrinsics
    points = point_map(view)
    known = np.isfinite(points[..., 2])
    row, column = np.nonzero(known)
    assert points[known][:, 0] / points[known][:, 2] * fx + cx == pytest.approx(column, abs=1e-2)
    assert points[known][:, 1] / points[known][:, 2] * fy + cy == pytest.approx(row, abs=1e-2)


def test_people_in_a_group_do_not_touch(doll):
    what = setting(11, shot="group", make=doll)
    assert 2 <= len(what.people) <= 4
    clouds = [np.concatenate([piece.points for piece in one.pieces]) for one in what.people]
    for number, one in enumerate(clouds):
        for other in clouds[:number]:
            assert np.sqrt(((one[::5, None] - other[None, ::5]) ** 2).sum(-1)).min() > 0.01


@pytest.mark.usefixtures("embree")
@pytest.mark.parametrize("kind", BACKDROPS)
def test_no_backdrop_touches_or_swallows_the_people(doll, kind):
    for seed in range(3):
        what = setting((5, seed), shot="full", make=doll, kind=kind)
        assert what.backdrop.kind == kind
        seen = look(what, HW).maps
        assert (seen.person >= 0).sum() > 40
        assert (seen.depth[seen.person >= 0] > NEAREST - 0.1).all()


@pytest.mark.usefixtures("embree")
def test_a_photo_can_stand_behind_people(doll, tmp_path):
    cv2.imwrite(str(tmp_path / "photo.png"), np.full((60, 80, 3), (0, 0, 255), np.uint8))
    kinds = []
    for seed in range(8):
        what = setting(seed, make=doll, photos=Places(tmp_path))
        kinds.append(what.backdrop.kind)
        if what.backdrop.kind == "photo":
            maps = look(what, HW).maps
            off = maps.alpha == 0
            assert not off.any() or (maps.behind[off][:, 0] > 3 * maps.behind[off][:, 2]).all()
    assert "photo" in kinds
    assert set(kinds) != {"photo"}


@pytest.mark.usefixtures("embree")
def test_chunks_change_no_picture(doll):
    what = setting(4, make=doll)
    whole, parts = look(what, HW), look(what, HW, chunk=1000)
    assert np.array_equal(whole.image, parts.image)
    assert np.array_equal(whole.maps.depth, parts.maps.depth)


def test_an_unknown_shot_is_refused_in_a_sentence(doll):
    with pytest.raises(ValueError, match="there is no shot 'feet'; there are mix, full"):
        setting(0, shot="feet", make=doll)


def test_a_person_has_every_field_in_its_type_and_shape(people):
    for one in people:
        assert set(one) == {*CORE, *EXTRA}
        for name, field in ((name, FIELDS[name]) for name in one):
            assert one[name].dtype == field.dtype
        assert one["keypoints"].shape == (len(NAMES["keypoints"]), 3)
        assert one["seg"].max() < len(NAMES["seg"])
        assert encode(one)


def test_background_has_neither_depth_nor_normal(people):
    for one in people:
        assert ((one["seg"] == 0) == np.isnan(one["depth"])).all()
        assert ((one["seg"] == 0) == np.isnan(one["normal"]).any(-1)).all()


@pytest.mark.usefixtures("embree")
@pytest.mark.parametrize(("shot", "part", "degrees"), [("face", "Face_Neck", 5), ("upper", "Upper_Clothing", 8)])
def test_normals_of_skin_and_cloth_are_the_slope_of_their_depth(shot, part, degrees):
    """Smooth normals stand on flat faces, so the two differ by as much as a face differs from its neighbours; hair is exempt."""
    one = person((8, 1), (384, 288), shot=shot)
    fx, fy, cx, cy = one["intrinsics"].astype(float)
    z = one["depth"].astype(float)
    points = np.stack([(np.arange(288) - cx) / fx * z, (np.arange(384)[:, None] - cy) / fy * z, z], -1)
    across = np.cross(points[1:-1, 2:] - points[1:-1, :-2], points[:-2, 1:-1] - points[2:, 1:-1]) * (1, -1, -1)
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    angle = np.degrees(np.arccos(np.clip((across * one["normal"][1:-1, 1:-1]).sum(-1), -1, 1)))
    inside = cv2.erode((one["seg"] == PART[part]).astype(np.uint8), np.ones((7, 7)))[1:-1, 1:-1] > 0
    assert inside.sum() > 500
    assert np.nanmedian(angle[inside]) < degrees
    assert np.nanpercentile(angle[inside], 80) < 3 * degrees


@pytest.mark.usefixtures("embree")
@pytest.mark.parametrize("seed", range(4))
def test_a_look_at_a_hand_shows_one_large_and_whole(seed):
    one = person((12, seed), (96, 72), shot="hand")
    area = [(one["seg"] == PART[f"{side}_Hand"]).mean() for side in ("Left", "Right")]
    side = ("left", "right")[int(np.argmax(area))]
    fingers = [i for i, name in enumerate(NAMES["keypoints"]) if name.startswith(side) and ("finger" in name or "thumb" in name)]
    assert max(area) > 0.03
    assert one["keypoints"][fingers, 2].mean() > 0.4


@pytest.mark.usefixtures("embree")
def test_nobody_has_a_face_from_behind():
    front = [NAMES["keypoints"].index(name) for name in ("nose", "l_center_of_iris", "r_center_of_iris", "center_of_cupid_bow")]
    tried = 0
    for seed in ((9, 29), (9, 38)):
        what = setting(seed, shot="full")
        if what.people[0].ahead["face"] @ what.camera.rotation[2] > 0.5:
            tried += 1
            points = look(what, (64, 48)).keypoints[0]
            assert points[:, 2].any()
            assert not points[front, 2].any()
    assert tried


def test_who_sits_has_something_to_sit_on():
    drawn = [figure(np.random.default_rng(seed), "full") for seed in range(14)]
    seated = [one for one in drawn if str(one.facts["pose"]).startswith("sitting")]
    assert seated
    for one in seated:
        top = max(float(thing.points[:, 2].max()) for thing in one.things)
        assert 0.15 < top < 1.3
    assert all(not one.things for one in drawn if not str(one.facts["pose"]).startswith("sitting"))


def test_people_stand_on_the_ground():
    for seed in range(4):
        one = figure(np.random.default_rng(seed), "full")
        assert min(float(piece.points[:, 2].min()) for piece in one.pieces) == pytest.approx(0, abs=1e-4)
        assert np.isfinite(one.keypoints).all(1).mean() > 0.95


def test_everybody_is_clothed(people):
    wholly = [one for one in people if (one["seg"] > 0).mean() > 0.05]
    ids = [PART[name] for name in COVER]
    assert sum(np.isin(one["seg"], ids).sum() > 0.1 * (one["seg"] > 0).sum() for one in wholly) >= 0.7 * len(wholly)


@pytest.mark.usefixtures("embree")
def test_the_same_seed_shows_the_same_people_at_every_size():
    small, large = person(6, (64, 48)), person(6, (128, 96))
    seen = (small["keypoints"][:, 2] > 0) & (large["keypoints"][:, 2] > 0)
    assert 2 * small["keypoints"][seen, :2] + 0.5 == pytest.approx(large["keypoints"][seen, :2], abs=1e-2)
    assert 2 * small["intrinsics"][:2] == pytest.approx(large["intrinsics"][:2])
    shrunk = cv2.resize(large["image"], (48, 64), interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(shrunk - small["image"]).mean() < 25


@pytest.mark.usefixtures("embree")
def test_the_same_seed_gives_the_same_bytes_and_another_one_others():
    assert encode(person((2, 5), (48, 36))) == encode(person((2, 5), (48, 36)))
    assert encode(person((2, 5), (48, 36))) != encode(person((2, 6), (48, 36)))


@pytest.mark.usefixtures("embree")
def test_numbers_do_not_depend_on_where_one_starts():
    all_, late = dict(samples(3, seed=1, hw=(32, 24))), dict(samples(3, seed=1, hw=(32, 24), start=2))
    assert list(all_) == ["000000", "000001", "000002"]
    assert list(late) == ["000002"]
    assert np.array_equal(all_["000002"]["image"], late["000002"]["image"])


@pytest.mark.usefixtures("embree")
@pytest.mark.slow
def test_workers_change_nothing():
    alone, together = (dict(samples(3, seed=1, hw=(32, 24), workers=n)) for n in (0, 2))
    assert all(encode(alone[key]) == encode(together[key]) for key in alone)
