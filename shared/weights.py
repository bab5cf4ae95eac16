"""Tensors on disk, ours and other people's. Nothing that a file says is run, and nothing that nobody looks at is read.

`.safetensors` and `.pth` are mapped into memory: a tensor costs memory when it is first looked at. Ours are safetensors whose
header holds a description of their model (`KEY`); whatever else a file may be is told in a sentence.
"""

import json
import os
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from shared import vocabulary

KEY = "vitruvian"  # of the description in the file's header
FORMAT = 1
WRAPPERS = ("state_dict", "model")  # under which a .pth may keep its tensors
PICTURES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP"}
# The published .pth files keep arrays of their data set beside the weights. Plain numbers are let through under the names of
# numpy 1 and 2, and nothing else that a pickle can call.
DTYPES = (
    "Bool",
    *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
    *(f"Float{bits}" for bits in (16, 32, 64)),
)


class Weights(NamedTuple):
    """What a file holds.

    Attributes:
        tensors: by the file's own names, mapped from the disk: do not write into them.
        about: the description in a file of ours, else None.
        wrapper: the key under which a .pth kept its tensors, None where they lay flat or in safetensors.
        meta: what else a .pth holds under `meta`.
    """

    tensors: dict[str, Tensor]
    about: dict[str, Any] | None = None
    wrapper: str | None = None
    meta: Mapping[str, Any] = {}


def read(path: Path | str) -> Weights:
    """Open a file of weights.

    Raises:
        ValueError: there is no such file, or it is something else, or it holds more than numbers.
    """
    path = Path(path)
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if p.suffix in (".safetensors", ".pth"))
        what = f"it holds {', '.join(inside[:5])}" if inside else "and this one holds no weights"
        raise ValueError(f"{path} is a folder, and a checkpoint is a file; {what}")
    if not path.is_file():
        near = sorted(p.name for p in path.parent.iterdir() if p.suffix in (".safetensors", ".pth")) if path.parent.is_dir() else []
        raise ValueError(f"there is no checkpoint {path}" + (f"; beside it there is {', '.join(near[:5])}" if near else ""))
    if path.suffix == ".onnx":
        raise ValueError(f"{path} is an exported model, which can answer and cannot be trained or converted; {_ADVICE}")
    with path.open("rb") as file:
        head = file.read(64)
    if head[8:9] == b"{":  # first of all: eight bytes that count the header may look like anything
        return _safetensors(path)
    if wrong := _something_else(head):
        raise ValueError(f"{path} holds no weights: it {wrong}")
    if head.startswith(b"PK\x03\x04"):
        _refuse_programs(path)
        return _pth(path, mapped=True)
    if head.startswith(b"\x80"):  # as PyTorch wrote before 1.6; such a file cannot be mapped
        return _pth(path, mapped=False)
    return _safetensors(path)


def save(path: Path, state: Mapping[str, Tensor], description: Mapping[str, Any], **about: Any) -> None:
    """Write weights and how to build their model; a half-written file never has the final name.

    Args:
        path: `*.safetensors`.
        state: the state dict of what `description` builds.
        description: dict(type=..., ...) with classes as dotted names.
        about: anything JSON can hold: config, scores, step.

    Raises:
        OSError: the disk refused.
    """
    text = json.dumps({"format": FORMAT, "model": _portable(description), **about})
    with partial(path) as unfinished:
        try:
            save_file(_plain(state), unfinished, {KEY: text})
        except SafetensorError as error:
            raise _refused(path, error) from error


def save_foreign(
    path: Path, state: Mapping[str, Tensor], *, wrapper: str | None = None, meta: Mapping[str, Any] | None = None
) -> None:
    """Write weights for other people's programs: `.pth` or `.safetensors`, by the suffix.

    Args:
        path: where to.
        state: by their names.
        wrapper: of a .pth: the key under which the tensors stand; None writes them flat.
        meta: of a .pth with a wrapper: what stands beside them.

    Raises:
        OSError: the disk refused.
    """
    plain = _plain(state)
    with partial(path) as unfinished:
        try:
            if path.suffix == ".safetensors":
                save_file(plain, unfinished)
            else:
                with unfinished.open("wb") as file:
                    torch.save({wrapper: plain, "meta": dict(meta or {})} if wrapper else plain, file)
        except (SafetensorError, RuntimeError) as error:
            raise _refused(path, error) from error


