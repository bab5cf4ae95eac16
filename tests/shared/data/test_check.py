"""The checker counts by hand, names what is damaged and what comes twice, and its exit status says whether all is whole."""

import os

import numpy as np
import pytest
from PIL import Image

from shared.data.check import check, main
from shared.data.shards import Shards, write_shards

NAMES = {"seg": ["wall", "hat"]}


def picture(seed: int, hw=(18, 12)) -> np.ndarray:
    """Nine by nine cells of any brightness."""
    cells = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    return np.array(Image.fromarray(cells).resize(hw[::-1]))


@pytest.fixture
def shards(tmp_path):
    """Two shards of two samples: one with labels and depth, one larger, the first once more, one without a picture."""
    seg, depth = np.zeros((18, 12), np.uint8), np.full((18, 12), np.nan, np.float32)
    seg[:9] = 1
    depth[0, :3] = 1, 2, 5
    samples = [
        ("a", {"image": picture(1), "seg": seg, "depth": depth}),
        ("b", {"image": picture(2, (36, 24))}),
        ("c", {"image": picture(1)}),
        ("d", {"box": np.array([1, 2, 11, 7], np.float32)}),
    ]
    write_shards(samples, tmp_path / "shards", names=NAMES, per_shard=2)
    return tmp_path / "shards"


def test_what_is_there_is_told(shards, capsys):
    assert main([str(shards), "--quiet"]) == 0
    told = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in told.splitlines()]
    assert lines[0].startswith("2 shards, ")
    assert "2 to 2 samples each" in lines[0]
    assert {"image 3 75.00%", "seg 1 25.00%", "depth 1 25.00%", "box 1 25.00%"} <= set(lines)
    assert "pictures (H x W px): 18 x 12 to 36 x 24, median 18 x 12" in lines
    assert "depth (m): 1 to 5, median 2" in lines
    assert "longer side of the box (px): 10 to 10, median 10" in lines
    assert {"wall 100.00% 50.00%", "hat 100.00% 50.00%"} <= set(lines)
    assert "0 samples are damaged" in lines
    assert "1 pictures look like an earlier one" in lines
    assert f"sample 'c' of shard {shards / '000001.tar'} looks like sample 'a' of shard {shards / '000000.tar'}" in lines


def test_what_is_damaged_is_named_and_the_rest_is_counted(shards, capsys):
    victim = shards / "000000.tar"
    times, content = victim.stat(), bytearray(victim.read_bytes())
    jpeg = Shards(shards).member(1, "jpg")
    assert jpeg is not None
    content[content.index(jpeg) + len(jpeg) // 2] ^= 0xFF
    victim.write_bytes(content)
    os.utime(victim, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert main([str(shards), "--quiet"]) == 1
    told = capsys.readouterr().out
    assert "1 samples are damaged" in told
    assert "member .jpg of sample 'b'" in told
    assert "its checksum differs" in told
    assert " ".join(told.split()).count("image 2 50.00%") == 1


def test_a_shard_that_is_cut_off_is_named(shards, capsys):
    victim = shards / "000000.tar"
    jpeg = Shards(shards).member(1, "jpg")
    assert jpeg is not None
    content = victim.read_bytes()
    victim.write_bytes(content[: content.index(jpeg) + 10])
    assert main([str(shards), "--quiet"]) == 1
    assert f"1 shards are cut off\n  {victim}" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "told"), [(2, []), (1, ["holds the label 1, but only 1 classes are named"])])
def test_labels_that_nothing_names_are_damage(shards, words, told):
    found = Shards(shards)
    del found.names["seg"][words:]
    assert [sentence.partition(".tar ")[2] for sentence in check(found).damaged] == told


def test_a_sheet_of_pictures_is_drawn(small_shards, tmp_path, capsys):
    out = tmp_path / "new" / "sheet.png"
    assert main([str(small_shards), "--quiet", "--pictures", str(out)]) == 0
    drawn = np.array(Image.open(out))
    assert drawn.shape[0] > 8 * 192
    assert drawn.std() > 20
    assert main([str(small_shards), "--quiet", "--pictures", str(tmp_path / "sheet.txt")]) == 2
    assert "sheet.txt is no picture; give a name that ends in .png or .jpg" in capsys.readouterr().err


def test_what_cannot_be_read_is_a_sentence(tmp_path, capsys):
    assert main([str(tmp_path / "nothing.tar")]) == 2
    assert "python -m shared.data.check: 1 of 1 shards do not exist" in capsys.readouterr().err
