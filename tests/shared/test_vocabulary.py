"""Names of classes and keypoints: what the files say, what a mirror does to them, and how a mistake is answered."""

import json
from pathlib import Path

import numpy as np
import pytest

from shared.vocabulary import Vocabulary

ROOT = Path(__file__).parents[2]
LABELS = ROOT / "tasks" / "seg" / "labels"
SKELETONS = ROOT / "tasks" / "pose" / "skeletons"
FACTS = ROOT.parent / "shared"
FILES = sorted([*LABELS.glob("*.toml"), *SKELETONS.glob("*.toml")])

HANDS = """
entries = [
    { name = "nose", colour = [255, 255, 255], sigma = 0.02 },
    { name = "left_hand", colour = [0, 255, 0], sigma = 0.05 },
    { name = "right_hand", colour = [255, 128, 0], sigma = 0.05 },
]
pairs = [["left_hand", "right_hand"]]
chains = [["left_hand", "nose", "right_hand"]]
[groups]
hands = ["left_hand", "right_hand"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "words.toml"
    path.write_text(text)
    return path


def facts(name: str):
    path = FACTS / name
    if not path.exists():
        pytest.skip(f"the published facts ({name}) lie beside the checkout on the authors' machines only")
    return json.loads(path.read_text())


def test_a_file_says_what_it_says(tmp_path):
    words = Vocabulary.load(write(tmp_path, HANDS))
    assert len(words) == 3
    assert words.names == ("nose", "left_hand", "right_hand")
    assert words.colours[2] == (255, 128, 0)
    assert words.pairs == ((1, 2),)
    assert words.links == ((1, 0), (0, 2))
    assert words.groups == {"hands": (1, 2)}
    assert words.sigmas == (0.02, 0.05, 0.05)
    assert words.weights is None


def test_all_shipped_vocabularies_are_there():
    points = ["300w68", "coco17", "face243", "openpose137", "sapiens308", "wflw98", "wholebody133"]
    classes = ["ccp59", "cihp20", "lip20", "sapiens28", "sapiens29"]
    assert [path.stem for path in FILES] == [*points, *classes]
    assert [len(Vocabulary.load(path)) for path in FILES] == [68, 17, 243, 137, 308, 98, 133, 59, 20, 20, 28, 29]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_two_mirrors_are_none(path):
    swap = Vocabulary.load(path).swap
    assert swap.dtype == np.int64
    assert (swap[swap] == np.arange(len(swap))).all()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_mirrored_drawing_has_the_same_bones(path):
    words = Vocabulary.load(path)
    bones = {frozenset(link) for link in words.links}
    assert {frozenset(words.swap[list(link)].tolist()) for link in words.links} == bones


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_first_of_a_pair_is_the_left_one(path):
    words = Vocabulary.load(path)
    for left, right in words.pairs:
        assert "right" not in words.names[left].lower(), words.names[left]
        assert "left" not in words.names[right].lower(), words.names[right]


@pytest.mark.parametrize("path", sorted(LABELS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_class_has_its_own_colour(path):
    words = Vocabulary.load(path)
    assert len(set(words.colours)) == len(words)


def test_other_peoples_names_are_found_and_absent_ones_are_minus_one():
    lip = Vocabulary.load(LABELS / "lip20.toml")
    ids = lip.lookup(["Right-shoe", "Moustache", "Background"])
    assert ids.dtype == np.int64
    assert ids.tolist() == [19, -1, 0]
    assert lip.lookup([]).shape == (0,)
    assert lip.lookup(lip.names).tolist() == list(range(20))


@pytest.mark.parametrize("stem", ["sapiens28", "sapiens29"])
def test_every_part_of_sapiens_is_a_class_of_lip_but_for_two(stem):
    """Apparel may be a hat, a bag or a belt; for the skin of the torso LIP has no class."""
    lip, parts = (Vocabulary.load(LABELS / f"{name}.toml") for name in ("lip20", stem))
    ids = lip.lookup(parts.names)
    assert {name for name, there in zip(parts.names, ids) if there < 0} == {"Apparel", "Torso"}
    landed = {lip.names[there] for there in ids if there >= 0}
    assert landed == set(lip.names) - {"Hat", "Glove", "Dress", "Coat", "Jumpsuits", "Scarf", "Skirt"} - (
        {"Sunglasses"} if stem == "sapiens28" else set()
    )


def test_cihp_is_lip_with_the_skin_of_the_torso_for_jumpsuits():
    lip, cihp, parts = (Vocabulary.load(LABELS / f"{name}.toml") for name in ("lip20", "cihp20", "sapiens29"))
    assert [(a, b) for a, b in zip(lip.names, cihp.names) if a != b] == [("Jumpsuits", "Torso-skin")]
    assert (lip.weights, lip.pairs, lip.colours) == (cihp.weights, cihp.pairs, cihp.colours)
    assert {name for name, there in zip(parts.names, cihp.lookup(parts.names)) if there < 0} == {"Apparel"}


def test_left_and_right_stay_left_and_right_in_lip():
    lip, parts = (Vocabulary.load(LABELS / f"{name}.toml") for name in ("lip20", "sapiens29"))
    ids = lip.lookup(parts.names)
    for part, mirrored in enumerate(parts.swap):
        assert ids[mirrored] == (lip.swap[ids[part]] if ids[part] >= 0 else -1), parts.names[part]
    for side in ("Left", "Right"):
        assert lip.names[ids[parts.names.index(f"{side}_Hand")]] == f"{side}-arm"


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('pairs = [["left_hand"', 'pairs = [["left_hnad"', "'left_hnad', which is no entry; did you mean 'left_hand'"),
        ('hands = ["left_hand"', 'hands = ["lefthand"', "the group 'hands' says 'lefthand'.*did you mean 'left_hand'"),
        ('"nose", "right_hand"]]', '"nosy", "right_hand"]]', "a chain says 'nosy'.*did you mean 'nose'"),
        ('name = "right_hand"', 'name = "left_hand"', "'left_hand' stands twice"),
        ('"left_hand", "right_hand"]]\nchains', '"left_hand"]]\nchains', "a pair has 1 names.*exactly 2"),
        ('pairs = [["left_hand", "right_hand"]]', 'pairs = [["nose", "nose"]]', "already in a pair"),
        ("[255, 255, 255]", "[255, 255]", r"colour of 'nose' is \[255, 255\]"),
        ("[255, 255, 255]", "[255, 255, 256]", "each from 0 to 255"),
        (", sigma = 0.02 }", " }", "'nose' has no sigma, others have.*all 3 or for none"),
        ("sigma = 0.02 }", "sigma = -1 }", "the sigma of 'nose' is -1"),
        ("sigma = 0.02 }", "sigme = 0.02 }", "the key 'sigme'.*did you mean 'sigma'"),
        ("pairs =", "pair =", "the key 'pair'.*did you mean 'pairs'"),
        ("sigma = 0.02 }", 'sigma = 0.02, also = "snout" }', "`also` of 'nose' is 'snout'; write a list of names"),
        (
            "sigma = 0.02 }",
            'sigma = 0.02, also = ["left_hand"] }',
            "'nose' says that it is also 'left_hand', but that word is taken",
        ),
        ("sigma = 0.02 }", 'sigma = 0.02, also = ["a", "a"] }', "'nose' says that it is also 'a', but that word is taken"),
        ("sigma = 0.02 }", 'sigma = 0.02, mean = ["left_hnad"] }', "`mean` of 'nose' says 'left_hnad'.*did you mean 'left_hand'"),
        ("entries = [", "entries = ", "not valid TOML"),
        ('chains = [["left_hand", "nose", "right_hand"]]', 'chains = [["nose"]]', "joins nothing"),
        ('chains = [["left_hand", "nose", "right_hand"]]', "chains = 3", "a list of lists of names"),
    ],
)
def test_a_slip_of_the_pen_is_answered_with_the_file_and_what_was_meant(tmp_path, before, after, sentence):
    assert before in HANDS
    with pytest.raises(ValueError, match=rf"words\.toml.*{sentence}"):
        Vocabulary.load(write(tmp_path, HANDS.replace(before, after)))


@pytest.mark.parametrize("text", ["", "entries = []", "entries = 3"])
def test_a_file_without_entries_says_how_to_write_them(tmp_path, text):
    with pytest.raises(ValueError, match="no list of entries; write entries"):
        Vocabulary.load(write(tmp_path, text))


@pytest.mark.parametrize(("stem", "key"), [("sapiens28", "goliath28"), ("lip20", "lip20")])
def test_part_classes_are_those_of_sapiens(stem, key):
    truth = facts("spec/sapiens1_seg_classes.json")[key]
    words = Vocabulary.load(LABELS / f"{stem}.toml")
    assert list(words.names) == truth["classes"]
    assert [list(colour) for colour in words.colours] == truth["palette_rgb"]
    assert list(words.weights or ()) == truth["class_weights"]
    assert {frozenset(pair) for pair in words.pairs} == {frozenset(pair) for pair in truth["flip_swap_pairs"]}


def test_the_29_classes_are_those_of_sapiens2():
    truth = facts("spec/sapiens2_seg_classes.json")
    words = Vocabulary.load(LABELS / "sapiens29.toml")
    assert list(words.names) == truth["names"]
    assert [list(colour) for colour in words.colours] == truth["palette"]
    assert list(words.weights or ()) == truth["ce_class_weights"]
    assert {frozenset(pair) for pair in words.pairs} == {frozenset(pair) for pair in truth["hflip_swap_pairs"]}


def test_sapiens2_has_the_28_classes_of_sapiens_and_glasses():
    old, new = (Vocabulary.load(LABELS / f"sapiens{count}.toml") for count in (28, 29))
    ids = new.lookup(old.names)
    assert set(new.names) - set(old.names) == {"Eyeglass"}
    assert [new.colours[i] for i in ids] == list(old.colours)
    assert [new.swap[i] for i in ids] == [ids[i] for i in old.swap]


@pytest.mark.parametrize(("stem", "key"), [("wholebody133", "wholebody133"), ("sapiens308", "goliath308")])
def test_whole_body_keypoints_are_those_of_sapiens(stem, key):
    truth = facts("spec/sapiens1_keypoints.json")[key]
    words = Vocabulary.load(SKELETONS / f"{stem}.toml")
    assert list(words.names) == truth["names"]
    assert words.swap.tolist() == truth["flip_indices"]
    assert list(words.sigmas or ()) == truth["sigmas"]
    assert [list(link) for link in words.links] == truth["skeleton_links"]
    assert [list(colour) for colour in words.colours] == truth["keypoint_colors_rgb"]
    groups = truth["groups"] if "groups" in truth else facts("spec/sapiens2_keypoints.json")["eval_groups"]
    assert {name: list(words.groups[name]) for name in groups} == groups


def test_the_308_points_of_sapiens2_are_those_of_sapiens():
    truth = facts("spec/sapiens2_keypoints.json")
    words = Vocabulary.load(SKELETONS / "sapiens308.toml")
    assert list(words.names) == truth["names"]
    assert words.swap.tolist() == truth["flip_indices"]
    assert list(words.sigmas or ()) == pytest.approx(truth["sigmas"])


def test_a_point_is_called_the_same_in_every_set_that_has_it():
    body, face, whole, all_of_them = (
        Vocabulary.load(SKELETONS / f"{stem}.toml") for stem in ("coco17", "face243", "wholebody133", "sapiens308")
    )
    assert (whole.lookup(body.names) == np.arange(17)).all()
    assert (all_of_them.lookup(body.names) >= 0).all()
    assert (all_of_them.lookup(face.names) == [*range(5), *range(70, 308)]).all()


def test_clothing_classes_are_those_of_clothing_co_parsing():
    words = Vocabulary.load(LABELS / "ccp59.toml")
    assert list(words.names) == facts("images/ccp/labels.json")
    assert words.pairs == ()
    assert words.weights is None


def test_body_keypoints_are_those_of_coco():
    truth = facts("spec/sapiens1_keypoints.json")["coco17"]
    words = Vocabulary.load(SKELETONS / "coco17.toml")
    assert list(words.names) == truth["names"]
    assert words.swap.tolist() == truth["flip_indices"]
    assert list(words.sigmas or ()) == truth["sigmas"]
    assert [list(link) for link in words.links] == truth["skeleton_links"]
    assert [list(colour) for colour in words.colours] == truth["keypoint_colors_rgb"]


def test_face_keypoints_are_those_of_the_308_set():
    truth = facts("spec/sapiens1_keypoints.json")["goliath308"]
    ids = truth["face_243_ids"]
    words = Vocabulary.load(SKELETONS / "face243.toml")
    assert list(words.names) == [truth["names"][i] for i in ids]
    assert [ids[i] for i in words.swap] == [truth["flip_indices"][i] for i in ids]
    assert list(words.sigmas or ()) == [truth["sigmas"][i] for i in ids]
    assert [ids[i] for i in words.groups["face"]] == truth["face_238_ids"]
