"""Sources give what their folders hold: the same photos, the right labels, a split that never leaks."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.data.photo import UnreadablePhoto
from shared.data.sources import ccp, folder

REAL = Path(__file__).parents[3] / "../shared/images/ccp"


def save(path: Path, pixels: np.ndarray | None = None, **options) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.full((6, 10, 3), 90, np.uint8) if pixels is None else pixels)
    image.save(path, **options)
    return path.read_bytes()


def test_an_upright_jpeg_passes_through(tmp_path):
    content = save(tmp_path / "a.jpg", quality=37)
    grey = save(tmp_path / "b.jpeg", np.zeros((4, 4), np.uint8))
    assert dict(folder.samples(tmp_path, max_side=10)) == {"a": {"image": content}, "b": {"image": grey}}


def test_a_turned_photo_is_stored_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "a.jpg", exif=exif)
    ((_, sample),) = folder.samples(tmp_path)
    assert sample["image"].shape == (10, 6, 3)


@pytest.mark.parametrize("name", ["a.png", "cmyk.jpg"])
def test_what_is_no_plain_jpeg_is_stored_as_pixels(tmp_path, name):
    image = Image.new("RGB", (5, 4), (10, 200, 30))
    image.convert("CMYK" if "cmyk" in name else "RGB").save(tmp_path / name)
    ((_, sample),) = folder.samples(tmp_path)
    assert np.abs(sample["image"].astype(int) - (10, 200, 30)).max() <= 4


def test_large_photos_are_scaled_to_the_longer_side(tmp_path):
    left_half = np.zeros((40, 100, 3), np.uint8)
    left_half[:, :50] = 200
    save(tmp_path / "wide.png", left_half)
    save(tmp_path / "line.png", np.zeros((1, 500, 3), np.uint8))
    sizes = {key: sample["image"] for key, sample in folder.samples(tmp_path, max_side=50)}
    assert sizes["line"].shape == (1, 50, 3)
    assert sizes["wide"].shape == (20, 50, 3)
    assert (sizes["wide"][:, :25] == 200).all()
    assert (sizes["wide"][:, 25:] == 0).all()


def test_unreadable_photos_are_skipped_and_told(tmp_path):
    save(tmp_path / "good.jpg")
    (tmp_path / "bad.jpg").write_text("a text")
    whole = save(tmp_path / "cut.jpg", np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8))
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    skipped = []
    assert [key for key, _ in folder.samples(tmp_path, skipped=skipped)] == ["good"]
    assert [path.name for path, _ in skipped] == ["bad.jpg", "cut.jpg"]
    assert "is text, not a photo" in skipped[0][1]
    with pytest.raises(UnreadablePhoto):
        list(folder.samples(tmp_path))


def test_keys_have_no_dots_and_differ(tmp_path):
    for name in ("v1.2/a.b.png", "v1.2/a_b.png", "x.jpg", "x.png"):
        save(tmp_path / name)
    assert [key for key, _ in folder.samples(tmp_path)] == ["x_jpg", "x_png", "v1.2/a_b", "v1.2/a_b_2"]


@pytest.fixture
def clothes(tmp_path) -> Path:
    """Eight labelled photos (0.jpg ... 7.jpg) and two without labels; three names."""
    for i in range(8):
        save(tmp_path / "images" / f"{i}.jpg")
        save(tmp_path / "labels" / f"{i}.png", np.full((6, 10), i % 3, np.uint8))
    for name in ("8.jpg", "9.jpg"):
        save(tmp_path / "unlabelled" / name)
    (tmp_path / "labels.json").write_text(json.dumps(["null", "bag", "belt"]))
    return tmp_path


def keys(source) -> str:
    return "".join(key for key, _ in source)


def test_every_fourth_photo_is_for_validation(clothes):
    assert keys(ccp.samples(clothes, split="val")) == "37"
    assert keys(ccp.samples(clothes, split="train")) == "012456"
    assert keys(ccp.samples(clothes)) == "01234567"
    assert ccp.names(clothes) == {"seg": ["null", "bag", "belt"]}


def test_photos_held_out_stay_held_out_without_their_labels(clothes):
    assert keys(ccp.samples(clothes, unlabelled=True)) == "0123456789"
    assert keys(ccp.samples(clothes, unlabelled=True, split="train")) == "01245689"
    assert keys(ccp.samples(clothes, unlabelled=True, split="val")) == "37"
    assert all(sample.keys() == {"image"} for _, sample in ccp.samples(clothes, unlabelled=True))


def test_labels_belong_to_their_photo(clothes):
    for key, sample in ccp.samples(clothes):
        assert sample["image"] == (clothes / "images" / f"{key}.jpg").read_bytes()
        assert (sample["seg"] == int(key) % 3).all()


def test_labels_that_nobody_named_are_refused(clothes):
    pixels = np.full((6, 10), 255, np.uint8)
    save(clothes / "labels" / "2.png", pixels)
    assert len(list(ccp.samples(clothes))) == 8  # 255 is unknown
    pixels[3, 3] = 3
    save(clothes / "labels" / "2.png", pixels)
    with pytest.raises(ValueError, match=r"2\.png holds the label 3, but labels\.json names only 0 to 2"):
        list(ccp.samples(clothes))


def test_labels_that_do_not_fit_are_refused(clothes):
    save(clothes / "labels" / "1.png", np.zeros((10, 6), np.uint8))
    with pytest.raises(ValueError, match=r"1\.png is \(10, 6\), but its photo is \(6, 10\)"):
        list(ccp.samples(clothes))
    (clothes / "labels" / "1.png").write_bytes(io.BytesIO(b"text").getvalue())
    with pytest.raises(ValueError, match=r"1\.png is no label map"):
        list(ccp.samples(clothes))
    (clothes / "labels" / "1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1\.jpg has no labels"):
        list(ccp.samples(clothes))


def test_a_folder_of_another_layout_is_told_in_a_sentence(clothes):
    with pytest.raises(ValueError, match="split 'test' does not exist; choose from train, val"):
        list(ccp.samples(clothes, split="test"))
    (clothes / "labels.json").write_text('{"a": 1}')
    with pytest.raises(ValueError, match=r"labels\.json must be lists of text"):
        ccp.names(clothes)
    (clothes / "labels.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"labels\.json does not exist"):
        list(ccp.samples(clothes))
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        ccp.photos(clothes / "images")


def test_a_damaged_photo_is_skipped_with_its_labels(clothes):
    (clothes / "images" / "5.jpg").write_bytes(b"")
    skipped = []
    assert keys(ccp.samples(clothes, skipped=skipped)) == "0123467"
    assert "is empty" in skipped[0][1]


def test_the_real_set_splits_into_ninety_and_thirty():
    if not REAL.is_dir():
        pytest.skip(f"no Clothing Co-Parsing at {REAL}")
    train, val = (ccp.photos(REAL, split=split) for split in ccp.SPLITS)
    assert (len(train), len(val), len({*train, *val})) == (90, 30, 120)
    assert len(ccp.photos(REAL, split="train", unlabelled=True)) == 290
    assert len(ccp.names(REAL)["seg"]) == 59
    key, sample = next(ccp.samples(REAL, split="val"))
    assert key == val[0].stem
    assert sample["seg"].max() < 59
