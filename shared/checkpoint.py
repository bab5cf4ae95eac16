"""Weights on disk: safetensors with a JSON description, which holds all that inference needs. No code is ever unpickled.

Official files of Sapiens and Sapiens2 are taken wherever ours are.
"""

import logging
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from shared import exported, weights
from shared.build import build
from shared.convert import hub
from shared.convert.official import assemble, compare, findings, forced, from_official
from shared.convert.timm import from_timm, is_timm
from shared.dense.decoder import Decoder
from shared.dense.distil import matched
from shared.dense.model import DenseModel
from shared.task import Task
from shared.vit.model import ViT
from shared.vit.position import resample
from shared.weights import FORMAT, save

__all__ = ["Loaded", "answering", "device_of", "initialise", "initialise_decoders", "load", "read", "save"]
log = logging.getLogger(__name__)


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
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"there is no device {name!r}; choose auto, cpu or cuda") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r} was asked for, but the last GPU here is cuda:{torch.cuda.device_count() - 1}")
    return device


def load(path: Path | str, *, device: torch.device | str = "cpu", **hints: Any) -> Loaded:
    """The model that a file describes, around its weights; every tensor must be there, and no other.

    Args:
        path: a checkpoint of ours, an official file, hf:OWNER/REPO[/FILE], or what `shared.export --raw` wrote.
        device: where the model goes. On the CPU the weights stay in the file until they are used.
        hints: what an official file does not tell, or tells wrong (`from_official`); `rope_dtype` and `patch_padding` also of ours.

    Raises:
        ValueError: the file is missing, is something else, or does not fit its description.
    """
    if str(path).endswith(".onnx"):
        return Loaded(*exported.load(Path(path), torch.device(device)))
    about, state = read(path, **hints)
    if about is None:
        beside = hub.local(path).with_name("model.safetensors")
        what = f"use {beside}" if beside.is_file() else "it can only initialise one (init=...)"
        raise ValueError(f"{path} holds weights without a description of a model; {what}")
    if not isinstance(about, dict) or about.get("format") != FORMAT or not isinstance(about.get("model"), dict):
        found = about.get("format") if isinstance(about, dict) else None
        raise ValueError(f"{path} has format {found}, this version reads {FORMAT}; use the version that wrote it")
    about = {**about, "model": forced(about["model"], **hints)}
    return Loaded(assemble(about["model"], state, path=path).to(device), about)


def answering(path: Path | str, *, device: torch.device | str = "cpu") -> tuple[DenseModel, dict[str, Any]]:
    """`load` for those who want answers, and its description.

    Raises:
        ValueError: as `load`; or it is a backbone alone, or an autoencoder.
    """
    model, about = load(path, device=device)
    if not isinstance(model, DenseModel):
        raise ValueError(f"{path} holds a {type(model).__name__}, which answers nothing; fine-tune it first (init={path})")
    return model, about


def read(path: Path | str, **hints: Any) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """The description (None where the file has none) and the tensors by our names, mapped from the disk.

    Raises:
        ValueError: no such file, or not one of weights.
    """
    path = hub.local(path)
    found = weights.read(path)
    if found.about is not None:
        return found.about, found.tensors
    return from_official(path, found, **hints) or (None, found.tensors)


def initialise(backbone: ViT, path: Path | str) -> None:
    """Fill a backbone from a pretrained file: ours or an official one (MAE or fine-tuned), or a timm ViT of equal shape.

    A cls token that the backbone lacks is dropped, one that the file lacks keeps its first value, and the position table is
    resampled to the backbone's grid. Every other tensor must fit.

    Raises:
        ValueError: the file's backbone has another shape.
    """
    about, state = read(path)
    if is_timm(state):
        state = from_timm(state)
    inner = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    state = inner or (dict(state) if about is None or "backbone" not in about["model"] else {})
    target = backbone.state_dict()
    if backbone.cls_token is None:
        state.pop("cls_token", None)
    elif "cls_token" not in state:
        state["cls_token"] = target["cls_token"]
    if (table := state.get("pos_embed")) is not None:
        state["pos_embed"] = _fit_positions(table, backbone, _grid(about, table.shape[1], path))
    missing, extra, wrong = compare(target, state)
    if missing or extra or wrong:
        raise ValueError(f"{path} does not fit this backbone (width {backbone.dim}, {len(backbone.blocks)} blocks): "
                         f"{findings(missing, extra, wrong)}; choose the size it was trained with")  # fmt: skip
    backbone.load_state_dict(state)
    if about is not None and (theirs := _backbone(about).get("patch_padding", 0)) != backbone.patch_padding:
        log.warning("the patches of %s start %d pixels outside the picture, those of this backbone %d; "
                    "backbone.patch_padding=%d makes them equal", path, theirs, backbone.patch_padding, theirs)  # fmt: skip
    log.info("backbone initialised from %s", path)


def initialise_decoders(model: DenseModel, path: Path | str) -> None:
    """Fill the decoders for which a file has one of equal widths that answers the same: all classes, or points of the same names.

    What the file does not know keeps its first value; the log says which decoders are filled, and which are not and why.
    """
    about, state = read(path)
    theirs = {task.name: task for task in build(about["model"].get("tasks", []))} if about else {}
    for task in model.tasks:
        if task.name not in theirs:
            continue
        front, decoder = f"decoders.{task.name}.", model.decoders[task.name]
        assert isinstance(decoder, Decoder)
        found = {name.removeprefix(front): tensor for name, tensor in state.items() if name.startswith(front)}
        try:
            told = _graft(decoder, found, task, theirs[task.name])
        except ValueError as error:
            log.info("the decoder of %s begins from random numbers: %s", task.name, error)
        else:
            log.info("decoder of %s initialised from %s%s", task.name, path, told)


def _graft(decoder: Decoder, found: dict[str, Tensor], task: Task, theirs: Task) -> str:
    """Fill a decoder; returns what there is to say of it.

    Raises:
        ValueError: it does not fit.
    """
    try:
        mine, other = matched(task, theirs)
    except ValueError:
        raise ValueError("that of the file answers something else") from None
    target = decoder.state_dict()
    for name, rows in target.items():
        if name.startswith("last.") and name in found and rows[mine].shape == found[name][other].shape:
            found[name] = _with_rows(rows, mine, found[name][other])
    if any(compare(target, found)):
        raise ValueError("its widths are others than those of the file")
    decoder.load_state_dict(found)
    return "" if isinstance(mine, slice) else f", {len(mine)} of its {task.channels} points"


def _with_rows(rows: Tensor, places: Any, values: Tensor) -> Tensor:
    rows = rows.clone()
    rows[places] = values.to(rows)
    return rows


def _backbone(about: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a description says of the backbone, which may be all of the model."""
    return about["model"].get("backbone", about["model"])


def _grid(about: Mapping[str, Any] | None, count: int, path: Path | str) -> tuple[int, int]:
    """The grid of a position table: as described, else a square with or without cls."""
    if about is not None:
        described = _backbone(about)
        image_hw, patch = described.get("image_hw", (1024, 768)), described.get("patch", 16)
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
