"""Folders of photos, masks, depth and normals become samples with our units and axes; what cannot be so is refused."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from shared.data.facts import facts
from shared.data.indexed import Indexed
from shared.data.pack import main
from shared.data.shards import Shards
from shared.data.sources.axes import TEXTS
from shared.data.wanted import Wanted
from shared.formats import vectors

CLASSES = """entries = [
    { name = "Background", colour = [0, 0, 0] },
    { name = "Hat", colour = [1, 0, 0] },
    { name = "Hair", colour = [2, 0, 0] },
]
"""
FOLDERS = {"image": "images", "mask": "masks", "depth": "depth", "normal": "normal", "camera": "camera"}


def write(root: Path, wall, stem="a", *, without=(), names=FOLDERS, **changed) -> None:
    """One picture of the wall and all its labels; `changed` are other contents, by the folder's kind."""
    fx, fy, cx, cy = wall.intrinsics
    contents = {
        "image": wall.image,
        "mask": wall.somebody.astype(np.uint8) * 255,
        "depth": wall.depth,
        "normal": wall.normal,
        "camera": f"{fx} 0 {cx}\n0 {fy} {cy}\n0 0 1\n",
    } | changed
    for kind, content in contents.items():
        if kind in without:
            continue
        path = root / names[kind] / stem
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.with_suffix(".txt").write_text(content)
        elif content.dtype.kind == "f":
            np.save(path.with_suffix(".npy"), content)
        else:
            Image.fromarray(content).save(path.with_suffix(".png"))


def pack(root: Path, out: Path, *options: str, source="parts") -> int:
    return main([source, str(root), "--out", str(out), "--quiet", "--overwrite", *options])


def truth(out: Path, *fields: str, hw=(24, 32)) -> dict[str, np.ndarray]:
    """What validation compares the first sample with."""
    item = Indexed(out, size=hw, wanted=Wanted(dict.fromkeys(fields)))[0]
    return {name: value.numpy() for name, value in item.truth.items()}


def same(found: np.ndarray, wanted: np.ndarray, where: np.ndarray, *, within: float = 0) -> None:
    """Equal where somebody is, unknown elsewhere."""
    np.testing.assert_allclose(found[where], wanted[where], atol=within, rtol=0)
    assert np.isnan(found[~where]).all()


def test_classes_depth_and_normals_come_back(tmp_path, wall):
    seg = wall.somebody * np.uint8(1) + (np.arange(32) > 16) * wall.somebody.astype(np.uint8)
    seg[0, 0] = 255
    write(tmp_path / "in", wall, mask=seg)
    (tmp_path / "classes.toml").write_text(CLASSES)
    assert pack(tmp_path / "in", tmp_path / "out", "--classes", str(tmp_path / "classes.toml")) == 0
    assert Shards(tmp_path / "out").names == {"seg": ["Background", "Hat", "Hair"]}
    found = truth(tmp_path / "out", "seg", "depth", "normal", "intrinsics")
    np.testing.assert_array_equal(found["seg"], seg)
    same(found["depth"], wall.depth, seg > 0)
    same(found["normal"], wall.normal, seg > 0, within=3e-4)
    np.testing.assert_allclose(found["intrinsics"], wall.intrinsics)


@pytest.mark.parametrize("kind", [np.uint8, bool, np.int64])
def test_without_a_table_masks_are_people(tmp_path, wall, kind):
    write(tmp_path / "in", wall, mask=wall.somebody.astype(np.uint8) * 7)
    if kind is not np.uint8:
        (tmp_path / "in/masks/a.png").unlink()
        np.save(tmp_path / "in/masks/a.npy", wall.somebody.astype(kind))
    assert pack(tmp_path / "in", tmp_path / "out") == 0
    assert Shards(tmp_path / "out").names == {}
    found = truth(tmp_path / "out", "alpha", "depth")
    np.testing.assert_array_equal(found["alpha"], wall.somebody)
    same(found["depth"], wall.depth, wall.somebody)


