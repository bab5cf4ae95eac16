"""SynthHuman, Hypersim and NYU: centimetres, distances and MATLAB's order of axes become metres along the optical axis."""

import shutil
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from shared.data.indexed import Indexed
from shared.data.pack import main
from shared.data.shards import Shards
from shared.data.sources import nyu
from shared.data.sources.axes import TEXTS
from shared.data.sources.hypersim import along_axis, pinhole
from shared.data.surface import points
from shared.data.wanted import Wanted
from shared.formats import exr_is_there, read_exr

HW = (24, 32)


def truth(out: Path, *fields: str) -> dict[str, np.ndarray]:
    """What validation compares the first sample with."""
    item = Indexed(out, size=HW, wanted=Wanted(dict.fromkeys(fields)))[0]
    return {name: value.numpy() for name, value in item.truth.items()}


def same(found: np.ndarray, wanted: np.ndarray, where: np.ndarray, *, within: float = 0) -> None:
    """Equal where something is known, unknown elsewhere."""
    np.testing.assert_allclose(found[where], wanted[where], atol=within, rtol=0)
    assert np.isnan(found[~where]).all()


def write_exr(path: Path, values: np.ndarray) -> None:
    """By OpenCV or the package OpenEXR, whichever is there."""
    values = np.ascontiguousarray(values, np.float32)
    if exr_is_there():
        assert cv2.imwrite(str(path), values if values.ndim == 2 else values[..., ::-1])
        return
    pytest.importorskip("OpenEXR", reason="neither this build of OpenCV nor an installed OpenEXR writes .exr")
    openexr = import_module("OpenEXR")
    with openexr.File({"type": openexr.scanlineimage}, {"Y" if values.ndim == 2 else "RGB": values}) as file:
        file.write(str(path))


def write_npy(path: Path, values: np.ndarray) -> None:
    np.save(path.with_suffix(".npy"), values)


def write_hdf5(path: Path, values: np.ndarray) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py, which is optional, is not installed")
    with h5py.File(path.with_suffix(".hdf5"), "w") as file:
        file["dataset"] = values


Write = Callable[[Path, np.ndarray], None]


def human(folder: Path, wall, number: int = 0, *, write: Write = write_npy, axes: str = "x,y,z") -> None:
    """One picture of SynthHuman: centimetres, 65504 where nothing is, a soft edge."""
    folder.mkdir(parents=True, exist_ok=True)
    fx, fy, cx, cy = wall.intrinsics
    alpha = cv2.blur(wall.somebody.astype(np.uint8) * 255, (3, 3))
    Image.fromarray(wall.image).save(folder / f"rgb_{number:07d}.png")
    Image.fromarray(alpha).save(folder / f"alpha_{number:07d}.png")
    depth = wall.depth * 100
    depth[12, 16] = 65504
    write(folder / f"depth_{number:07d}.exr", depth)
    write(folder / f"normal_{number:07d}.exr", TEXTS[axes].back(wall.normal))
    (folder / f"cam_{number:07d}.txt").write_text(f"{fx} 0.0 {cx + 0.5}\n0.0 {fy} {cy + 0.5}\n0.0 0.0 1.0\n")


