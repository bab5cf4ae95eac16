"""Close views: who is small in a picture is seen better, borders do not show, and where nothing is gained nothing changes."""

from functools import partial

import cv2
import numpy as np
import pytest

from shared import builtin
from shared.infer.modes import MODES, close_views
from shared.infer.predictor import Predictor

SIZE = (192, 144)
load = partial(Predictor.load, device="cpu", only=["seg", "depth", "normal"])


@pytest.fixture(scope="module", autouse=True)
def _there():
    if not builtin.MODEL.is_file():
        pytest.skip("the built-in model was left out of this checkout")


@pytest.fixture(scope="module")
def small(person):
    """Somebody in a corner of a large grey picture: the picture, the parts and the box, all in its pixels."""
    image, seg = np.full((960, 720, 3), 128, np.uint8), np.zeros((960, 720), np.uint8)
    image[600:856, 450:642], seg[600:856, 450:642] = person["image"], person["seg"]
    return image, seg, person["box"] + np.array([450, 600, 450, 600], np.float32)


def test_a_small_person_is_seen_better_in_a_view_of_their_own(small):
    image, seg, box = small
    found = {mode: load(mode=mode)(image, boxes=box[None])["seg"] for mode in ("whole", "people", "auto")}
    here = (slice(600, 856), slice(450, 642))  # the picture of them; what the model makes of plain grey is not the question
    wrong = {mode: np.mean((seg[here] > 0) != (answer[here] > 0)) for mode, answer in found.items()}
    assert wrong["people"] < 0.5 * wrong["whole"]
    assert np.array_equal(found["auto"], found["people"])
    assert np.array_equal(found["people"][:500, :400], found["whole"][:500, :400])  # where no view of them reaches


@pytest.mark.parametrize(
    ("mode", "hw", "boxes"),
    [
        ("people", (960, 720), np.zeros((0, 4))),  # nobody
        ("people", (960, 720), None),  # nobody knows
        ("people", (960, 720), np.array([[0, 0, 720, 960.0]])),  # somebody who fills the picture
        ("auto", (960, 720), None),
        ("whole", (960, 720), np.array([[0, 0, 100, 100.0]])),
        ("tiles", (192, 144), None),
        ("tiles", (90, 144), None),
        ("tiles", (1, 1), None),
    ],
)
def test_where_nothing_is_gained_there_are_no_close_views(mode, hw, boxes):
    assert close_views(mode, hw, SIZE, boxes) == []


def test_a_tile_shows_no_more_than_the_pixels_and_no_more_than_the_zoom():
    assert {round(tile.view.scale, 6) for tile in close_views("tiles", (400, 300), SIZE, None)} == {1.0}
    assert {round(tile.view.scale, 6) for tile in close_views("tiles", (1920, 1440), SIZE, None, zoom=3)} == {0.3}


def test_a_picture_that_one_tile_sees_is_answered_as_a_whole(person):
    image = np.ascontiguousarray(person["image"][:192, :144])
    whole, tiled = (load(mode=mode)(image) for mode in ("whole", "tiles"))
    assert all(np.array_equal(whole[name], tiled[name]) for name in whole)


def test_no_seam_shows_where_tiles_meet(person):
    """Answers change as much from pixel to pixel across the places where a tile begins or ends as they do elsewhere."""
    image = cv2.resize(person["image"], (576, 768), interpolation=cv2.INTER_CUBIC)
    hw = image.shape[:2]
    tiles = close_views("tiles", hw, SIZE, None, zoom=2)
    assert len(tiles) > 4
    answers = load(mode="tiles", zoom=2)(image)
    borders = sorted({round(edge) for tile in tiles for edge in (tile.sides[1], tile.sides[3]) if 1 < edge < hw[0] - 2})
    for name in ("depth", "normal"):
        change = np.abs(np.diff(answers[name], axis=0)).reshape(hw[0] - 1, -1).mean(1)
        across = np.mean([change[border - 1 : border + 2].mean() for border in borders])
        assert across < 1.15 * change.mean()


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_answers_every_task_at_the_picture_s_size(small, mode):
    image, _, box = small
    answers = Predictor.load(device="cpu", mode=mode, zoom=1.5)(image, boxes=box[None])
    assert answers["seg"].shape == answers["depth"].shape == image.shape[:2]
    assert np.allclose(np.linalg.norm(answers["normal"], axis=-1), 1, atol=1e-4)
    assert answers["pose"].shape == (1, 308, 3)


def test_modes_that_there_are_not_or_that_change_nothing_are_sentences():
    with pytest.raises(ValueError, match="there is no mode 'tile'; choose one of whole, people"):
        load(mode="tile")
    with pytest.raises(ValueError, match=r"the zoom 0\.5 of tiles is less than 1"):
        load(mode="tiles", zoom=0.5)
    with pytest.raises(ValueError, match="the mode tiles is for parts, relative depth and normals"):
        Predictor.load(device="cpu", only=["pose"], mode="tiles")
