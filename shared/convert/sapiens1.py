"""Meta's Sapiens files (ECCV 2024) <-> ours: masked autoencoders, encoders alone, and pose, seg, depth and normal, of any size.

Names change and no number does, so the way back gives the file's tensors bit for bit. What shapes cannot tell (heads, padding of
the patches) follows the published models and may be said in `hints`.
"""

import logging
import re
from collections.abc import Collection, Iterable, Mapping
from math import isqrt
from typing import Any

from torch import Tensor

from shared.vit.sizes import SIZES, Size

log = logging.getLogger(__name__)
FAMILY = "sapiens"
BACKBONE = (  # theirs, ours; the norm of a block before the norm at the end, which has the same name
    (r"patch_embed\.projection\.", "patch_embed."),
    (r"layers\.(\d+)\.ln([12])\.", r"blocks.\1.norm\2."),
    (r"layers\.(\d+)\.attn\.", r"blocks.\1.attn."),
    (r"layers\.(\d+)\.ffn\.layers\.0\.0\.", r"blocks.\1.mlp.fc1."),
    (r"layers\.(\d+)\.ffn\.layers\.1\.", r"blocks.\1.mlp.fc2."),
    (r"ln1\.", "norm."),
    (r"(cls_token|pos_embed)$", r"\1"),
)
SINGLE = (
    "mask_token",
    "decoder_pos_embed",
    "decoder_embed.weight",
    "decoder_embed.bias",
    "decoder_pred.weight",
    "decoder_pred.bias",
)
ORDER = (  # of the names' parts in an official file
    *("backbone", "neck", "head", "decode_head", "cls_token", "pos_embed", "mask_token", "decoder_pos_embed", "decoder_embed"),
    *("patch_embed", "projection", "layers", "decoder_blocks", "ln1", "attn", "qkv", "proj", "ln2", "ffn"),
    *("decoder_pred", "conv_seg", "deconv_layers", "conv_layers", "final_layer", "weight", "bias"),
)
STEP = 3  # convolution, norm, activation: how far apart the numbers of a head's convolutions are
SKELETONS = {17: "coco17", 133: "wholebody133", 308: "sapiens308"}
LABELS = {28: "sapiens28", 20: "lip20"}
PADDED = ("pose", "lip20", "normal")  # whose official patches start two pixels outside the picture (specification, trap 1)
DROPOUT = {"pose": 0.0, "seg": 0.1, "depth": 0.1, "normal": 0.1}
MAE_HEADS = {512: 16}  # of the autoencoder's decoder, by its width
SUPPOSED = 4  # heads, where neither the width nor the file tells


def matches(names: Collection[str]) -> bool:
    """Whether these are the names of a Sapiens file."""
    return any(f"{before}layers.0.attn.qkv.weight" in names for before in ("", "backbone."))


