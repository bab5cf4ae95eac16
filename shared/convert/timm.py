"""timm's ViTs <-> ours: plain ones (ImageNet, MAE, DINO), DINOv3 and its Sapiens2, as an initialisation.

Names change, no number does.
"""

import re
from collections.abc import Collection, Mapping
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from shared.convert.rows import attention_rows, join, split
from shared.vit.rotary import Rotary
from shared.vit.sizes import SIZES

_RENAMED = (  # timm's, ours, and the way back
    (r"^patch_embed\.proj\.", "patch_embed.", r"^patch_embed\.", "patch_embed.proj."),
    (r"^reg_token$", "storage_tokens", r"^storage_tokens$", "reg_token"),
    (r"\.gamma_1$", ".ls1.gamma", r"\.ls1\.gamma$", ".gamma_1"),
    (r"\.gamma_2$", ".ls2.gamma", r"\.ls2\.gamma$", ".gamma_2"),
)
_POOLED = re.compile(r"^fc_norm\.")  # models that pool their patches keep the final norm under this name
_UNUSED = re.compile(r"^(head|head_dist|pre_logits)\.")
SQUARE = 512  # pixels, of models that have no table of positions and fit any
DINOV3_HEAD = 64  # width of a head at every size
_PARTS = ("q_proj", "k_proj", "v_proj")


def is_timm(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the names of a timm ViT."""
    return "patch_embed.proj.weight" in state


def from_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names; the classifier is left out. Whatever our backbone has no place for is left in, so that loading refuses it.

    Raises:
        ValueError: an EVA, a DINOv3 with a gated feed-forward or a ViT with registers, which are none of our families.
    """
    state = {name: tensor for name, tensor in state.items() if not _UNUSED.match(name)}
    second, third = _is_sapiens2(state), _is_dinov3(state)
    foreign = [name for name in state if _has(name, "gamma_1", "reg_token", "q_bias", *_PARTS)]
    if foreign and not second and not third:
        raise ValueError(
            f"the file is a timm model with {', '.join(foreign[:2])}: an EVA, a DINOv3 with a gated feed-forward, or a ViT with "
            "registers, which differ from our families in more than names; initialise from a plain timm ViT, a "
            "vit_*_patch16_sapiens2 or vit_{small,base,large}_patch16_dinov3"
        )
    renamed = {}
    for name, tensor in join(state, _PARTS, "qkv").items():
        for theirs, ours, _, _ in _RENAMED:
            name = re.sub(theirs, ours, name)
        renamed[_POOLED.sub("norm.", name)] = tensor
    if second:  # which timm computes anew
        renamed["rope.periods"] = Rotary(len(renamed["blocks.0.attn.q_norm.weight"])).periods
    if third:
        renamed["rope.periods"] = Rotary(DINOV3_HEAD).periods
        for name in [name for name in renamed if name.endswith("attn.qkv.weight")]:
            parts = [renamed.pop(f"{name.removesuffix('qkv.weight')}{part}_bias", None) for part in "qkv"]  # none, or all but k's
            zero = torch.zeros(len(renamed[name]) // 3)
            renamed[name.replace("weight", "bias")] = torch.cat([zero if part is None else part for part in parts])
    return renamed


def describe(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The ViT that a timm file is of, as `build` makes it: its tensors tell its shape, our sizes its heads, else 64 wide."""
    ours = from_timm(state)
    dim, _, patch, _ = ours["patch_embed.weight"].shape
    depth = len({name.split(".")[1] for name in ours if name.startswith("blocks.")})
    family = "dinov3" if "blocks.0.ls2.gamma" in ours else "sapiens2" if "blocks.0.attn.q_norm.weight" in ours else "sapiens"
    alike = (size.heads for size in SIZES.values() if (size.dim, size.depth, size.family) == (dim, depth, family))
    edge = isqrt(ours["pos_embed"].shape[1]) * patch if "pos_embed" in ours else SQUARE  # a row for cls is not another side
    row = {"dim": dim, "depth": depth, "heads": next(alike, dim // 64), "family": family}
    options = {"image_hw": (edge, edge), "patch": patch, "cls": "cls_token" in ours}
    return {"type": "shared.vit.model.ViT", "size": row, **options}


def to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """timm's names of a ViT of ours with a cls token: a plain ViT, or a `vit_*_patch16_sapiens2` without its classifier.

    The periods of rotary positions are left out: timm computes exact ones, which is what `rope_dtype=fp32` wants.

    Raises:
        ValueError: the backbone has a tokenizer, which timm has not, or no cls token, which timm's need; or it is a DINOv3.
    """
    if "blocks.0.ls2.gamma" in state:
        raise ValueError("a DINOv3 is an initialisation here, and does not go back to timm; it stays in our own format")
    if "cls_token" not in state:
        raise ValueError("timm's ViTs have a cls token, this backbone has none; build it with cls=True")
    if any(name.startswith("tokenizer.") for name in state):
        raise ValueError("this backbone has a window tokenizer (4K), which timm's Sapiens2 has not; it stays in our own format")
    renamed = {}
    for name, tensor in state.items():
        for _, _, ours, theirs in _RENAMED:
            name = re.sub(ours, theirs, name)
        renamed[name] = tensor
    if renamed.pop("rope.periods", None) is None:
        return renamed
    return split(renamed, "qkv", _PARTS, attention_rows(renamed))


def _is_sapiens2(names: Collection[str]) -> bool:
    return {"reg_token", "blocks.0.attn.q_norm.weight", "blocks.0.attn.q_proj.weight", "blocks.0.gamma_1"} <= set(names) and (
        "blocks.0.gamma_2" not in names
    )


def _is_dinov3(names: Collection[str]) -> bool:
    wanted = {f"blocks.0.{part}" for part in ("gamma_1", "gamma_2", "attn.qkv.weight", "mlp.fc1.weight")}
    return {"reg_token", *wanted} <= set(names) and "pos_embed" not in names


def _has(name: str, *parts: str) -> bool:
    return any(part in name.split(".") for part in parts)
