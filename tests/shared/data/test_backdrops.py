"""Do people stay who they are when the place behind them changes?"""

import cv2
import numpy as np
import pytest

from shared.data.backdrops import Backdrops
from shared.data.stream import Stream
from shared.data.wanted import Wanted

RED, GREEN, BLUE = (200, 30, 30), (30, 180, 40), (20, 30, 220)


@pytest.fixture
def green_photos(tmp_path):
    """A folder with one green photo, larger than any sample here, whose middle half is blue."""
    photo = np.full((80, 120, 3), GREEN, np.uint8)
    photo[:, 30:90] = BLUE
    cv2.imwrite(str(tmp_path / "green.png"), photo[..., ::-1])
    return str(tmp_path)


@pytest.fixture
def red_person():
    """A red square before grey, with half a pixel of both at its outline: image, seg, alpha."""
    alpha = np.zeros((40, 30), np.float32)
    alpha[10:30, 8:22] = 0.5
    alpha[11:29, 9:21] = 1
    image = (alpha[..., None] * RED + (1 - alpha[..., None]) * 128).round().astype(np.uint8)
    return {"image": image, "seg": (alpha > 0).astype(np.uint8), "alpha": alpha}


def anywhere(**options):
    return Backdrops(**{"share": 1.0, "harmony": 0.0, **options})


def test_people_stay_and_the_place_changes(red_person, green_photos):
    seen = anywhere(photos=green_photos, borders=0.25)(red_person, np.random.default_rng(0))
    assert (seen[11:29, 9:21] == RED).all()
    assert (seen[red_person["alpha"] == 0] == GREEN).all()


def test_an_edge_keeps_nothing_of_the_old_place(red_person, green_photos):
    seen = anywhere(photos=green_photos, borders=0.25)(red_person, np.random.default_rng(0))
    assert np.abs(seen[10, 12:18].astype(float) - (np.array(RED) + GREEN) / 2).max() <= 1  # half red, half green, no grey


def test_without_borders_the_middle_of_a_photo_is_seen_too(red_person, green_photos):
    places = [anywhere(photos=green_photos)(red_person, np.random.default_rng(seed)) for seed in range(8)]
    assert any((place[0] == BLUE).all(-1).any() for place in places)


def test_without_alpha_the_classes_say_who_is_there(red_person, green_photos):
    del red_person["alpha"]
    seen = anywhere(photos=green_photos, borders=0.25)(red_person, np.random.default_rng(0))
    assert (seen[red_person["seg"] == 0] == GREEN).all()
    assert (seen[11:29, 9:21] == RED).all()


def test_what_nobody_knows_stays(red_person, green_photos):
    del red_person["alpha"]
    red_person["seg"][0] = 255
    seen = anywhere(photos=green_photos)(red_person, np.random.default_rng(0))
    assert (seen[0] == red_person["image"][0]).all()


def test_a_sample_that_does_not_tell_people_from_places_stays(red_person, green_photos):
    only = {"image": red_person["image"]}
    assert (anywhere(photos=green_photos)(only, np.random.default_rng(0)) == only["image"]).all()


def test_without_photos_the_place_is_one_colour(red_person):
    seen = anywhere()(red_person, np.random.default_rng(0))
    assert len(np.unique(seen[red_person["alpha"] == 0], axis=0)) == 1
    assert (seen[0, 0] != red_person["image"][0, 0]).any()


def test_the_share_says_how_often(red_person):
    half = Backdrops(share=0.5, harmony=0.0)
    changed = [(half(red_person, np.random.default_rng(seed))[0, 0] != 128).any() for seed in range(200)]
    assert 0.4 < np.mean(changed) < 0.6
    assert not any((Backdrops(share=0.0)(red_person, np.random.default_rng(seed))[0, 0] != 128).any() for seed in range(20))


def test_harmony_brings_the_place_to_the_old_brightness(red_person, green_photos):
    far, near = (
        np.mean([Backdrops(green_photos, share=1, harmony=h)(red_person, np.random.default_rng(s))[0] for s in range(20)])
        for h in (0.0, 1.0)
    )
    assert abs(near - 128) < abs(far - 128)


def test_the_same_chance_gives_the_same_picture(red_person, green_photos):
    one, two = (Backdrops(green_photos)(red_person, np.random.default_rng(5)) for _ in range(2))
    assert (one == two).all()


def test_a_stream_puts_people_before_other_places(small_shards):
    wanted, size = Wanted({"depth": None}), (32, 24)
    plain, moved = (Stream(small_shards, size=size, wanted=wanted, backdrops=b) for b in (None, anywhere()))
    assert set(plain[0]) == set(moved[0])  # what it looked at to do so does not go to the model
    known = plain[0]["depth"].isfinite()
    assert (plain[0]["image"] == moved[0]["image"])[:, known].float().mean() > 0.8  # all but outlines
    assert (plain[0]["image"] != moved[0]["image"])[:, ~known].float().mean() > 0.5


def test_a_folder_without_photos_is_named(tmp_path, red_person):
    with pytest.raises(ValueError, match=str(tmp_path)):
        anywhere(photos=str(tmp_path))(red_person, np.random.default_rng(0))
