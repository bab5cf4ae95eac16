"""How people look: everybody is dressed, no two alike, nothing in a colour that a renderer cannot use."""

import numpy as np
import pytest

from shared.data.synthetic import looks
from shared.data.synthetic.dyes import cloth, dye
from shared.data.synthetic.looks import Bottom, Look, Top, look
from shared.data.synthetic.materials import DEFAULTS, PATTERNS
from shared.data.synthetic.mesh import Material


def drawn(seed: int, **traits: float) -> Look:
    return look(np.random.default_rng(seed), **traits)


def materials(value: object) -> list[Material]:
    """All materials in a Look."""
    if isinstance(value, Material):
        return [value]
    return [one for inner in vars(value).values() for one in materials(inner)] if hasattr(value, "__dict__") else []


def test_the_same_seed_dresses_the_same():
    first, second = drawn(3), drawn(3)
    assert first.top.sleeve == second.top.sleeve
    assert first.hair.style == second.hair.style
    assert (first.bottom.cloth.values["colour"] == second.bottom.cloth.values["colour"]).all()
    assert drawn(4).top.sleeve != first.top.sleeve


@pytest.mark.parametrize("feminine", [0.0, 0.5, 1.0])
def test_every_top_and_bottom_meets_the_least_that_is_covered(feminine):
    for seed in range(200):
        one = drawn(seed, feminine=feminine)
        assert one.bottom.leg >= looks.LEAST_LEG
        assert one.top.hem <= looks.WAIST - looks.LEAST_OVERLAP
        assert one.top.neck_drop <= looks.DEEPEST_NECK


def test_no_cut_can_ask_for_less_than_that():
    paint = cloth(np.random.default_rng(0))
    top = Top(-5, 3.0, 0.05, -1.0, 9.0, 0.01, False, paint)
    bottom = Bottom(-1, 0.01, 0, 0, 0, 0, False, paint)
    assert top.hem <= looks.WAIST - looks.LEAST_OVERLAP
    assert top.neck_drop <= looks.DEEPEST_NECK
    assert top.sleeve > 0
    assert top.collar >= looks.LOWEST_COLLAR
    assert bottom.leg >= looks.LEAST_LEG


def test_materials_are_of_kinds_and_values_that_the_renderer_knows():
    for seed in range(60):
        for one in materials(drawn(seed)):
            assert set(one.values) <= set(DEFAULTS[one.kind])
            assert one.kind != "cloth" or one.values["pattern"] in PATTERNS
            for name in ("colour", "second", "hair", "lip"):
                colour = np.asarray(one.values.get(name, (0.5, 0.5, 0.5)))
                assert colour.shape == (3,)
                assert ((colour > 0) & (colour < 1)).all()


def test_all_styles_of_hair_and_all_kinds_of_clothes_occur():
    people = [drawn(seed, feminine=seed % 2, old=seed % 3 / 2) for seed in range(600)]
    assert {one.hair.style for one in people} == set(looks.STYLES)
    assert {one.hair.beard for one in people} == {"none", "stubble", "moustache", "short", "full"}
    assert {one.extras.hat for one in people} == {"", "cap", "beanie", "brim"}
    assert {one.extras.glasses for one in people} == {"", "round", "square", "sun"}
    assert {one.extras.bag for one in people} == {"", "backpack", "shoulder"}
    assert {one.top.cloth.values["pattern"] for one in people} == set(PATTERNS)
    for share in (
        np.mean([one.jacket is not None for one in people]),
        np.mean([one.bottom.skirt > 0 for one in people]),
        np.mean([one.bottom.dress for one in people]),
        np.mean([one.feet.shoe == looks.NONE for one in people]),
        np.mean([one.feet.sock < looks.NONE for one in people]),
        np.mean([one.top.sleeve > 1.5 for one in people]),
        np.mean([one.bottom.leg < 1 for one in people]),
    ):
        assert 0.03 < share < 0.8


def test_dark_skin_is_dark_and_old_hair_is_grey():
    tones = [drawn(1, dark=dark).skin.values["colour"].mean() for dark in (0.0, 0.5, 1.0)]
    assert tones[0] > tones[1] > tones[2]
    grey = [np.ptp(drawn(seed, old=1.0).hair.colour.values["colour"]) < 0.05 for seed in range(100)]
    assert np.mean(grey) > 0.6


def test_shoes_are_mostly_black_white_or_brown():
    colours = np.array([drawn(seed).feet.shoe_cloth.values["colour"] for seed in range(200)])
    assert 0.7 < np.mean(np.ptp(colours, axis=1) < 0.12) < 0.97


def test_cloth_comes_dark_and_light_and_in_all_hues():
    colours = np.array([dye(np.random.default_rng(seed)) for seed in range(500)])
    assert colours.max() < 1
    assert np.mean(colours.mean(1) < 0.1) > 0.1
    assert np.mean(colours.mean(1) > 0.4) > 0.1
    assert set(colours.argmax(1)) == {0, 1, 2}
