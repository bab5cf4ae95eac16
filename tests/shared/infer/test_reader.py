"""Photos in shards are photos: the answers are those of the same files in a folder, under the keys."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from shared.data.codec import READERS
from shared.data.shards import Shards
from shared.infer.belt import Here
from shared.infer.manifest import Manifest
from shared.infer.people import Given
from shared.infer.predictor import Predictor
from shared.infer.reader import called, find, read, read_ahead, where
from shared.infer.run import run

IMAGES = [suffix for suffix, (field, _) in READERS.items() if field == "image"]


@pytest.fixture(scope="module")
def predictor(trained) -> Predictor:
    return Predictor.load(trained, device="cpu", only=["seg", "pose"])


@pytest.fixture(scope="module")
def loose(small_shards, tmp_path_factory) -> Path:
    """The images of the shards as files, named by their keys."""
    folder, shards = tmp_path_factory.mktemp("loose"), Shards(small_shards)
    for i in range(len(shards)):
        suffix, content = next((s, found) for s in IMAGES if (found := shards.member(i, s)) is not None)
        path = folder / f"{shards.key(i)}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.*") if path.name != "manifest.jsonl"}


def test_a_folder_of_shards_is_answered_as_its_images_would_be(predictor, small_shards, loose, tmp_path):
    inside, outside = find([small_shards]), find([loose])
    assert len(inside) == 12
    assert sorted(found.name for found in inside) == [found.name for found in outside]
    (tmp_path / "in").mkdir()
    assert run(predictor, inside, tmp_path / "in", manifest=Manifest(tmp_path / "in", {})) == {}
    assert run(predictor, outside, tmp_path / "out") == {}
    assert files(tmp_path / "in") == files(tmp_path / "out")
    assert len(files(tmp_path / "out")) == 4 * 12
    again = Manifest(tmp_path / "in", {})
    assert all(again.has(found) for found in inside)
    assert not any(again.has(found) for found in outside), "another file of the same name is another photo"


def test_a_shard_stands_among_photos_and_a_key_that_comes_twice_has_its_shard_in_front(small_shards, loose, tmp_path):
    shard = sorted(small_shards.glob("*.tar"))[0]
    for name in ("left.tar", "right.tar"):
        shutil.copy(shard, tmp_path / name)
    keys = [found.name for found in find([shard])]
    both = find([tmp_path / "left.tar", tmp_path / "right.tar"])
    assert [found.name for found in both] == [f"{name}/{key}" for name in ("left", "right") for key in keys]
    photo = sorted(loose.iterdir())[-1]
    mixed = find([photo, shard])
    assert [found.name for found in mixed] == [photo.stem, *keys]
    assert [found.inside is None for found in mixed] == [True] + [False] * len(keys)
    assert where(mixed[1]) == f"{shard}, {keys[0]}"


def test_boxes_go_by_the_key(small_shards):
    found = find([small_shards])[3]
    image = read(found).image
    assert image is not None
    people = Given({found.name: [[1, 2, 30, 40]]})(called(found), image)
    assert people is not None
    assert people.boxes.tolist() == [[1, 2, 30, 40]]


def test_bytes_that_are_not_those_of_the_index_cost_one_photo(small_shards, tmp_path):
    shard = Path(shutil.copy(sorted(small_shards.glob("*.tar"))[0], tmp_path / "one.tar"))
    found = find([shard])
    assert found[1].inside is not None
    offset, size, _ = found[1].inside
    content = bytearray(shard.read_bytes())
    content[offset + size // 2] ^= 255
    shard.write_bytes(content)
    reads = list(read_ahead(found, Here()))
    assert [one.wrong is None for one in reads] == [i != 1 for i in range(len(found))]
    assert "not those that the index of the shard tells of" in str(reads[1].wrong)


def without_images(folder: Path) -> Path:
    """A shard of boxes alone."""
    (folder / "note.json").write_text(json.dumps({"box": [0, 0, 1, 1]}))
    with tarfile.open(folder / "empty.tar", "w") as tar:
        tar.add(folder / "note.json", "a.json")
    return folder / "empty.tar"


def test_a_shard_without_images_and_one_that_is_none_are_sentences(tmp_path):
    without_images(tmp_path)
    with pytest.raises(ValueError, match="holds no image"):
        find([tmp_path / "empty.tar"])
    (tmp_path / "text.tar").write_text("no archive " * 100)
    with pytest.raises(ValueError, match="is not a readable tar file"):
        find([tmp_path / "text.tar"])
    with pytest.raises(ValueError, match="holds no image"):
        find([tmp_path])


def test_shards_without_images_among_photos_cost_a_sentence_each_and_the_rest_is_answered(loose, trained, tmp_path, called, capsys):
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for name in ("a", "z"):
        shutil.copy(sorted(loose.iterdir())[0], folder / f"{name}.jpg")
    without_images(folder)
    (folder / "text.tar").write_text("no archive " * 100)
    given = folder, "--checkpoint", trained, "--device", "cpu", "--tasks", "pose", "--no-render", "--out", out
    for _ in range(2):  # what failed is tried again
        assert called(*given) == 1
        said = capsys.readouterr().err
        assert f"skipped: {folder / 'empty.tar'} is a shard that holds no image; those of its members" in said
        assert f"skipped: {folder / 'text.tar'} is not a readable tar file" in said
        assert "Traceback" not in said
    assert {path.name for path in out.glob("*.json")} == {"a.pose.json", "z.pose.json"}
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert {line["name"]: line["status"] for line in lines} == {"a": "done", "empty": "failed", "text": "failed", "z": "done"}
    assert len(lines) == 6
    assert called(folder / "empty.tar", *given[1:]) == 2
    assert capsys.readouterr().err.startswith("error: ")
