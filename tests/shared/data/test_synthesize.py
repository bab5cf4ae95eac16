"""Does the command write shards that can be stopped, gone on with and read?"""

import numpy as np
import pytest

from shared.data.fields import CORE, EXTRA
from shared.data.photo import read_photo
from shared.data.shards import Shards
from shared.data.synthesize import main
from shared.data.synthetic import NAMES

SMALL = ["--size", "32x24", "--quiet", "--seed", "4"]


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))}


@pytest.mark.usefixtures("embree")
def test_shards_hold_what_was_asked_for(tmp_path, capsys):
    assert main(["--out", str(tmp_path), "--count", "3", "--per-shard", "2", *SMALL]) == 0
    shards = Shards(tmp_path)
    assert shards.counts == [2, 1]
    assert shards.names == NAMES
    assert [shards.key(number) for number in range(3)] == ["000000", "000001", "000002"]
    assert shards.read(2)["image"].shape == (32, 24, 3)
    assert "3 samples in 2 shard(s)" in capsys.readouterr().out


@pytest.mark.usefixtures("embree")
def test_what_was_stopped_goes_on_to_the_same_bytes(tmp_path, capsys):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(["--out", str(whole), "--count", "3", "--per-shard", "2", *SMALL]) == 0
    assert main(["--out", str(stopped), "--count", "2", "--per-shard", "2", *SMALL]) == 0
    before = next(stopped.glob("*.tar")).stat().st_mtime_ns
    assert main(["--out", str(stopped), "--count", "3", "--per-shard", "2", *SMALL]) == 0
    assert next(iter(sorted(stopped.glob("*.tar")))).stat().st_mtime_ns == before
    assert contents(stopped) == contents(whole)
    assert "2 of them were there before" in capsys.readouterr().out


@pytest.mark.usefixtures("embree")
def test_a_folder_is_not_continued_with_other_options(tmp_path, capsys):
    assert main(["--out", str(tmp_path), "--count", "1", *SMALL]) == 0
    assert main(["--out", str(tmp_path), "--count", "2", "--shot", "face", *SMALL]) == 2
    assert "was begun with other options" in capsys.readouterr().err


def test_foreign_shards_are_left_alone(tmp_path, capsys):
    (tmp_path / "mine.tar").write_bytes(b"precious")
    assert main(["--out", str(tmp_path), "--count", "1", *SMALL]) == 2
    assert "did not make" in capsys.readouterr().err
    assert (tmp_path / "mine.tar").read_bytes() == b"precious"


@pytest.mark.usefixtures("embree")
def test_a_contact_sheet_shows_every_sample_five_times(tmp_path):
    assert main(["--sheet", str(tmp_path / "sheet.png"), "--count", "5", *SMALL]) == 0
    sheet = read_photo(tmp_path / "sheet.png")
    assert sheet.shape == (2 * 32, 4 * 5 * 24, 3)
    assert np.ptp(sheet[:32]) > 50


def test_maps_are_written_on_request_and_change_no_other_byte(tmp_path):
    """Training reads none of them, so that nobody pays for them unasked."""
    count, bare, full, some = ["--count", "2", *SMALL], tmp_path / "bare", tmp_path / "full", tmp_path / "some"
    assert main(["--out", str(bare), *count]) == 0
    assert main(["--out", str(full), *count, "--maps", "all"]) == 0
    assert main(["--out", str(some), *count, "--maps", "albedo,person"]) == 0
    assert Shards(bare).fields(0) == set(CORE)
    assert Shards(full).fields(0) == {*CORE, *EXTRA}
    assert Shards(some).fields(0) == {*CORE, "person", "albedo"}
    for number in range(2):
        assert Shards(bare).member(number, "json") == Shards(full).member(number, "json")
        for name, value in Shards(bare).read(number).items():
            np.testing.assert_array_equal(Shards(full).read(number)[name], value)


def test_a_folder_is_not_continued_with_other_maps(tmp_path, capsys):
    assert main(["--out", str(tmp_path), "--count", "1", *SMALL]) == 0
    assert main(["--out", str(tmp_path), "--count", "2", "--maps", "alpha", *SMALL]) == 2
    assert "was begun with other options" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--size", "32"], "height x width"),
        (["--size", "0x5"], "at least 1"),
        (["--count", "0"], "at least 1"),
        (["--maps", "alpha,depth"], "depth"),
        ([], "nothing to write"),
    ],
)
def test_unusable_options_are_refused(tmp_path, wrong, told, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--out", str(tmp_path / "x"), *wrong] if wrong else [])
    assert stop.value.code == 2
    assert told in capsys.readouterr().err
