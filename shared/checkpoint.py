"""Weights on disk: safetensors with a JSON description, which holds all that inference needs. No code is ever unpickled."""

import json
import logging
import os
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from shared import vocabulary
from shared.build import build
from shared.convert.timm import from_timm, is_timm
from shared.vit.model import ViT
from shared.vit.position import resample

log = logging.getLogger(__name__)
KEY = "vitruvian"  # of the description in the file's header
FORMAT = 1


class Loaded(NamedTuple):
    """A model in evaluation mode, and its description."""

    model: nn.Module
    about: dict[str, Any]


def device_of(name: str) -> torch.device:
    """Where a model goes: `cpu`, `cuda`, `cuda:1`; `auto` is the GPU where there is one.

    Raises:
        ValueError: the device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {name!r} was asked for, but PyTorch sees no GPU; use device=cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"there is no device {name!r}; choose auto, cpu or cuda") from error


def save(path: Path, state: Mapping[str, Tensor], description: Mapping[str, Any], **about: Any) -> None:
    """Write weights and how to build their model; a half-written file never has the final name.

    Args:
        path: `*.safetensors`.
        state: the state dict of what `description` builds.
        description: dict(type=..., ...) with classes as dotted names.
        about: anything JSON can hold: config, scores, step.
    """
    text = json.dumps({"format": FORMAT, "model": _portable(description), **about})
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    save_file(tensors, partial, {KEY: text})
    partial.chmod(0o644)  # safetensors makes files that others may not read
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def load(path: Path | str, *, device: torch.device | str = "cpu") -> Loaded:
    """Build the model that a file describes and fill it; every tensor must be there, and no other.

    Raises:
        ValueError: the file is missing, is something else, or does not fit its description.
    """
    about, state = read(path)
    if about is None:
        raise ValueError(f"{path} holds weights without a description of a model; it can only initialise one (init=...)")
    if not isinstance(about, dict) or about.get("format") != FORMAT or not isinstance(about.get("model"), dict):
        found = about.get("format") if isinstance(about, dict) else None
        raise ValueError(f"{path} has format {found}, this version reads {FORMAT}; use the version that wrote it")
    model = build(about["model"])
    missing, extra, wrong = _compare(model.state_dict(), state)
    if missing or extra or wrong:
        raise ValueError(f"{path} does not fit the model it describes: {_findings(missing, extra, wrong)}")
    model.load_state_dict(state)
    return Loaded(model.to(device).eval(), about)


def read(path: Path | str) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """The description (None where the file has none) and the tensors.

    Raises:
        ValueError: no such file, or not one of safetensors.
    """
    path = Path(path)
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.safetensors")) if path.parent.is_dir() else []
        raise ValueError(f"there is no checkpoint {path}" + (f"; beside it there is {', '.join(near[:5])}" if near else ""))
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(KEY)
            return (json.loads(text) if text else None), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise ValueError(f"{path} is no safetensors file: it {_looks_like(path)} ({error})") from error


def initialise(backbone: ViT, path: Path | str) -> None:
    """Fill a backbone from a pretrained file: ours (MAE or fine-tuned) or a timm ViT of equal shape.

    A cls token that the backbone lacks is dropped, one that the file lacks keeps its first value, and the position table is
    resampled to the backbone's grid. Every other tensor must fit.

    Raises:
        ValueError: the file's backbone has another shape.
    """
    about, state = read(path)
    if is_timm(state):
        state = from_timm(state)
    state = {k.removeprefix("backbone."): v for k, v in state.items() if about is None or k.startswith("backbone.")}
    target = backbone.state_dict()
    if backbone.cls_token is None:
        state.pop("cls_token", None)
    elif "cls_token" not in state:
        state["cls_token"] = target["cls_token"]
    if (table := state.get("pos_embed")) is not None:
        state["pos_embed"] = _fit_positions(table, backbone, _grid(about, table.shape[1], path))
    missing, extra, wrong = _compare(target, state)
    if missing or extra or wrong:
        raise ValueError(f"{path} does not fit this backbone (width {backbone.dim}, {len(backbone.blocks)} blocks): "
                         f"{_findings(missing, extra, wrong)}; choose the size it was trained with")  # fmt: skip
    backbone.load_state_dict(state)
    log.info("backbone initialised from %s", path)


def _grid(about: Mapping[str, Any] | None, count: int, path: Path | str) -> tuple[int, int]:
    """The grid of a position table: as described, else a square with or without cls."""
    if about is not None:
        image_hw, patch = about["model"]["backbone"].get("image_hw", (1024, 768)), about["model"]["backbone"].get("patch", 16)
        return image_hw[0] // patch, image_hw[1] // patch
    side = isqrt(count)
    if count - side**2 > 1:
        raise ValueError(f"{path} has {count} positions, no square grid with or without cls; give a file made for square images")
    return side, side


def _fit_positions(table: Tensor, backbone: ViT, grid: tuple[int, int]) -> Tensor:
    """Drop or add the row of cls, then resample."""
    body = table[:, table.shape[1] - grid[0] * grid[1] :]
    cls = table[:, : table.shape[1] - body.shape[1]]
    if backbone.extra and not cls.shape[1]:
        cls = torch.zeros_like(body[:, :1])
    return resample(torch.cat([cls[:, : backbone.extra], body], 1), grid, backbone.grid)


def _portable(node: Any) -> Any:
    """A description that needs no file beside it: a user's own vocabulary travels inside."""
    if isinstance(node, Mapping):
        return {key: _portable(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_portable(value) for value in node]
    return vocabulary.read(Path(node)) if isinstance(node, str) and node.endswith(".toml") else node


def _compare(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> tuple[list[str], list[str], list[str]]:
    wrong = [
        f"{k} is {tuple(found[k].shape)}, not {tuple(wanted[k].shape)}"
        for k in wanted
        if k in found and wanted[k].shape != found[k].shape
    ]
    return [k for k in wanted if k not in found], [k for k in found if k not in wanted], wrong


def _findings(missing: list[str], extra: list[str], wrong: list[str]) -> str:
    parts = [("missing", missing), ("unknown", extra), ("of another shape", wrong)]
    return "; ".join(f"{len(names)} {what}: {', '.join(names[:3])}{', ...' * (len(names) > 3)}" for what, names in parts if names)


def _looks_like(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return "is empty"
    if head.startswith(b"version https://git-lfs"):
        return "is a git-lfs pointer; fetch the real file with `git lfs pull`"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "is a web page; download the file itself"
    if head.startswith((b"PK\x03\x04", b"\x80\x02")):
        return "looks like a PyTorch .pth file; give a .safetensors file"
    return "may be cut off; copy it again"