@contextmanager
def partial(path: Path) -> Iterator[Path]:
    """A name to write under, which becomes `path` once all is on the disk; nothing is left behind by a failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.partial")
    try:
        yield unfinished
        unfinished.chmod(0o644)  # safetensors makes files that others may not read
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
        sync(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Put on the disk what a folder says: without it, a new name may be lost with the power."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _refused(path: Path, error: Exception) -> OSError:
    """What a library says of a full disk, say, in its own words: the same as for every other file."""
    number = re.search(r"\(os error (\d+)\)", str(error))
    met = error.__context__.errno if isinstance(error.__context__, OSError) else int(number[1]) if number else None
    if met is not None:
        return OSError(met, os.strerror(met), str(path))
    return OSError(f"{path} cannot be written ({_first_line(error)})")


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous().cpu() for name, tensor in state.items()}


def _portable(node: Any) -> Any:
    """A description that needs no file beside it: a user's own vocabulary travels inside."""
    if isinstance(node, Mapping):
        return {key: _portable(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_portable(value) for value in node]
    return vocabulary.read(Path(node)) if isinstance(node, str) and node.endswith(".toml") else node


def _safetensors(path: Path) -> Weights:
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping: it cannot be iterated over)
            return Weights(tensors, json.loads(text) if text else None)
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise ValueError(f"{path} is no safetensors file: it may be cut off; copy it again ({error})") from error


def _refuse_programs(path: Path) -> None:
    """Look at what a zip archive holds, which PyTorch's reader would not do before it reads.

    Raises:
        ValueError: the archive is a program, or something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no readable .pth file: it may be cut off; copy it again ({error})") from error
    names = {entry.filename.partition("/")[2] or entry.filename for entry in entries}
    if any(name.startswith("code/") or name == "constants.pkl" for name in names):
        raise ValueError(f"{path} is a TorchScript program, which would be run and not read; {_ADVICE}")
    if any("exported_program" in name or name == "archive_format" for name in names):
        raise ValueError(f"{path} is a program of torch.export, which cannot be trained or converted; {_ADVICE}")
    if "data.pkl" not in names:
        raise ValueError(f"{path} is a zip archive without weights of PyTorch; unpack it, or download the weights themselves")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError(f"{path} was packed again with compression, which PyTorch never does; download it again")


_ADVICE = "give the .pth or .safetensors file that the same weights were published as"


def _pth(path: Path, *, mapped: bool) -> Weights:
    """A pickle of tensors and numbers, numpy's plain arrays among them."""
    try:
        with torch.serialization.safe_globals(_arrays()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about kinds of tensors that are refused below
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a broken pickle may fail in any way
        if named := re.search(r"GLOBAL ([\w.]+)", str(error)) or re.search(r"but got <class '([\w.]+)'>", str(error)):
            raise ValueError(f"{path} asks for {named[1]}, which is code and no weights, and nothing of it was run; "
                             "ask who made it for a .safetensors file") from error  # fmt: skip
        raise ValueError(f"{path} is no readable .pth file: it may be cut off; copy it again ({_first_line(error)})") from error
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} holds a {type(found).__name__}, not tensors by name; give a file with a state dict")
    wrapper = next((key for key in WRAPPERS if isinstance(found.get(key), Mapping)), None)
    tensors = dict(found[wrapper] if wrapper else found)
    meta = found.get("meta") if wrapper else None
    size = path.stat().st_size
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(
                f"{path} holds {name!r} of type {type(tensor).__name__} among its weights; give a file with a state dict"
            )
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.numel() * tensor.element_size() > size:
            raise ValueError(
                f"{name} in {path} is no plain tensor, or larger than the file; give the weights as they were published"
            )
    return Weights(tensors, None, wrapper, meta if isinstance(meta, Mapping) else {})


def _arrays() -> list[Any]:
    """What unpickling plain arrays and scalars of numpy calls."""
    made = {"_reconstruct": np.zeros(0).__reduce__()[0], "scalar": np.float64(0).__reduce__()[0]}
    named = [(code, f"numpy.{core}.multiarray.{name}") for core in ("core", "_core") for name, code in made.items()]
    return [*named, np.ndarray, np.dtype, *(getattr(np.dtypes, f"{name}DType") for name in DTYPES)]


def _something_else(head: bytes) -> str | None:
    """What a file is by its first bytes, if that is no weights."""
    if not head:
        return "is empty"
    if head.startswith(b"version https://git-lfs"):
        return "is a git-lfs pointer; fetch the real file with `git lfs pull`"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page; download the file itself"
    for magic, kind in PICTURES.items():
        if head.startswith(magic):
            return f"is a {kind} picture; photos stand before --checkpoint, weights after it"
    return None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