@pytest.mark.parametrize("kept", [("mask",), ("depth",), ("normal",), ("depth", "normal"), ("depth", "camera")])
def test_any_of_the_labels_may_be_all_there_is(tmp_path, wall, kept):
    write(tmp_path / "in", wall, without={"mask", "depth", "normal", "camera"} - set(kept))
    assert pack(tmp_path / "in", tmp_path / "out") == 0
    fields = {"mask": "alpha", "camera": "intrinsics"}
    assert Shards(tmp_path / "out").fields(0) == {"image", *(fields.get(kind, kind) for kind in kept)}
    if "depth" in kept:
        np.testing.assert_array_equal(truth(tmp_path / "out", "depth")["depth"], wall.depth)


def test_single_labels_may_be_absent_but_not_all(tmp_path, wall, capsys):
    write(tmp_path / "in", wall, "x/whole.1")
    write(tmp_path / "in", wall, "some", without=["depth"])
    write(tmp_path / "in", wall, "none", without=["mask", "depth", "normal"])
    (tmp_path / "in/images/x/whole.png").rename(tmp_path / "in/images/x/whole.1.png")
    for kind, suffix in [("masks", "png"), ("depth", "npy"), ("normal", "npy"), ("camera", "txt")]:
        (tmp_path / f"in/{kind}/x/whole.{suffix}").rename(tmp_path / f"in/{kind}/x/whole.1.{suffix}")
    assert pack(tmp_path / "in", tmp_path / "out") == 1
    shards = Shards(tmp_path / "out")
    held = {shards.key(i): shards.fields(i) for i in range(len(shards))}
    everything = {"image", "alpha", "depth", "normal", "intrinsics"}
    assert held == {"some": everything - {"depth"}, "x/whole_1": everything}
    assert "1 not packed: it has no labels" in capsys.readouterr().out
    told = (tmp_path / "out/skipped.txt").read_text().splitlines()
    assert [line.removeprefix(f"{tmp_path}/in/") for line in told] == [
        "images/none.png: it has no labels: nothing called none is in masks, depth, normal",
        f"images/some.png: packed without depth, there is no {tmp_path}/in/depth/some.*",
    ]


def test_whole_numbers_are_depth_only_with_a_unit(tmp_path, wall, capsys):
    millimetres = np.rint(wall.depth * 1000).astype(np.uint16)
    millimetres[5, 5] = 0
    write(tmp_path / "in", wall, without=["mask", "normal"], depth=millimetres, names=FOLDERS | {"image": "rgb"})
    assert pack(tmp_path / "in", tmp_path / "out") == 2
    assert "a.png holds whole numbers; say how many metres one is, --unit 0.001 for millimetres" in capsys.readouterr().err
    assert pack(tmp_path / "in", tmp_path / "out", "--unit", "0.001") == 0
    same(truth(tmp_path / "out", "depth")["depth"], wall.depth, millimetres > 0, within=6e-4)
    for wrong in ("0", "-1", "inf", "nan", "mm"):
        with pytest.raises(SystemExit):
            pack(tmp_path / "in", tmp_path / "out", f"--unit={wrong}")
        assert "must be a positive number of metres" in capsys.readouterr().err


@pytest.mark.parametrize("bits", [8, 16])
def test_normals_may_be_a_picture(tmp_path, wall, bits):
    picture = vectors(np.where(wall.somebody[..., None], wall.normal, np.nan), bits=bits)
    write(tmp_path / "in", wall, without=["normal"])
    (tmp_path / "in/normal").mkdir()
    cv2.imwrite(str(tmp_path / "in/normal/a.png"), picture[..., ::-1])
    assert pack(tmp_path / "in", tmp_path / "out") == 0
    same(truth(tmp_path / "out", "normal")["normal"], wall.normal, wall.somebody, within={8: 0.01, 16: 3e-4}[bits])


@pytest.mark.parametrize("text", ["x,-y,-z", "z,y,x", "x,-y,z", "-x,y,z"])
def test_other_axes_are_turned_into_ours_and_told_where_forgotten(tmp_path, wall, capsys, text):
    write(tmp_path / "in", wall, normal=TEXTS[text].back(wall.normal))
    assert pack(tmp_path / "in", tmp_path / "out") == 2
    assert "a.npy: its normals differ from its depth by" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.tar"))
    assert pack(tmp_path / "in", tmp_path / "out", f"--axes={text}") == 0
    same(truth(tmp_path / "out", "normal")["normal"], wall.normal, wall.somebody, within=3e-4)


