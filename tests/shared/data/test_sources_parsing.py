"""LIP and CIHP become samples with the labels of their files, and what does not fit is told, with file and value."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.data.facts import facts
from shared.data.indexed import Indexed
from shared.data.pack import main
from shared.data.shards import Shards
from shared.data.sources import cihp, lip
from shared.data.wanted import Wanted
from shared.vocabulary import Vocabulary

TABLES = Path(__file__).parents[3] / "tasks" / "seg" / "labels"
HW = (24, 32)


def photo(path: Path, value: int, hw=HW, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*hw, 3), value, np.uint8)).save(path, **options)


def save(path: Path, labels: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels)
    if palette:
        image = Image.frombytes("P", image.size, image.tobytes())
        image.putpalette(list(np.random.default_rng(0).integers(0, 256, 768)))
    image.save(path)


def classes(number: int) -> np.ndarray:
    """A map that shows all 20 classes and the unknown, differently for each number."""
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    labels = ((rows // 3 * 3 + columns // 2 + number) % 20).astype(np.uint8)
    labels[0, :3] = 255
    return labels


def truth(out: Path, *fields: str) -> list[dict[str, np.ndarray]]:
    """What validation compares with, sample by sample."""
    items = Indexed(out, size=HW, wanted=Wanted(dict.fromkeys(fields)))
    return [{name: value.numpy() for name, value in items[i].truth.items()} for i in range(len(items))]


@pytest.fixture
def person(tmp_path) -> Path:
    """LIP: three pictures to train with, one to validate, and the mirrored copies of labels that some training code leaves."""
    root = tmp_path / "lip"
    for split, numbers in {"train": (3, 1, 2), "val": (9,)}.items():
        for number in numbers:
            photo(root / f"TrainVal_images/{split}_images/{number}_77.jpg", 20 * number)
            annotations = root / "TrainVal_parsing_annotations"
            save(annotations / f"{split}_segmentations/{number}_77.png", classes(number), palette=number == 1)
            save(annotations / f"{split}_segmentations_reversed/{number}_77.png", classes(number)[:, ::-1].copy())
        (root / f"TrainVal_images/{split}_id.txt").write_text("".join(f"{number}_77\n" for number in numbers))
    return root


def test_lip_comes_back_as_it_was_labelled(tmp_path, person):
    assert main(["lip", str(person), "--out", str(tmp_path / "train"), "--quiet"]) == 0
    shards = Shards(tmp_path / "train")
    assert [shards.key(i) for i in range(len(shards))] == ["3_77", "1_77", "2_77"]
    assert shards.names == {"seg": list(Vocabulary.load(TABLES / "lip20.toml").names)}
    assert shards.member(1, "jpg") == (person / "TrainVal_images/train_images/1_77.jpg").read_bytes()
    for number, labels in zip((3, 1, 2), truth(tmp_path / "train", "seg")):
        np.testing.assert_array_equal(labels["seg"], classes(number))
    assert main(["lip", str(person), "--split", "val", "--out", str(tmp_path / "val"), "--quiet"]) == 0
    np.testing.assert_array_equal(truth(tmp_path / "val", "seg")[0]["seg"], classes(9))


def test_lip_may_lie_deeper_or_flat(tmp_path, person):
    within = person / "TrainVal_parsing_annotations"
    (within / within.name).mkdir()
    (within / "train_segmentations").rename(within / within.name / "train_segmentations")
    assert main(["lip", str(person), "--out", str(tmp_path / "a"), "--quiet"]) == 0
    flat = tmp_path / "flat"
    flat.mkdir()
    (person / "TrainVal_images/train_images").rename(flat / "train_images")
    (within / within.name / "train_segmentations").rename(flat / "train_segmentations")
    (person / "TrainVal_images/train_id.txt").rename(flat / "train_id.txt")
    assert main(["lip", str(flat), "--out", str(tmp_path / "b"), "--quiet"]) == 0
    assert (tmp_path / "a/000000.tar").read_bytes() == (tmp_path / "b/000000.tar").read_bytes()


def test_pictures_that_do_not_fit_their_labels_are_skipped_and_told(tmp_path, person, capsys):
    images, maps = person / "TrainVal_images/train_images", person / "TrainVal_parsing_annotations/train_segmentations"
    for name in ("turned", "mirrored", "damaged", "cut", "unlabelled", "colours"):
        photo(images / f"{name}.jpg", 50)
        save(maps / f"{name}.png", classes(0))
    save(maps / "turned.png", classes(0).T.copy())
    exif = Image.Exif()
    exif[0x0112] = 2
    photo(images / "mirrored.jpg", 50, exif=exif)
    (maps / "damaged.png").write_bytes((maps / "damaged.png").read_bytes()[:70])
    (images / "cut.jpg").write_bytes((images / "cut.jpg").read_bytes()[:300])
    (maps / "unlabelled.png").unlink()
    save(maps / "colours.png", np.stack([classes(0), classes(1), classes(2)], 2))
    listed = ["1_77", "turned", "mirrored", "damaged", "cut", "unlabelled", "colours", "absent"]
    (person / "TrainVal_images/train_id.txt").write_text("\n".join(listed))
    assert main(["lip", str(person), "--out", str(tmp_path / "out"), "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("packed 1 samples")
    assert "skipped 7\n" in out
    for count, reason in [
        (2, "its photo cannot be used"),
        (2, "it is no 8-bit grey or indexed PNG"),
        (1, "its label map is of another size than the photo"),
        (1, "EXIF turns or mirrors it, and its labels may not be"),
        (1, "it has no labels"),
    ]:
        assert f"{count:>9} not packed: {reason}\n" in out
    assert "turned.jpg: its label map is of another size than the photo: (32, 24) and (24, 32) (height, width)" in err
    assert "mirrored.jpg: EXIF turns or mirrors it, and its labels may not be (2); save both upright" in err
    assert "absent.jpg does not exist" in err
    assert len((tmp_path / "out/skipped.txt").read_text().splitlines()) == 7


def test_a_label_beyond_the_twenty_is_refused_with_its_file(tmp_path, person, capsys):
    labels = classes(1)
    labels[5, 5] = 20
    save(person / "TrainVal_parsing_annotations/train_segmentations/1_77.png", labels)
    assert main(["lip", str(person), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "1_77.png holds the label 20, but only 0 to 19 have names" in capsys.readouterr().err


def test_another_layout_of_lip_is_answered_in_a_sentence(tmp_path, person, capsys):
    (person / "TrainVal_images/train_id.txt").write_text("\n")
    assert main(["lip", str(person), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "names no picture; it should hold one file name a line" in capsys.readouterr().err
    assert main(["lip", str(tmp_path), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "holds none of TrainVal_images/train_images, train_images" in capsys.readouterr().err


@pytest.fixture
def crowd(tmp_path) -> Path:
    """CIHP: two pictures to train with and one to validate; two people in each, one of whom is split by the other."""
    root = tmp_path / "cihp"
    for half, split, numbers in [("Training", "train", (6, 8)), ("Validation", "val", (7,))]:
        for number in numbers:
            photo(root / half / f"Images/000000{number}.jpg", 20 * number)
            save(root / half / f"Category_ids/000000{number}.png", classes(number))
            save(root / half / f"Category_rev_ids/000000{number}.png", classes(number)[:, ::-1].copy())
            save(root / half / f"Human_ids/000000{number}.png", people())
        (root / half / f"{split}_id.txt").write_text("\n".join(f"000000{number}" for number in numbers))
    return root


def people() -> np.ndarray:
    person = np.zeros(HW, np.uint8)
    person[4:20, 3:10] = 1
    person[2:23, 5:8] = 2
    return person


def test_cihp_comes_back_with_everybody_in_it(tmp_path, crowd):
    assert main(["cihp", str(crowd), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    shards = Shards(tmp_path / "out")
    assert [shards.key(i) for i in range(len(shards))] == ["0000006", "0000008"]
    assert shards.names == {"seg": list(Vocabulary.load(TABLES / "cihp20.toml").names)}
    for number, item in zip((6, 8), truth(tmp_path / "out", "seg", "person")):
        np.testing.assert_array_equal(item["seg"], classes(number))
        np.testing.assert_array_equal(item["person"], people())
    assert facts(shards, 0)["cihp"] == [
        {"person": 1, "box": [2.5, 3.5, 9.5, 19.5]},
        {"person": 2, "box": [4.5, 1.5, 7.5, 22.5]},
    ]


def test_cihp_without_people_is_packed_and_with_some_missing_is_not(tmp_path, crowd, capsys):
    human = crowd / "Training/Human_ids"
    (human / "0000006.png").unlink()
    save(human / "0000008.png", people()[:-1])
    assert main(["cihp", str(crowd), "--out", str(tmp_path / "a"), "--quiet"]) == 2
    err = capsys.readouterr().err
    assert "0000006.jpg: nobody says who is who in it" in err
    assert "0000008.jpg: its map of people is of another size than the photo" in err
    (human / "0000008.png").unlink()
    human.rmdir()
    assert main(["cihp", str(crowd), "--out", str(tmp_path / "b"), "--quiet"]) == 0
    assert Shards(tmp_path / "b").fields(0) == {"image", "seg"}


def test_the_halves_of_cihp_are_apart_and_its_labels_bounded(tmp_path, crowd, capsys):
    assert main(["cihp", str(crowd), "--split", "val", "--out", str(tmp_path / "val"), "--quiet"]) == 0
    np.testing.assert_array_equal(truth(tmp_path / "val", "seg")[0]["seg"], classes(7))
    save(crowd / "Training/Category_ids/0000008.png", np.full(HW, 77, np.uint8))
    assert main(["cihp", str(crowd), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "0000008.png holds the label 77, but only 0 to 19 have names" in capsys.readouterr().err
    assert main(["cihp", str(tmp_path), "--out", str(tmp_path / "out"), "--quiet", "--overwrite"]) == 2
    assert "holds none of Training" in capsys.readouterr().err


def test_both_halves_of_cihp_may_lie_together(tmp_path, crowd):
    half = crowd / "Training"
    (half / "lists").mkdir()
    (half / "train_id.txt").rename(half / "lists/train_id.txt")
    assert main(["cihp", str(half), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    assert len(Shards(tmp_path / "out")) == 2


def test_a_real_picture_of_each_set_is_packed(tmp_path, shared_folder):
    images = shared_folder / "images"
    for source, picture, labels, place in [
        ("cihp", "cihp/Images/0000002.jpg", "cihp/Category_ids/0000002.png", ("Images", "Category_ids")),
        ("lip", "schp/demo.jpg", "schp/demo_lip.png", ("train_images", "train_segmentations")),
    ]:
        if not (images / picture).is_file():
            pytest.skip(f"there is no {picture} beside the repository")
        for folder, file in zip(place, (picture, labels)):
            (tmp_path / source / folder).mkdir(parents=True)
            shutil.copy(images / file, tmp_path / source / folder / f"a{Path(file).suffix}")
        (tmp_path / source / "train_id.txt").write_text("a")
        assert main([source, str(tmp_path / source), "--out", str(tmp_path / "out" / source), "--quiet"]) == 0
        sample = Shards(tmp_path / "out" / source).read(0)
        np.testing.assert_array_equal(sample["seg"], np.array(Image.open(images / labels)))
        assert len(np.unique(sample["seg"])) > 4


def test_the_two_sets_differ_in_one_class():
    assert [(a, b) for a, b in zip(lip.NAMES, cihp.NAMES) if a != b] == [("Jumpsuits", "Torso-skin")]
    assert len(set(lip.NAMES)) == len(set(cihp.NAMES)) == 20