@pytest.mark.parametrize("write", [write_npy, write_exr])
def test_synthhuman_comes_back_in_metres(tmp_path, wall, write):
    human(tmp_path / "in/chunk", wall, 0, write=write)
    human(tmp_path / "in/chunk", wall, 12, write=write)
    assert main(["synthhuman", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    shards = Shards(tmp_path / "out")
    assert [shards.key(i) for i in range(len(shards))] == ["chunk/0000000", "chunk/0000012"]
    found = truth(tmp_path / "out", "alpha", "depth", "normal", "intrinsics")
    alpha = cv2.blur(wall.somebody.astype(np.uint8) * 255, (3, 3))
    np.testing.assert_array_equal(np.rint(found["alpha"] * 255), alpha)
    there = alpha >= 128
    same(found["normal"], wall.normal, there, within=3e-4)
    there[12, 16] = False
    same(found["depth"], wall.depth, there, within=1e-6)
    np.testing.assert_allclose(found["intrinsics"], wall.intrinsics)


def test_synthhuman_in_other_axes_is_told_and_read(tmp_path, wall, capsys):
    human(tmp_path / "in", wall, axes="x,-y,-z")
    command = ["synthhuman", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--quiet"]
    assert main(command) == 2
    assert "with --axes=x,y,z, by 0 with --axes=x,-y,-z" in capsys.readouterr().err
    assert main([*command, "--axes", "x,-y,-z"]) == 0
    found = truth(tmp_path / "out", "normal", "alpha")
    same(found["normal"], wall.normal, found["alpha"] >= 0.5, within=3e-4)


def test_incomplete_pictures_of_synthhuman_are_skipped(tmp_path, wall, capsys):
    for number in range(6):
        human(tmp_path / "in", wall, number)
    (tmp_path / "in/depth_0000001.npy").unlink()
    (tmp_path / "in/cam_0000002.txt").unlink()
    (tmp_path / "in/alpha_0000003.png").write_bytes(b"cut")
    (tmp_path / "in/normal_0000004.npy").write_bytes(b"cut")
    Image.fromarray(wall.image[:-1]).save(tmp_path / "in/rgb_0000005.png")
    assert main(["synthhuman", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("packed 1 samples")
    for reason in (
        "it has no depth",
        "it has no cam",
        "it is no readable .npy file",
        "its alpha is of another size than the photo",
    ):
        assert f"1 not packed: {reason}\n" in out
    assert "rgb_0000001.png: it has no depth: there is no depth_0000001.exr beside it" in err
    assert main(["synthhuman", str(tmp_path / "out"), "--out", str(tmp_path / "no"), "--quiet"]) == 2
    assert "holds no rgb_*.png; SynthHuman's pictures lie beside one another as rgb_0000000.png" in capsys.readouterr().err


def test_a_missing_reader_of_exr_ends_the_packing_and_says_what_to_do(tmp_path, wall, capsys):
    if exr_is_there() or find_spec("OpenEXR"):
        pytest.skip(".exr can be read here")
    for number in range(2):
        human(tmp_path / "in", wall, number)
        for kind in ("depth", "normal"):
            shutil.move(tmp_path / f"in/{kind}_000000{number}.npy", tmp_path / f"in/{kind}_000000{number}.exr")
    assert main(["synthhuman", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    told = capsys.readouterr().err
    assert "depth_0000000.exr: neither this build of OpenCV nor the package OpenEXR, which is not installed, can read it" in told
    assert "pip install OpenEXR, or convert the files to .npy" in told
    assert "depth_0000001" not in told


def test_exr_files_come_back_and_damaged_ones_are_told(tmp_path, wall):
    write_exr(tmp_path / "depth.exr", wall.depth)
    write_exr(tmp_path / "normal.exr", wall.normal)
    np.testing.assert_array_equal(read_exr(tmp_path / "depth.exr"), wall.depth)
    np.testing.assert_array_equal(read_exr(tmp_path / "normal.exr"), wall.normal)
    (tmp_path / "cut.exr").write_bytes((tmp_path / "depth.exr").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"cut\.exr is no readable \.exr file"):
        read_exr(tmp_path / "cut.exr")


def room(folder: Path, scene, frame: int, *, write: Write = write_npy, normals: str | None = "normal_bump_cam") -> None:
    """One frame of Hypersim: distances to the optical centre, half floats, our axes."""
    geometry, preview = folder / "images/scene_cam_00_geometry_hdf5", folder / "images/scene_cam_00_final_preview"
    geometry.mkdir(parents=True, exist_ok=True)
    preview.mkdir(exist_ok=True)
    distance = scene.depth * np.linalg.norm(points(np.ones(HW), scene.intrinsics), axis=-1)
    distance[3, 4] = np.nan
    write(geometry / f"frame.{frame:04d}.depth_meters.hdf5", distance.astype(np.float32))
    if normals:
        write(geometry / f"frame.{frame:04d}.{normals}.hdf5", scene.normal.astype(np.float16))
    Image.fromarray(scene.image).save(preview / f"frame.{frame:04d}.tonemap.jpg")


@pytest.fixture
def scene(wall):
    """The wall before Hypersim's camera."""
    return type(wall).seen_by(pinhole(HW))


def test_the_camera_of_hypersim_sees_sixty_degrees():
    assert pinhole((768, 1024)).tolist() == pytest.approx([886.81, 886.81, 511.5, 383.5], abs=0.01)


def test_a_flat_wall_is_as_far_in_the_corner_as_in_the_middle():
    camera = pinhole((3, 5))
    corner = 3 * np.linalg.norm(points(np.ones((3, 5)), camera), axis=-1)
    assert corner[0, 0] > 3.3
    np.testing.assert_allclose(along_axis(corner, camera), 3, rtol=1e-6)


@pytest.mark.parametrize("write", [write_npy, write_hdf5])
def test_hypersim_comes_back_as_depth_along_the_axis(tmp_path, scene, write):
    room(tmp_path / "in/ai_001_002", scene, 0, write=write)
    room(tmp_path / "in/ai_001_002", scene, 7, write=write, normals="normal_cam")
    room(tmp_path / "in/ai_003_001", scene, 0, write=write, normals=None)
    assert main(["hypersim", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    shards = Shards(tmp_path / "out")
    wanted = ["ai_001_002/scene_cam_00/frame_0000", "ai_001_002/scene_cam_00/frame_0007", "ai_003_001/scene_cam_00/frame_0000"]
    assert [shards.key(i) for i in range(3)] == wanted
    assert shards.fields(1) == {"image", "depth", "normal", "intrinsics"}
    assert shards.fields(2) == {"image", "depth", "intrinsics"}
    found = truth(tmp_path / "out", "depth", "normal", "intrinsics")
    known = np.ones(HW, bool)
    known[3, 4] = False
    same(found["depth"], scene.depth, known, within=1e-5)
    np.testing.assert_allclose(found["normal"], scene.normal, atol=1e-3)
    np.testing.assert_allclose(found["intrinsics"], pinhole(HW))


def test_frames_of_hypersim_that_cannot_be_used_are_skipped(tmp_path, scene, capsys):
    for frame in range(3):
        room(tmp_path / "in/ai_001_001", scene, frame)
    images = tmp_path / "in/ai_001_001/images"
    (images / "scene_cam_00_final_preview/frame.0001.tonemap.jpg").unlink()
    write_npy(images / "scene_cam_00_geometry_hdf5/frame.0002.depth_meters.x", np.full(HW, np.nan))
    assert main(["hypersim", str(tmp_path / "in/ai_001_001"), "--out", str(tmp_path / "out"), "--quiet"]) == 1
    out = capsys.readouterr().out
    assert "1 not packed: its picture is absent\n" in out
    assert "1 not packed: no pixel has depth\n" in out
    assert Shards(tmp_path / "out").key(0) == "scene_cam_00/frame_0000"
    assert main(["hypersim", str(tmp_path / "out"), "--out", str(tmp_path / "no"), "--quiet"]) == 2
    assert "holds no ai_VVV_NNN/images/scene_cam_XX_geometry_hdf5/frame.IIII.depth_meters.hdf5" in capsys.readouterr().err


def test_damaged_hdf5_is_skipped(tmp_path, scene, capsys):
    room(tmp_path / "in/ai_001_001", scene, 0, write=write_hdf5)
    room(tmp_path / "in/ai_001_001", scene, 1, write=write_hdf5)
    room(tmp_path / "in/ai_001_001", scene, 2, write=write_hdf5)
    geometry = tmp_path / "in/ai_001_001/images/scene_cam_00_geometry_hdf5"
    (geometry / "frame.0001.depth_meters.hdf5").write_bytes(b"cut")
    with import_module("h5py").File(geometry / "frame.0002.depth_meters.hdf5", "w") as file:
        file["other"] = scene.depth
    assert main(["hypersim", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert "1 not packed: it is no readable HDF5 file\n" in out
    assert "it holds no 'dataset', but other" in err


@pytest.mark.parametrize("source", ["hypersim", "nyu"])
def test_a_missing_reader_of_hdf5_ends_the_packing_and_says_what_to_do(tmp_path, scene, capsys, source):
    if find_spec("h5py"):
        pytest.skip("h5py is installed here")
    room(tmp_path / "in", scene, 0)
    geometry = tmp_path / "in/images/scene_cam_00_geometry_hdf5"
    file = shutil.move(geometry / "frame.0000.depth_meters.npy", geometry / "frame.0000.depth_meters.hdf5")
    named = {"hypersim": tmp_path / "in", "nyu": file}[source]
    assert main([source, str(named), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "is an HDF5 file, and h5py is not installed; pip install h5py" in capsys.readouterr().err


def matlab(path: Path, wall, *, count: int = 3, camera_hw=HW) -> Path:
    """nyu_depth_v2_labeled.mat as HDF5 shows it: the axes of each picture in the opposite order."""
    h5py = pytest.importorskip("h5py", reason="h5py, which is optional, is not installed")
    depth, image = (cv2.resize(array, camera_hw[::-1], interpolation=cv2.INTER_NEAREST) for array in (wall.depth, wall.image))
    depths = np.stack([depth.T + number for number in range(count)])
    depths[1] = 0
    with h5py.File(path, "w") as file:
        file["images"] = np.stack([image.transpose(2, 1, 0)] * count)
        file["depths"] = depths
    return path


def test_nyu_comes_back_upright(tmp_path, wall, capsys):
    file = matlab(tmp_path / "nyu.mat", wall)
    assert main(["nyu", str(file), "--out", str(tmp_path / "out"), "--quiet"]) == 1
    assert "1 not packed: no pixel has depth\n" in capsys.readouterr().out
    shards = Shards(tmp_path / "out")
    assert [shards.key(i) for i in range(len(shards))] == ["0001", "0003"]
    assert shards.fields(0) == {"image", "depth"}
    assert np.abs(shards.read(0)["image"].astype(int) - wall.image).mean() < 3
    np.testing.assert_array_equal(truth(tmp_path / "out", "depth")["depth"], wall.depth)


def test_nyu_in_its_own_size_knows_its_camera_and_a_list_chooses(tmp_path, wall):
    file = matlab(tmp_path / "nyu.mat", wall, camera_hw=(480, 640))
    (tmp_path / "list.txt").write_text("3\n")
    assert main(["nyu", str(file), "--list", str(tmp_path / "list.txt"), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    shards = Shards(tmp_path / "out")
    assert [shards.key(i) for i in range(len(shards))] == ["0003"]
    np.testing.assert_allclose(shards.read(0)["intrinsics"], [518.858, 519.470, 324.582, 252.736], atol=1e-3)


@pytest.mark.parametrize(("text", "told"), [("0", "holds '0'"), ("1 4", "holds '4'"), ("one", "holds 'one'"), ("", "no number")])
def test_a_list_of_other_things_is_answered_in_a_sentence(tmp_path, text, told):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(ValueError, match=rf"{told}.*numbers of pictures, 1 to 3"):
        nyu.chosen(tmp_path / "list.txt", 3)
    assert nyu.chosen(None, 3) == [0, 1, 2]


def test_another_file_than_nyus_is_answered_in_a_sentence(tmp_path, wall, capsys):
    assert main(["nyu", str(tmp_path), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "name nyu_depth_v2_labeled.mat (a folder of pictures is packed by `parts`)" in capsys.readouterr().err
    file = matlab(tmp_path / "nyu.mat", wall)
    with import_module("h5py").File(file, "a") as content:
        del content["depths"]
        content["depths"] = np.ones((3, 24, 32))
    assert main(["nyu", str(file), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "not (N, 3, W, H) and (N, W, H)" in capsys.readouterr().err