def test_the_sentence_about_axes_says_which_would_fit_at_the_first_picture(tmp_path, wall, capsys):
    for stem in ("a", "b"):
        write(tmp_path / "in", wall, stem, normal=wall.normal * np.array([1, -1, -1], np.float32))
    assert pack(tmp_path / "in", tmp_path / "out", "--axes", "z,y,x") == 2
    told = capsys.readouterr().err
    assert "a.npy: its normals differ" in told
    assert "with --axes=z,y,x, by 0 with --axes=x,-y,-z" in told
    assert "b.npy" not in told


def test_without_a_camera_normals_must_at_least_look_at_us(tmp_path, wall, capsys):
    write(tmp_path / "in", wall, normal=-wall.normal, without=["camera"])
    assert pack(tmp_path / "in", tmp_path / "out") == 2
    assert "its normals look away from the viewer (z is -0.81 at the median)" in capsys.readouterr().err


def test_one_picture_in_other_axes_is_left_out_where_the_first_is_not(tmp_path, wall, capsys):
    write(tmp_path / "in", wall, "a")
    write(tmp_path / "in", wall, "b", normal=-wall.normal)
    assert pack(tmp_path / "in", tmp_path / "out") == 1
    assert "1 not packed: its normals differ from its depth" in capsys.readouterr().out
    assert Shards(tmp_path / "out").key(0) == "a"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"mask": np.ones((32, 24), np.uint8)}, "its mask is of another size than the photo"),
        ({"depth": np.ones((24, 31), np.float32)}, "its depth is of another size than the photo"),
        ({"depth": np.full((24, 32), np.nan, np.float32)}, "no pixel has depth"),
        ({"depth": np.ones((5,), np.float32)}, "it is no map of depth"),
        ({"normal": np.zeros((24, 32, 3), np.float32)}, "no pixel has a normal"),
        ({"normal": np.ones((24, 32), np.float32)}, "it is no map of normals"),
        ({"normal": np.ones((23, 32, 3), np.float32) / 3**0.5}, "its normals is of another size than the photo"),
        ({"camera": "1 2 3"}, "it is no matrix of a camera"),
        ({"camera": "a 0 1\n0 1 1\n0 0 1"}, "it is no matrix of a camera"),
    ],
)
def test_what_does_not_fit_is_skipped_with_its_reason(tmp_path, wall, capsys, changed, reason):
    write(tmp_path / "in", wall, "bad", **changed)
    write(tmp_path / "in", wall, "good")
    assert pack(tmp_path / "in", tmp_path / "out") == 1
    assert f"1 not packed: {reason}\n" in capsys.readouterr().out
    shards = Shards(tmp_path / "out")
    assert [shards.key(i) for i in range(len(shards))] == ["good"]


def test_normals_of_another_length_are_told(tmp_path, wall, capsys):
    write(tmp_path / "in", wall, normal=(wall.normal + 1) / 2)
    assert pack(tmp_path / "in", tmp_path / "out") == 2
    assert "its normals are no unit vectors: the median length is 1.14" in capsys.readouterr().err


def test_nothing_is_unpickled_and_cut_files_are_skipped(tmp_path, wall, capsys):
    write(tmp_path / "in", wall, "good")
    for name in ("pickled", "cut", "text"):
        write(tmp_path / "in", wall, name)
    folder = tmp_path / "in/depth"
    (folder / "pickled.npy").write_bytes(pickle.dumps([1]))
    (folder / "cut.npy").write_bytes((folder / "good.npy").read_bytes()[:500])
    (folder / "text.npy").write_text("no numbers")
    assert pack(tmp_path / "in", tmp_path / "out") == 1
    assert "3 not packed: it is no readable .npy file" in capsys.readouterr().out


