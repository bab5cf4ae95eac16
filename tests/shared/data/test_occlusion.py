"""Something in front: how much of a picture is covered, with what, and that nothing else changes."""

from dataclasses import fields, replace

import numpy as np
import pytest

from shared.data.occlusion import FILLS, SHAPES, Occlusion

HW = (80, 60)


def picture(hw=HW):
    """No pixel is black, and none is like another."""
    rows, columns = np.mgrid[: hw[0], : hw[1]]
    return np.stack([rows + 1, columns + 1, 0 * rows + 200], 2).astype(np.uint8)


def covered(occlusion, seed=0, image=None):
    image = picture() if image is None else image
    return occlusion(image, np.random.default_rng(seed))


def test_as_it_stands_one_black_rectangle_of_a_fifth_to_two_fifths_of_each_side_covers_every_picture():
    extents = []
    for seed in range(300):
        made = covered(Occlusion(), seed)
        black = (made == 0).all(2)
        rows, columns = np.flatnonzero(black.any(1)), np.flatnonzero(black.any(0))
        assert black[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert np.array_equal(made[~black], picture()[~black])
        extents.append([len(rows) / HW[0], len(columns) / HW[1]])
        assert black.sum() == len(rows) * len(columns)
    assert np.min(extents, 0) == pytest.approx([0.2, 0.2], abs=0.02)
    assert np.max(extents, 0) == pytest.approx([0.4, 0.4], abs=0.02)
    assert abs(np.corrcoef(np.transpose(extents))[0, 1]) < 0.15  # height and width are drawn apart


def test_every_pixel_may_be_covered():
    black = np.mean([(covered(Occlusion(), seed) == 0).all(2) for seed in range(400)], 0)
    assert black[4:-4, 4:-4].min() > 0  # corners need both extremes at once
    assert black[30:50, 20:40].min() > 0.05


def test_probability_is_how_often():
    often = [not np.array_equal(covered(Occlusion(probability=0.3), seed), picture()) for seed in range(500)]
    assert np.mean(often) == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize("fill", FILLS)
def test_what_is_seen_instead(fill):
    made = covered(Occlusion(fills=(fill,)), seed=2)
    there = (covered(Occlusion(), seed=2) == 0).all(2)  # the same draws: the same place
    inside = made[there]
    colours = np.unique(inside, axis=0)
    if fill == "black":
        assert colours.tolist() == [[0, 0, 0]]
    elif fill == "colour":
        assert len(colours) == 1
        assert colours.any()
    elif fill == "noise":
        assert inside.mean() == pytest.approx(127.5, abs=10)
        assert inside.std() == pytest.approx(73.9, abs=8)
    else:
        assert (inside[:, 2] == 200).all()  # pixels of the picture, from elsewhere
        assert not np.array_equal(inside, picture()[there])
    assert np.array_equal(made[~there], picture()[~there])


def test_a_blob_lies_within_its_rectangle_and_is_one_piece():
    for seed in range(30):
        box, blob = ((covered(Occlusion(shapes=(shape,)), seed) == 0).all(2) for shape in SHAPES)
        assert not (blob & ~box).any()
        assert 0.2 < blob.sum() / box.sum() < 0.9
        rows, columns = np.nonzero(box)
        assert blob[(rows[0] + rows[-1]) // 2, (columns.min() + columns.max()) // 2]  # its middle


def test_fills_and_shapes_take_turns():
    occlusion = Occlusion(fills=("black", "noise"), shapes=("box", "blob"))
    made = [covered(occlusion, seed) for seed in range(60)]
    black = [(image == 0).all(2).sum() for image in made]
    changed = [(image != picture()).any(2).sum() for image in made]
    assert 0.25 < np.mean(np.array(black) > 30) < 0.75
    assert all(changed)


CHANGES = {"probability": 0.0, "count": 3, "extent": (0.5, 0.6), "fills": ("noise",), "shapes": ("blob",)}


@pytest.mark.parametrize("field", [f.name for f in fields(Occlusion)])
def test_every_option_changes_the_picture(field):
    assert not np.array_equal(covered(Occlusion()), covered(replace(Occlusion(), **{field: CHANGES[field]})))


def test_the_same_draw_is_the_same_picture_and_the_next_draw_does_not_depend_on_it():
    after = []
    for occlusion in (Occlusion(), Occlusion(), Occlusion(probability=0.0), Occlusion(count=5, fills=tuple(FILLS))):
        rng = np.random.default_rng(7)
        occlusion(picture(), rng)
        after.append(rng.random())
    assert len(set(after)) == 1
    assert np.array_equal(covered(Occlusion(fills=("noise",)), 3), covered(Occlusion(fills=("noise",)), 3))


def test_the_picture_that_came_is_not_written_into():
    image = picture()
    for fill in FILLS:
        covered(Occlusion(fills=(fill,), count=4), image=image)
    assert np.array_equal(image, picture())


@pytest.mark.parametrize("hw", [(1, 1), (1, 9), (37, 53)])
@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("shape", SHAPES)
def test_any_picture_stays_a_picture(hw, fill, shape):
    for extent in ((0.01, 0.02), (1.0, 1.0)):
        made = covered(Occlusion(fills=(fill,), shapes=(shape,), extent=extent, count=3), image=picture(hw))
        assert (made.shape, made.dtype) == ((*hw, 3), np.uint8)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"fills": ("black", "grey")}, "fills=.* is not a list of some of black, colour, noise, patch"),
        ({"fills": ()}, "name at least one"),
        ({"shapes": "box"}, "shapes='box' is not a list of some of box, blob"),
        ({"extent": (0.4, 0.2)}, "is no range of shares"),
        ({"extent": (0.0, 0.2)}, "is no range of shares"),
        ({"extent": (0.5, 1.5)}, "is no range of shares"),
    ],
)
def test_nonsense_is_answered_in_a_sentence(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        Occlusion(**wrong)
