"""Changes of colour: every option changes something, and nothing else changes with it."""

from dataclasses import fields, replace

import numpy as np
import pytest

from shared.data.photometric import Photometric

OFF = Photometric(brightness=0, contrast=0, saturation=0, hue=0, noise=0, blur=0, jpeg=100, probability=1.0)
CHANGES = {
    "brightness": 60.0,
    "contrast": 0.9,
    "saturation": 0.9,
    "hue": 40.0,
    "noise": 30.0,
    "blur": 4.0,
    "jpeg": 5,
    "shuffle": 1.0,
    "solarise": 1.0,
}


@pytest.fixture
def photo(person):
    return person["image"]


def seen(photometric, photo, seed=0):
    return photometric(photo, np.random.default_rng(seed)).astype(int)


def test_all_off_is_no_change(photo):
    assert np.abs(seen(OFF, photo) - photo).max() <= 1  # there and back through hue and saturation
    assert np.array_equal(seen(replace(Photometric(), probability=0.0), photo), photo)


@pytest.mark.parametrize("field", [f.name for f in fields(Photometric) if f.name != "probability"])
def test_every_option_changes_the_picture(photo, field):
    plain = seen(OFF, photo)
    differences = [
        np.abs(seen(replace(OFF, **{field: CHANGES[field]}), photo, seed) - seen(OFF, photo, seed)).mean() for seed in range(4)
    ]
    assert plain.shape == photo.shape
    assert max(differences) > 1


def test_channels_change_places_as_often_as_asked_and_every_way():
    pixel = np.array([[[10, 20, 30]]], np.uint8)
    made = [tuple(seen(replace(OFF, probability=0.0, shuffle=0.5), pixel, seed)[0, 0].tolist()) for seed in range(600)]
    assert set(made) == {(a, b, 60 - a - b) for a in (10, 20, 30) for b in (10, 20, 30) if a != b}
    assert made.count((10, 20, 30)) / 600 == pytest.approx(0.5 + 0.5 / 6, abs=0.06)


def test_the_upper_half_of_the_levels_is_inverted_as_often_as_asked():
    levels = np.array([[[0, 100, 127], [128, 200, 255]]], np.uint8)
    inverted = [[0, 100, 127], [127, 55, 0]]
    made = [seen(replace(OFF, probability=0.0, solarise=0.3), levels, seed)[0].tolist() for seed in range(300)]
    assert {str(pixels) for pixels in made} == {str(levels[0].tolist()), str(inverted)}
    assert made.count(inverted) / 300 == pytest.approx(0.3, abs=0.08)


def test_probability_is_how_often(photo):
    often = [
        not np.array_equal(seen(replace(Photometric(), probability=p), photo[:8, :8], s), photo[:8, :8])
        for p in (0.1,)
        for s in range(200)
    ]
    assert 0.2 < np.mean(often) < 0.6  # 1 - 0.9^6 is 0.47; some changes are too small to see
    assert not any(not np.array_equal(seen(replace(Photometric(), probability=0), photo, s), photo) for s in range(20))


def test_the_same_draw_is_the_same_picture(photo):
    assert np.array_equal(seen(Photometric(), photo, 3), seen(Photometric(), photo, 3))
    assert not np.array_equal(seen(Photometric(), photo, 3), seen(Photometric(), photo, 4))


def test_switching_one_change_off_leaves_the_others_as_they_were(photo):
    only_noise = replace(OFF, noise=30.0)
    with_brightness = replace(only_noise, brightness=10.0)
    grain = seen(only_noise, photo, 5) - seen(OFF, photo, 5)
    base = seen(replace(OFF, brightness=10.0), photo, 5)
    again = seen(with_brightness, photo, 5) - base
    middle = (base > 90) & (base < 160)
    assert np.array_equal(grain[middle & (seen(OFF, photo, 5) > 90)], again[middle & (seen(OFF, photo, 5) > 90)])


def test_the_photo_that_came_is_not_written_into(photo):
    before = photo.copy()
    for seed in range(10):
        Photometric(probability=1.0)(photo, np.random.default_rng(seed))
    assert np.array_equal(photo, before)


@pytest.mark.parametrize("hw", [(1, 1), (1, 9), (37, 53)])
@pytest.mark.parametrize("seed", range(4))
def test_any_picture_stays_a_picture(hw, seed):
    photo = np.random.default_rng(seed).integers(0, 256, (*hw, 3), dtype=np.uint8)
    made = Photometric(probability=1.0)(photo, np.random.default_rng(seed))
    assert (made.shape, made.dtype) == (photo.shape, np.uint8)


def test_grey_stays_grey_under_hue_and_saturation():
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    made = seen(replace(OFF, hue=90.0, saturation=0.9), grey, 1)
    assert np.ptp(made, axis=2).max() == 0


def test_channels_keep_their_order():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 220
    for seed in range(20):
        made = seen(Photometric(hue=5.0, probability=1.0), red, seed).mean((0, 1))
        assert made.argmax() == 0