@pytest.mark.parametrize(("kind", "label"), [("png", 3), ("npy", 300), ("npy", -1)])
def test_a_label_without_a_name_is_refused_with_file_and_value(tmp_path, wall, capsys, kind, label):
    (tmp_path / "classes.toml").write_text(CLASSES)
    write(tmp_path / "in", wall, without=["mask"])
    seg = np.zeros((24, 32), np.int64)
    seg[3, 4] = label
    (tmp_path / "in/masks").mkdir()
    if kind == "npy":
        np.save(tmp_path / "in/masks/a.npy", seg)
    else:
        Image.fromarray(seg.astype(np.uint8)).save(tmp_path / "in/masks/a.png")
    assert pack(tmp_path / "in", tmp_path / "out", "--classes", str(tmp_path / "classes.toml")) == 2
    assert f"a.{kind} holds the label {label}, but only 0 to 2 have names" in capsys.readouterr().err


def test_another_layout_is_answered_in_a_sentence(tmp_path, wall, capsys):
    write(tmp_path / "in", wall, without=["mask", "depth", "normal"])
    assert pack(tmp_path / "in", tmp_path / "out") == 2
    assert "holds no masks/, depth/ or normal/; `pack folder` packs photos without labels" in capsys.readouterr().err
    assert pack(tmp_path, tmp_path / "out") == 2
    assert "holds no folder images, image, rgb" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        pack(tmp_path / "in", tmp_path / "out", "--classes", str(tmp_path / "no.toml"))
    assert "no.toml" in capsys.readouterr().err


RENDER = {"image": "rgb", "mask": "mask", "depth": "depth", "normal": "normal", "camera": "camera"}


def test_renders_are_packed_view_by_view_and_know_their_subject(tmp_path, wall):
    for subject in ("0001", "pair/0002"):
        for view in ("000", "180"):
            write(tmp_path / "in" / subject, wall, view, names=RENDER)
    assert pack(tmp_path / "in", tmp_path / "out", source="renders") == 0
    shards = Shards(tmp_path / "out")
    assert [shards.key(i) for i in range(4)] == ["0001/000", "0001/180", "pair/0002/000", "pair/0002/180"]
    assert facts(shards, 3)["render"] == {"subject": "pair/0002", "view": "180"}
    found = truth(tmp_path / "out", "alpha", "depth", "normal", "intrinsics")
    np.testing.assert_array_equal(found["alpha"], wall.somebody)
    same(found["depth"], wall.depth, wall.somebody)
    same(found["normal"], wall.normal, wall.somebody, within=3e-4)


def test_a_view_that_lacks_something_is_not_compared_with(tmp_path, wall, capsys):
    write(tmp_path / "in/0001", wall, "000", names=RENDER)
    write(tmp_path / "in/0001", wall, "090", names=RENDER, without=["normal"])
    write(tmp_path / "in/0001", wall, "180", names=RENDER, without=["mask"])
    write(tmp_path / "in/0001", wall, "270", names=RENDER, mask=np.zeros((24, 32), np.uint8))
    assert pack(tmp_path / "in", tmp_path / "out", source="renders") == 1
    out = capsys.readouterr().out
    for reason in ("it has no normal", "it has no mask", "nobody is in its mask"):
        assert f"1 not packed: {reason}\n" in out
    assert len(Shards(tmp_path / "out")) == 1


def test_renders_without_truth_are_answered_in_a_sentence(tmp_path, wall, capsys):
    write(tmp_path / "in/0001", wall, names=RENDER, without=["mask"])
    assert pack(tmp_path / "in", tmp_path / "out", source="renders") == 2
    assert "0001 holds no mask/, or neither depth/ nor normal/" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert pack(tmp_path / "empty", tmp_path / "out", source="renders") == 2
    assert "holds no folder with rgb/, image/ or images/ in it" in capsys.readouterr().err


def test_renders_take_units_and_axes(tmp_path, wall):
    millimetres = np.rint(wall.depth * 1000).astype(np.uint16)
    write(tmp_path / "in/0001", wall, names=RENDER, depth=millimetres, normal=wall.normal * np.array([1, -1, -1], np.float32))
    assert pack(tmp_path / "in", tmp_path / "out", "--unit=0.001", "--axes=x,-y,-z", source="renders") == 0
    found = truth(tmp_path / "out", "depth", "normal")
    same(found["depth"], wall.depth, wall.somebody, within=6e-4)
    same(found["normal"], wall.normal, wall.somebody, within=3e-4)
