"""Which photos are meant by files, folders, globs and lists, and what they are called."""

import os
from pathlib import Path

import pytest

from shared.data.photo import PHOTO_SUFFIXES, find_photos, photo_size, read_photo

REAL = Path(__file__).parents[3] / "../shared/images"


@pytest.fixture
def album(tmp_path) -> Path:
    """album/{b.JPG, a.png, notes.md, .hidden.jpg, ._b.jpg, sub/deep/c.webp, .thumbs/t.jpg}; found by name, so empty."""
    for name in ("b.JPG", "a.png", "notes.md", ".hidden.jpg", "._b.jpg", "sub/deep/c.webp", ".thumbs/t.jpg"):
        file = tmp_path / "album" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path / "album"


def named(inputs) -> dict[str, str]:
    return {found.name: found.path.name for found in find_photos(inputs)}


def test_a_folder_gives_its_photos_in_order_by_relative_name(album):
    assert [found.name for found in find_photos([album])] == ["a", "b", "sub/deep/c"]
    assert ".jpg" in PHOTO_SUFFIXES


def test_a_link_that_leads_back_is_entered_once(album):
    os.symlink(album, album / "sub" / "again")
    assert list(named([album])) == ["a", "b", "sub/deep/c"]


def test_files_are_taken_whatever_their_suffix(album):
    assert named([album / "notes.md", str(album / "b.JPG")]) == {"notes": "notes.md", "b": "b.JPG"}


def test_a_glob_gives_photos_only(album):
    assert named([str(album / "*")]) == {"a": "a.png", "b": "b.JPG"}
    assert named([f"{album}/**/*.webp"]) == {"sub/deep/c": "c.webp"}


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path):
    (tmp_path / "me [1].jpg").touch()
    assert named([tmp_path / "me [1].jpg"]) == {"me [1]": "me [1].jpg"}


def test_a_list_names_photos_relative_to_itself(album):
    listing = album / "list.txt"
    listing.write_text("\ufeff# my photos\n\na.png\n  sub/deep/c.webp  \n", encoding="utf-8")
    assert named([listing]) == {"a": "a.png", "c": "c.webp"}


def test_photos_that_would_share_a_name_get_more_of_it(tmp_path):
    for name in ("x/a.jpg", "x/a.png", "x/b.jpg", "y/a.jpg", "y/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(named([tmp_path / "x"])) == ["a.jpg", "a.png", "b"]
    found = find_photos(sorted(tmp_path.glob("*/*")))
    assert [one.name for one in found] == ["x/a.jpg", "a.png", "x/b.jpg", "y/a.jpg", "y/b.jpg"]
    assert len({one.name for one in found}) == 5


def test_a_photo_named_twice_is_found_once(album):
    assert list(named([album / "a.png", album, album / "a.png"])) == ["a", "b", "sub/deep/c"]


def test_photos_of_kinds_that_nothing_reads_are_told_and_a_folder_may_be_left_out(album):
    for name in ("IMG_1.HEIC", "sub/raw.NEF"):
        (album / name).touch()
    unread: list[Path] = []
    assert [found.name for found in find_photos([album], besides=album / "sub" / "deep", unread=unread)] == ["a", "b"]
    assert [path.name for path in unread] == ["IMG_1.HEIC", "raw.NEF"]
    assert len(find_photos([album], besides=album)) == 3, "a folder that is named is searched, whatever it is"
    (album / "phone").mkdir()
    (album / "phone" / "a.heic").touch()
    with pytest.raises(ValueError, match=r"no photo that can be read; convert a\.heic"):
        find_photos([album / "phone"])


def test_inputs_without_photos_are_told_in_a_sentence(tmp_path, album):
    (tmp_path / "none").mkdir()
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    (tmp_path / "wrong.txt").write_text("a.png\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    for entry, error, told in [
        (tmp_path / "none", ValueError, "holds no photo"),
        (tmp_path / "empty.txt", ValueError, "names no photo"),
        (tmp_path / "wrong.txt", FileNotFoundError, "wrong.txt:1 names"),
        (tmp_path / "binary.txt", ValueError, "not UTF-8"),
        (tmp_path / "nowhere.jpg", FileNotFoundError, "no file or folder"),
        (tmp_path / "*.jpg", FileNotFoundError, "matches nothing"),
        (album / "*.md", FileNotFoundError, "none a photo"),
    ]:
        with pytest.raises(error, match=told):
            find_photos([entry])
    with pytest.raises(ValueError, match="no input was given"):
        find_photos([])
    with pytest.raises(TypeError, match="takes a list"):
        find_photos(str(album))


def test_real_photos_are_read_at_their_size():
    if not REAL.is_dir():
        pytest.skip(f"no photos at {REAL}")
    for found in find_photos([REAL / "multi", REAL / "faces" / "300w"]):
        assert read_photo(found.path).shape == (*photo_size(found.path), 3)
