"""Files of weights are read without running them, without reading what nobody asks for, and other files are told in a sentence."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from shared import weights

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.zeros(2)}


class Runs:
    """A pickle that calls a function of the system when it is loaded."""

    def __init__(self, function, *arguments) -> None:
        self.what = (function, arguments)

    def __reduce__(self):
        return self.what


def same(found: weights.Weights) -> bool:
    return found.tensors.keys() == TENSORS.keys() and all(torch.equal(found.tensors[k], v) for k, v in TENSORS.items())


@pytest.mark.parametrize(("content", "wrapper"), [
    (TENSORS, None),
    ({"state_dict": TENSORS, "meta": {"epoch": 3}}, "state_dict"),
    ({"model": TENSORS}, "model"),
])  # fmt: skip
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pth_file_is_read_in_every_wrapping(tmp_path, content, wrapper, zipped):
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    found = weights.read(tmp_path / "x.pth")
    assert same(found)
    assert (found.wrapper, found.about) == (wrapper, None)
    assert found.meta == ({"epoch": 3} if wrapper == "state_dict" else {})


META = {
    "sigmas": np.array([0.1, 0.2]),
    "flip": np.arange(3),
    "colours": np.zeros((2, 3), np.uint8),
    "scale": np.float64(1.5),
    "on": np.True_,
}


def renamed(path: Path, old: bytes, new: bytes) -> Path:
    """The same archive with other words in its pickle."""
    with zipfile.ZipFile(path) as source:
        parts = {entry.filename: source.read(entry) for entry in source.infolist()}
    with zipfile.ZipFile(path, "w") as target:
        for name, content in parts.items():
            target.writestr(name, content.replace(old, new) if name.endswith("data.pkl") else content)
    return path


@pytest.mark.parametrize("core", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_arrays_of_numpy_1_and_2_beside_the_weights_are_read(tmp_path, core):
    torch.save({"state_dict": TENSORS, "meta": META}, tmp_path / "x.pth")
    found = weights.read(renamed(tmp_path / "x.pth", b"numpy._core.multiarray", core))
    assert same(found)
    assert all(np.array_equal(found.meta[name], value) for name, value in META.items())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["state_dict", "meta"])
def test_a_malicious_file_is_refused_by_name_and_never_run(tmp_path, zipped, place):
    owned = tmp_path / "owned"
    content = {"state_dict": TENSORS, "meta": {}, place: Runs(os.mkdir, str(owned))}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"x\.pth asks for posix\.mkdir, which is code and no weights, and nothing of it was run"):
        weights.read(tmp_path / "x.pth")
    assert not owned.exists()
    torch.load(tmp_path / "x.pth", weights_only=False)
    assert owned.exists(), "the file of this test does nothing bad"


@pytest.mark.parametrize("code", [eval, torch.load, np.load, nn.Linear, np.array, np.frombuffer])
def test_nothing_else_that_a_pickle_can_call_is_let_through(tmp_path, code):
    torch.save({"state_dict": TENSORS, "meta": {"x": Runs(code, "1")}}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"asks for [\w.]+, which is code"):
        weights.read(tmp_path / "x.pth")


def test_what_is_allowed_here_stays_forbidden_elsewhere(tmp_path):
    torch.save({"state_dict": TENSORS, "meta": META}, tmp_path / "x.pth")
    before = set(torch.serialization.get_safe_globals())
    weights.read(tmp_path / "x.pth")
    assert set(torch.serialization.get_safe_globals()) == before


def test_an_array_of_objects_is_refused(tmp_path):
    torch.save({"state_dict": TENSORS, "meta": np.array([{}], object)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"asks for numpy\.dtypes\.ObjectDType"):
        weights.read(tmp_path / "x.pth")


@pytest.mark.parametrize(("content", "told"), [
    (torch.zeros(3), "holds a Tensor, not tensors by name"),
    ({"state_dict": {"a": 3}}, "holds 'a' of type int among its weights"),
    ({"a": torch.zeros(1).expand(10**9)}, "a in .* is no plain tensor, or larger than the file"),
    ({"a": torch.eye(3).to_sparse()}, "a in .* is no plain tensor"),
])  # fmt: skip
def test_what_is_no_state_dict_is_a_sentence(tmp_path, content, told):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=told):
        weights.read(tmp_path / "x.pth")


def test_programs_are_told_from_weights(tmp_path):
    for name, inside in {"x.pt2": "code/__torch__.py", "y.pt2": "serialized_exported_program.json", "z.zip": "photo.jpg"}.items():
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(f"top/{inside}", "")
    for name, told in {
        "x.pt2": "TorchScript program",
        "y.pt2": r"program of torch\.export",
        "z.zip": "zip archive without",
    }.items():
        with pytest.raises(ValueError, match=told):
            weights.read(tmp_path / name)


def test_a_program_that_torch_export_wrote_is_told(tmp_path):
    program = torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "x.pt2")
    with pytest.raises(ValueError, match=r"x\.pt2 is a program of torch\.export, .* give the \.pth or \.safetensors file"):
        weights.read(tmp_path / "x.pt2")


def test_an_archive_that_was_compressed_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(10**6))
    with pytest.raises(ValueError, match="was packed again with compression"):
        weights.read(tmp_path / "x.pth")


@pytest.mark.parametrize(("content", "told"), [
    (b"", "holds no weights: it is empty"),
    (b"\n<!DOCTYPE html><html>Sign in</html>", "it is a web page; download the file itself"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a git-lfs pointer; fetch the real file"),
    (b"\xff\xd8\xff\xe0\x00\x10JFIF", "it is a JPEG picture; photos stand before --checkpoint"),
    (b"\x89PNG\r\n\x1a\n" + bytes(9), "it is a PNG picture"),
    (b"PK\x03\x04" + bytes(99), r"is no readable \.pth file: it may be cut off; copy it again"),
    (b"\x80\x02}q\x00." + bytes(99), r"is no readable \.pth file"),
    (b"hello", "is no safetensors file: it may be cut off"),
    (bytes(range(256)), "is no safetensors file: it may be cut off"),
])  # fmt: skip
@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_other_files_are_told_apart_whatever_their_name(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=told):
        weights.read(tmp_path / name)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_pth_file_that_is_cut_off_is_a_sentence(tmp_path, share):
    torch.save({"a": torch.zeros(9999)}, tmp_path / "x.pth")
    whole = (tmp_path / "x.pth").read_bytes()
    (tmp_path / "x.pth").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"is no readable \.pth file: it may be cut off; copy it again"):
        weights.read(tmp_path / "x.pth")


def test_a_header_of_any_length_is_one_of_safetensors(tmp_path):
    lengths = {640: b"\x80\x02", 0x4D42 // 8 * 8 + 8: b"HM"}  # 640 bytes look like the first bytes of a pickle
    for length, first in lengths.items():
        save_file(TENSORS, tmp_path / "x.safetensors", {"x": ""})
        short = int.from_bytes((tmp_path / "x.safetensors").read_bytes()[:8], "little")
        save_file(TENSORS, tmp_path / "x.safetensors", {"x": "x" * (length - short)})
        assert (tmp_path / "x.safetensors").read_bytes()[:2] == first
        assert same(weights.read(tmp_path / "x.safetensors"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_writing_into_what_was_read_leaves_the_file_alone(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    weights.save_foreign(path, TENSORS)
    before = path.read_bytes()
    weights.read(path).tensors["a.weight"].fill_(9)
    assert path.read_bytes() == before
    assert same(weights.read(path))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_tensors_stay_on_the_disk_until_they_are_looked_at(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    weights.save_foreign(path, {"a": torch.zeros(25_000_000)})
    before = resident()
    tensor = weights.read(path).tensors["a"]
    assert resident() - before < 20e6
    assert tensor[-1] == 0


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("wrapper", [None, "state_dict"])
def test_what_is_written_for_others_comes_back(tmp_path, wrapper):
    weights.save_foreign(tmp_path / "new/x.pth", TENSORS, wrapper=wrapper, meta={"epoch": 1})
    found = weights.read(tmp_path / "new/x.pth")
    assert same(found)
    assert (found.wrapper, found.meta) == (wrapper, {"epoch": 1} if wrapper else {})
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.pth"]


def test_a_failure_leaves_no_file_behind(tmp_path):
    with pytest.raises(FileNotFoundError), weights.partial(tmp_path / "x.pth") as unfinished:
        unfinished.unlink(missing_ok=True)  # the disk was full before the first byte
    with pytest.raises(RuntimeError):
        weights.save_foreign(tmp_path / "x.pth", {"a": torch.zeros(1, device="meta")})
    assert list(tmp_path.iterdir()) == []