def describe(state: Mapping[str, Tensor], *, hints: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What `shared/build.py` makes the file's model of: a ViT, a MaskedAutoencoder, or a DenseModel with one task.

    Args:
        state: tensors by their names in the file; only shapes are read, so all may be on "meta".
        hints: `heads`, `patch_padding`, `image_hw`, `task` (seg:labels or pose:skeleton) and `config`, the text of the file's own
            configuration; each may be missing.

    Raises:
        ValueError: the shapes are not those of a Sapiens, or nobody has told what the answers mean.
    """
    hints = hints or {}
    encoder = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")} or state
    backbone = _backbone(encoder, hints)
    if "neck.mask_token" in state:
        if hints.get("task"):
            raise ValueError(f"the file is a masked autoencoder, which answers no {hints['task']}; leave task out")
        width = state["neck.mask_token"].shape[-1]
        depth = _count(state, r"neck\.decoder_blocks\.(\d+)\.")
        decoder = {"dim": width, "depth": depth, "heads": MAE_HEADS.get(width, SUPPOSED)}
        return {
            "type": "pretrain.model.MaskedAutoencoder",
            "backbone": {**backbone, "cls": "cls_token" in encoder, "fixed_position": True},
            **decoder,
        }
    if (kind := _kind(state)) is None:
        return {**backbone, "cls": "cls_token" in encoder}
    head = {k.partition(".")[2]: v for k, v in state.items() if not k.startswith("backbone.")}
    task = _task(kind, _need(head, "final_layer.weight" if kind == "pose" else "conv_seg.weight").shape[0], hints.get("task"))
    spec = {
        "type": "shared.dense.decoder.Spec",
        "up": [shape[1] for shape in _shapes(head, "deconv_layers")],
        "refine": [shape[0] for shape in _shapes(head, "conv_layers")],
        "dropout": DROPOUT[kind],
    }
    padded = kind in PADDED or task.get("labels") in PADDED
    padding = hints.get("patch_padding")
    backbone["patch_padding"] = (2 if padded else 0) if padding is None else padding
    return {"type": "shared.dense.model.DenseModel", "backbone": backbone, "tasks": [task], "decoder": spec}


def to_ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of what `describe` describes.

    Raises:
        ValueError: the file holds tensors that no Sapiens has.
    """
    kind = _kind(state)
    if kind is None and "neck.mask_token" not in state:  # an encoder alone, which is flat with us
        state = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    ours = {name: _ours(name, kind) for name in state}
    _refuse([name for name, found in ours.items() if found is None], "the file holds tensors that are in no Sapiens")
    return {str(ours[name]): tensor for name, tensor in state.items()}


def to_official(state: Mapping[str, Tensor], description: Mapping[str, Any]) -> dict[str, Tensor]:
    """A state dict of ours by Meta's names, in their order.

    Args:
        state: of a ViT, a MaskedAutoencoder, or a DenseModel with one of the four tasks.
        description: of that model.

    Raises:
        ValueError: the model is none that Sapiens' code knows.
    """
    tasks = sorted({name.split(".")[1] for name in state if name.startswith("decoders.")})
    if len(tasks) > 1 or not set(tasks) <= set(DROPOUT):
        raise ValueError(f"an official Sapiens file holds one of {', '.join(DROPOUT)}; this model has {', '.join(tasks)}: "
                         "only the model of a single task can be written as one")  # fmt: skip
    theirs = {name: _theirs(name, tasks[0] if tasks else None, alone="patch_embed.weight" in state) for name in state}
    _refuse([name for name, found in theirs.items() if found is None], f"Sapiens has no place for tensors of {description['type']}")
    return {str(theirs[name]): state[name] for name in sorted(state, key=lambda name: _rank(str(theirs[name])))}


def _backbone(encoder: Mapping[str, Tensor], hints: Mapping[str, Any]) -> dict[str, Any]:
    dim, _, patch, _ = _need(encoder, "patch_embed.projection.weight").shape
    depth = _count(encoder, r"layers\.(\d+)\.")
    heads = _heads(dim, hints)
    known = [name for name, row in SIZES.items() if row == Size(dim, depth, heads)]
    size = known[0] if known else {"dim": dim, "depth": depth, "heads": heads, "family": FAMILY}
    count = _need(encoder, "pos_embed").shape[1] - ("cls_token" in encoder)
    image_hw = hints.get("image_hw") or [n * patch for n in grid_of(count)]
    return {
        "type": "shared.vit.model.ViT",
        "size": size,
        "image_hw": list(image_hw),
        "patch": patch,
        "patch_padding": hints.get("patch_padding") or 0,
    }


def grid_of(count: int) -> tuple[int, int]:
    """The grid (h,w) that this many positions stand for: 4:3 where that is possible, else a square.

    Raises:
        ValueError: neither is.
    """
    k = isqrt(count // 12)
    if 12 * k * k == count:
        return 4 * k, 3 * k
    side = isqrt(count)
    if side * side == count:
        return side, side
    raise ValueError(
        f"the file has {count} positions, which is neither a grid of 4:3 nor a square; every Sapiens has one of the two"
    )


def _heads(dim: int, hints: Mapping[str, Any]) -> int:
    """Heads leave no trace in the shapes: as told, as in the published size of this width, as in the file's own configuration."""
    if told := hints.get("heads"):
        return int(told)
    published = [row.heads for row in SIZES.values() if (row.dim, row.family) == (dim, FAMILY)]
    if published:
        return published[0]
    if found := re.search(r"num_heads['\"]?\s*[=:]\s*(\d+)", str(hints.get("config") or "")):
        return int(found[1])
    log.warning("a backbone of width %d has no published number of heads and the file tells none: %d supposed; heads= and --heads "
                "say otherwise", dim, SUPPOSED)  # fmt: skip
    return SUPPOSED


def _kind(state: Mapping[str, Tensor]) -> str | None:
    """pose, seg, depth or normal; None where there is no such head."""
    if any(name.startswith("head.") for name in state):
        return "pose"
    if not any(name.startswith("decode_head.") for name in state):
        return None
    return {1: "depth", 3: "normal"}.get(_need(state, "decode_head.conv_seg.weight").shape[0], "seg")


def _task(kind: str, count: int, told: str | None) -> dict[str, Any]:
    """The task as `shared/build.py` reads it; `count` is the number of its answers."""
    name, _, words = (told or kind).partition(":")
    if name != kind:
        raise ValueError(f"the file answers {kind} with {count} channels, not {name}; leave task out, or give {kind}:...")
    task: dict[str, Any] = {"type": f"tasks.{kind}.task.{kind.capitalize()}"}
    if kind in ("pose", "seg"):
        tables, key, what = (SKELETONS, "skeleton", "keypoints") if kind == "pose" else (LABELS, "labels", "classes")
        words = words or tables.get(count)
        if not words:
            raise ValueError(f"the file answers {count} {what}; known are {', '.join(map(str, tables))}. Say which these are: "
                             f"--task {kind}:names.toml")  # fmt: skip
        task[key] = words
    elif words:
        raise ValueError(f"{kind} has no names to choose, but task is {told!r}; leave it out")
    return task


def _ours(name: str, kind: str | None) -> str | None:
    """Our name of a tensor of theirs; None where they have none such."""
    before, _, inner = name.partition(".")
    if before == "neck":
        if inner in SINGLE:
            return inner
        if inner.startswith("decoder_blocks."):
            block = _first(inner.replace("decoder_blocks.", "layers.", 1), BACKBONE)
            return block and f"decoder_{block}"
        return inner.replace("ln1.", "decoder_norm.") if inner in ("ln1.weight", "ln1.bias") else None
    if before == ("head" if kind == "pose" else "decode_head"):
        last = "final_layer" if kind == "pose" else "conv_seg"
        if found := re.fullmatch(rf"(?:(deconv|conv)_layers\.(\d+)|{last})\.(weight|bias)", inner):
            part = f"{'up' if found[1] == 'deconv' else 'refine'}.{int(found[2]) // STEP}.0" if found[1] else "last"
            return f"decoders.{kind}.{part}.{found[3]}"
        return None
    if before == "backbone":
        renamed = _first(inner, BACKBONE)
        return renamed and f"backbone.{renamed}"
    return _first(name, BACKBONE)


def _theirs(name: str, kind: str | None, *, alone: bool) -> str | None:
    """Their name of a tensor of ours; None where they have none such. `alone`: the encoder is the whole file."""
    if alone:
        return _first(name, _BACK)
    if name in SINGLE:
        return f"neck.{name}"
    if name.startswith("decoder_norm."):
        return name.replace("decoder_norm.", "neck.ln1.")
    if name.startswith("decoder_blocks."):
        block = _first(name.removeprefix("decoder_"), _BACK)
        return block and f"neck.decoder_{block.replace('layers.', 'blocks.', 1)}"
    if name.startswith("backbone."):
        renamed = _first(name.removeprefix("backbone."), _BACK)
        return renamed and f"backbone.{renamed}"
    if not (found := re.fullmatch(rf"decoders\.{kind}\.(?:(up|refine)\.(\d+)\.0|last)\.(weight|bias)", name)):
        return None
    before, last = ("head", "final_layer") if kind == "pose" else ("decode_head", "conv_seg")
    part = f"{'deconv' if found[1] == 'up' else 'conv'}_layers.{int(found[2]) * STEP}" if found[1] else last
    return f"{before}.{part}.{found[3]}"


def _first(name: str, rules: Iterable[tuple[str, str]]) -> str | None:
    """The name after the first rule that fits its beginning."""
    for pattern, new in rules:
        renamed, count = re.subn(rf"^{pattern}", new, name)
        if count:
            return renamed
    return None


_BACK = (
    (r"patch_embed\.", "patch_embed.projection."),
    (r"blocks\.(\d+)\.norm([12])\.", r"layers.\1.ln\2."),
    (r"blocks\.(\d+)\.attn\.(?=qkv|proj)", r"layers.\1.attn."),
    (r"blocks\.(\d+)\.mlp\.fc1\.", r"layers.\1.ffn.layers.0.0."),
    (r"blocks\.(\d+)\.mlp\.fc2\.", r"layers.\1.ffn.layers.1."),
    (r"norm\.", "ln1."),
    (r"(cls_token|pos_embed)$", r"\1"),
)


def _rank(name: str) -> list[int]:
    return [int(part) if part.isdigit() else ORDER.index(part) for part in name.split(".")]


def _shapes(head: Mapping[str, Tensor], sequence: str) -> list[tuple[int, ...]]:
    """Shapes of the weights of `sequence.<i>`, in the order of i."""
    found = {int(m[1]): tuple(v.shape) for k, v in head.items() if (m := re.fullmatch(rf"{sequence}\.(\d+)\.weight", k))}
    return [found[i] for i in sorted(found)]


def _count(names: Iterable[str], pattern: str) -> int:
    return len({found[1] for name in names if (found := re.match(pattern, name))})


def _need(state: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise ValueError(f"the file has no {name}, which every Sapiens has; it is another model, or part of it is lost")
    return state[name]


def _refuse(names: list[str], what: str) -> None:
    if names:
        raise ValueError(f"{what}: {', '.join(names[:3])}{', ...' * (len(names) > 3)} ({len(names)} in all)")
