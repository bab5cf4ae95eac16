"""The packer: what was packed can be read, what was skipped is told, and nothing is deleted unasked."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.data.pack import main, pack
from shared.data.shards import Shards

REPOSITORY = Path(__file__).parents[3]


def save(path: Path, value: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 6), value if mode == "L" else (value,) * 3).save(path)


@pytest.fixture
def photos(tmp_path) -> Path:
    """Five grey photos."""
    for i in range(5):
        save(tmp_path / "photos" / f"{i}.png", 10 * i)
    return tmp_path / "photos"


def test_a_folder_becomes_shards(tmp_path, photos, capsys):
    out = tmp_path / "out"
    assert main(["folder", str(photos), "--out", str(out), "--per-shard", "2", "--max-side", "4"]) == 0
    shards = Shards(out)
    assert (shards.counts, shards.names) == ([2, 2, 1], {})
    assert shards.read(4)["image"].shape == (3, 4, 3)
    assert np.abs(shards.read(4)["image"].astype(int) - 40).max() <= 1
    told = capsys.readouterr()
    assert told.out.startswith("packed 5 samples into 3 shard(s), ")
    assert "MB" in told.out
    assert "5/5" in told.err
    assert not (out / "skipped.txt").exists()


def test_skipped_photos_are_told_and_kept_in_a_list(tmp_path, photos, capsys):
    for i in range(25):
        (photos / f"bad{i:02d}.jpg").write_text("no photo")
    out = tmp_path / "out"
    assert main(["folder", str(photos), "--out", str(out), "--quiet"]) == 1
    told = capsys.readouterr()
    assert told.out.endswith("skipped 25\n")
    assert told.err.count("is text, not a photo") == 20
    assert "... and 5 more, see" in told.err
    lines = (out / "skipped.txt").read_text().splitlines()
    assert len(lines) == 25
    assert "bad24.jpg is text, not a photo" in lines[-1]
    for bad in photos.glob("bad*"):
        bad.unlink()
    assert main(["folder", str(photos), "--out", str(out), "--quiet", "--overwrite"]) == 0
    assert not (out / "skipped.txt").exists()


def test_photos_that_look_alike_are_left_out_when_asked(tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        picture = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).resize((90, 72))
        picture.save(folder / f"{name}.png")
        picture.resize((60, 48)).save(folder / f"{name}_smaller.jpg", quality=60)
    (folder / "c.jpg").write_text("no photo")
    arguments = ["folder", str(folder), "--quiet", "--out"]
    assert main([*arguments, str(tmp_path / "all")]) == 1
    assert len(Shards(tmp_path / "all")) == 4
    capsys.readouterr()
    (folder / "c.jpg").unlink()
    assert main([*arguments, str(tmp_path / "some"), "--dedupe"]) == 0
    left = Shards(tmp_path / "some")
    assert [left.key(i) for i in range(len(left))] == ["a", "b"]
    assert "2 not packed: looks like an earlier photo" in capsys.readouterr().out
    lines = (tmp_path / "some" / "skipped.txt").read_text().splitlines()
    assert lines == [f"{folder / f'{name}_smaller.jpg'} looks like {folder / f'{name}.png'}" for name in "ab"]


def test_shards_are_deleted_only_when_asked(tmp_path, photos, capsys):
    out = tmp_path / "out"
    arguments = ["folder", str(photos), "--out", str(out), "--quiet"]
    assert main([*arguments, "--per-shard", "1"]) == 0
    before = (out / "000000.tar").read_bytes()
    assert main(arguments) == 2
    assert "already holds 5 shards; choose another folder, or pass --overwrite" in capsys.readouterr().err
    assert (out / "000000.tar").read_bytes() == before
    assert main([*arguments, "--overwrite"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["000000.tar", "000000.tar.index.json"]
    (out / "holiday.tar").touch()
    assert main([*arguments, "--overwrite"]) == 2
    assert "holiday.tar was not made by pack and will not be deleted" in capsys.readouterr().err
    assert len(list(out.iterdir())) == 3


def test_unusable_input_exits_with_two(tmp_path, photos, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    only_bad = tmp_path / "bad"
    only_bad.mkdir()
    (only_bad / "a.jpg").touch()
    (tmp_path / "file").touch()
    for arguments, told in [
        (["folder", str(tmp_path / "nowhere"), "--out", str(tmp_path / "o")], "no file or folder"),
        (["folder", str(empty), "--out", str(tmp_path / "o")], "holds no photo"),
        (["folder", str(only_bad), "--out", str(tmp_path / "o")], "nothing was packed"),
        (["folder", str(photos), "--out", str(tmp_path / "file")], "is a file; --out names a folder"),
        (["ccp", str(photos), "--out", str(tmp_path / "o")], "labels.json does not exist"),
    ]:
        assert main([*arguments, "--quiet"]) == 2
        assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["synthetic", "--out", "o"], "invalid choice: 'synthetic'"),
        (["folder", "d", "--out", "o", "--per-shard", "-1"], "at least 1"),
        (["folder", "d"], "--out"),
        (["ccp", "d", "--out", "o", "--split", "test"], "val"),
        ([], "folder,ccp"),
    ],
)
def test_wrong_options_are_told(arguments, told, capsys):
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 2
    assert told in capsys.readouterr().err


def test_clothing_co_parsing_becomes_shards_with_names(tmp_path):
    for i in range(4):
        save(tmp_path / "images" / f"{i}.jpg", 100)
        save(tmp_path / "labels" / f"{i}.png", i % 2, "L")
    save(tmp_path / "unlabelled" / "4.jpg", 100)
    (tmp_path / "labels.json").write_text(json.dumps(["null", "bag"]))
    for name, options, count in [("train", ["--split", "train"], 3), ("val", ["--split", "val"], 1), ("all", ["--unlabelled"], 5)]:
        assert main(["ccp", str(tmp_path), "--out", str(tmp_path / name), "--quiet", *options]) == 0
        assert len(Shards(tmp_path / name)) == count
    assert Shards(tmp_path / "train").names == {"seg": ["null", "bag"]}
    assert Shards(tmp_path / "val").fields(0) == {"image", "seg"}
    assert Shards(tmp_path / "all").fields(0) == {"image"}


def test_it_can_be_called_from_python(tmp_path):
    people = [("a", {"seg": np.zeros((3, 4), np.uint8)}), ("b", {"seg": np.ones((3, 4), np.uint8)})]
    packed = pack(people, tmp_path / "out", names={"seg": ["none", "all"]}, per_shard=1, quiet=True)
    assert (len(packed.shards), packed.samples) == (2, 2)
    assert packed.size == sum(path.stat().st_size for path in packed.shards)


@pytest.mark.parametrize("source", ["folder", "ccp"])
def test_help_shows_an_example(source, capsys):
    with pytest.raises(SystemExit):
        main([source, "--help"])
    assert f"example:\n  python -m shared.data.pack {source} " in capsys.readouterr().out


def test_it_runs_as_a_module(tmp_path, photos):
    command = [sys.executable, "-W", "error", "-m", "shared.data.pack", "folder", str(photos), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(Shards(tmp_path / "out")) == 5
