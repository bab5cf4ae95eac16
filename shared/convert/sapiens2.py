"""Meta's Sapiens2 files <-> ours: pretrained backbones, the one with the 4K tokenizer, and pose, seg, normal and pointmap.

Names change; queries, keys and values, which they keep apart, are stacked. No number changes, and the way back gives the file's
tensors bit for bit. Everything about the model is read from the shapes.
"""

import re
from collections.abc import Collection, Mapping
from math import isqrt, prod
from typing import Any

import torch
from torch import Tensor

from shared.convert.rows import attention_rows, join, split
from shared.convert.transformers import from_transformers, is_transformers
from shared.vit.family import FAMILIES
from shared.vit.rotary import Rotary
from shared.vit.tokenizer import EDGE

TOP = {  # theirs: ours
    "cls_token": "cls_token",
    "storage_tokens": "storage_tokens",
    "patch_embed.projection.weight": "patch_embed.weight",
    "patch_embed.projection.bias": "patch_embed.bias",
    "rope_embed.periods": "rope.periods",
    "tokenizer.w_cls": "tokenizer.cls_token",
    "tokenizer.local_pos_embed": "tokenizer.pos_embed",
    "ln1.weight": "norm.weight",
}
BLOCK = {
    "ln1.weight": "norm1.weight",
    "attn.qkv.weight": "attn.qkv.weight",
    "attn.qkv.bias": "attn.qkv.bias",
    "attn.q_norm.weight": "attn.q_norm.weight",
    "attn.k_norm.weight": "attn.k_norm.weight",
    "attn.proj.weight": "attn.proj.weight",
    "attn.proj.bias": "attn.proj.bias",
    "attn.gamma.weight": "ls1.gamma",
    "ln2.weight": "norm2.weight",
    "ffn.w12.weight": "mlp.fc1.weight",
    "ffn.w12.bias": "mlp.fc1.bias",
    "ffn.w3.weight": "mlp.fc2.weight",
    "ffn.w3.bias": "mlp.fc2.bias",
}
HEAD = (  # of the i-th layer, theirs: ours; their sequences count norms and activations too
    ("deconv_layers.{three}", "up.{i}.0"),
    ("conv_layers.{three}", "refine.{i}.0"),
    ("scale_conv_layers.{three}", "scale_convs.{i}.0"),
    ("scale_final_layer.{after}", "scale_mlp.{two}"),  # theirs starts by flattening
)
TASKS = ("pose", "seg", "normal", "pointmap")  # each stands behind `conv_` in the name of its last layer
NAMED = {  # what the channels of a head are called, and the published names
    "pose": ("keypoints", "skeleton", {308: "sapiens308"}),
    "seg": ("classes", "labels", {29: "sapiens29"}),
}
UNUSED = ("mask_token",)  # of pretraining; timm's port met it in a file, the published ones are without
FAMILY = "sapiens2"
ASPECT = (4, 3)  # of every image that Sapiens2 was trained on
GRID = (64, 48)  # of the published models; positions are angles, so that a file cannot tell its own and any other will do
SHUFFLED = ("normal", "pointmap")  # whose heads double the resolution by shuffling pixels


def matches(names: Collection[str]) -> bool:
    """Whether these are the names of a Sapiens2 file: Meta's, or those of the same model in Hugging Face's transformers."""
    return is_transformers(names) or any(f"{before}blocks.0.attn.wq.weight" in names for before in ("", "backbone."))


def describe(state: Mapping[str, Tensor], *, hints: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What `shared/build.py` makes the file's model of: a ViT, or a DenseModel with one task. Only shapes and periods are read.

    Args:
        state: tensors by their names in the file; all but the periods may be on "meta".
        hints: `rope_dtype` and `image_hw`, where they are known better than the file tells, and `task` (seg:labels or
            pose:skeleton) for a head with an unpublished number of channels.

    Raises:
        ValueError: a tensor is missing, or the shapes are not those of a Sapiens2.
    """
    state = _official(state)
    task = _task(state)
    before = "" if task is None else "backbone."
    backbone = _backbone({k.removeprefix(before): v for k, v in state.items() if k.startswith(before)})
    told = {key: value for key, value in (hints or {}).items() if key in ("rope_dtype", "image_hw") and value is not None}
    if task is None:
        if (hints or {}).get("task"):
            raise ValueError("it is a backbone alone, which answers nothing; leave task out")
        return {**backbone, **told}
    spec = _spec({k.removeprefix("decode_head."): v for k, v in state.items()})
    if spec["scale"] is not None:
        backbone["image_hw"] = [n * backbone["patch"] for n in _tokens(prod(spec["scale"]["grid"]), len(spec["scale"]["convs"]))]
    asked = _described(task, len(_need(state, f"decode_head.conv_{task}.bias")), (hints or {}).get("task"))
    decoder = {"type": "shared.dense.decoder.Spec", **spec}
    return {"type": "shared.dense.model.DenseModel", "backbone": {**backbone, **told}, "tasks": [asked], "decoder": decoder}


def to_ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of what `describe` describes.

    Raises:
        ValueError: the file holds tensors that no Sapiens2 has.
    """
    state = _official(state)
    task = _task(state)
    names = _names(state, task, shuffle="decode_head.input_conv.0.weight" in state)
    joined = join({k: v for k, v in state.items() if k.removeprefix("backbone.") not in UNUSED}, ("wq", "wk", "wv"), "qkv")
    _refuse(
        joined, names, "the file holds {}, which no Sapiens2 has; give a published file of pretrain, pose, seg, normal or pointmap"
    )
    ours = {names[name]: tensor for name, tensor in joined.items()}
    before = "" if task is None else "backbone."
    periods = ours.get(f"{before}rope.periods")
    if periods is None:  # transformers does not keep them
        periods = Rotary(len(_need(ours, f"{before}blocks.0.attn.q_norm.weight"))).periods
    return {**ours, f"{before}rope.periods": periods.float()}


def to_official(state: Mapping[str, Tensor], description: Mapping[str, Any]) -> dict[str, Tensor]:
    """A state dict of ours by Meta's names.

    Args:
        state: of a v2 ViT, or of a DenseModel with one of the four tasks.
        description: of that model.

    Raises:
        ValueError: the model is none that Sapiens2's code knows.
    """
    task = None
    if "tasks" in description:
        found = sorted({name.split(".")[1] for name in state if name.startswith("decoders.")})
        if len(found) != 1 or found[0] not in TASKS:
            raise ValueError(f"an official Sapiens2 file holds one of {', '.join(TASKS)}; this model answers {', '.join(found)}")
        task = found[0]
    shuffle = f"decoders.{task}.stem.0.weight" in state
    if task is not None and shuffle != (task in SHUFFLED):
        raise ValueError(f"Sapiens2's head for {task} has shuffle={not shuffle}, this model's decoder {shuffle}; "
                         "only models of its own architecture can be written as its files")  # fmt: skip
    names = _names(state, task, shuffle=shuffle)
    names = {ours: theirs for theirs, ours in names.items()}
    _refuse(state, names, "Sapiens2 has no place for {}; only models of its own architecture can be written as its files")
    official = {names[name]: tensor for name, tensor in state.items()}
    return split(official, "qkv", ("wq", "wk", "wv"), attention_rows(official))


def rope_dtype(periods: Tensor) -> str:
    """ "bf16" where the periods were rounded to it, so that Meta's own code made them; else "fp32"."""
    if periods.is_meta:
        return "fp32"
    rounded = torch.equal(periods, periods.bfloat16().to(periods.dtype))
    exact = Rotary(4 * len(periods)).periods
    return "bf16" if rounded and not torch.equal(exact, exact.bfloat16().float()) else "fp32"


def _official(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Meta's names; a backbone cut out of a task's file loses its prefix."""
    if is_transformers(state):
        return from_transformers(state)
    if all(name.startswith("backbone.") for name in state):
        return {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    return state


def _task(state: Collection[str]) -> str | None:
    """The task of the head, from the name of its last layer; None for a backbone alone."""
    if not any(name.startswith("decode_head.") for name in state):
        return None
    for task in TASKS:
        if f"decode_head.conv_{task}.weight" in state:
            return task
    others = sorted({name.split(".")[1] for name in state if name.startswith("decode_head.conv_")} - {"conv_layers"})
    raise ValueError(f"the file's head ends in {', '.join(others) or 'nothing known'}; of Sapiens2, {', '.join(TASKS)} can be read")


def _described(task: str, channels: int, told: str | None) -> dict[str, Any]:
    """The task as `shared/build.py` reads it."""
    name, _, words = (told or task).partition(":")
    if name != task:
        raise ValueError(f"it answers {task} with {channels} channels, not {name}; leave task out, or give {task}:...")
    described: dict[str, Any] = {"type": f"tasks.{task}.task.{task.capitalize()}"}
    if task not in NAMED:
        if channels != 3 or words:
            raise ValueError(
                f"Sapiens2 answers {task} with 3 channels, which need no names; this file has {channels}, task is {told!r}"
            )
        return described
    what, key, known = NAMED[task]
    if not (words := words or known.get(channels)):
        raise ValueError(
            f"it answers {channels} {what}, Sapiens2 {next(iter(known))}; say which these are: --task {task}:names.toml"
        )
    return {**described, key: words}


def _backbone(state: Mapping[str, Tensor]) -> dict[str, Any]:
    dim, _, patch, _ = _need(state, "patch_embed.projection.weight").shape
    depth = _count(state, r"blocks\.(\d+)\.")
    head_dim = len(_need(state, "blocks.0.attn.q_norm.weight"))
    heads = _need(state, "blocks.0.attn.wq.weight").shape[0] // head_dim
    storage = _need(state, "storage_tokens").shape[1]
    family = FAMILIES[FAMILY]
    if storage != family.storage:
        raise ValueError(f"the file has {storage} storage tokens; every Sapiens2 has {family.storage}")
    for i in range(depth):
        _expect(state, f"blocks.{i}.attn.wk.weight", (family.kv_heads(heads, i, depth) * head_dim, dim))
        _expect(state, f"blocks.{i}.ffn.w12.weight", (8 * dim, dim))
    tokenizer = _count(state, r"tokenizer\.blocks\.(\d+)\.")
    size = {"dim": dim, "depth": depth, "heads": heads, "family": FAMILY, "tokenizer": tokenizer}
    periods = state.get("rope_embed.periods")
    return {
        "type": "shared.vit.model.ViT",
        "size": size,
        "image_hw": [n * patch * (EDGE if tokenizer else 1) for n in GRID],
        "patch": patch,
        "tokenizer": tokenizer > 0,
        "rope_dtype": "fp32" if periods is None else rope_dtype(periods),
    }


def _spec(head: Mapping[str, Tensor]) -> dict[str, Any]:
    """The decoder's row of numbers."""
    shuffle = "input_conv.0.weight" in head
    if shuffle:
        up = [shape[0] // 4 for shape in _shapes(head, "upsample_blocks")]  # four channels become one of twice the edge
    else:
        up = [shape[1] for shape in _shapes(head, "deconv_layers")]
    refine = [shape[0] for shape in _shapes(head, "conv_layers")]
    convs = [shape[0] for shape in _shapes(head, "scale_conv_layers")]
    linear = _shapes(head, "scale_final_layer")
    if convs and not linear:
        raise ValueError("the file has the convolutions of the scale branch without its linear layers; part of it is lost")
    scale = None
    if convs:
        grid = [_halved(n, len(convs)) for n in _tokens(linear[0][1] // convs[-1], len(convs))]
        scale = {"convs": convs, "hidden": [shape[0] for shape in linear[:-1]], "grid": grid}
    return {"up": up, "refine": refine, "shuffle": shuffle, "scale": scale}


def _tokens(area: int, halvings: int) -> list[int]:
    """The largest 4:3 grid of tokens (h,w) of which so many positions are left after the scale branch's strides of two."""
    for k in range((1 + isqrt(area)) * 2**halvings, 0, -1):
        h, w = (side * k for side in ASPECT)
        if _halved(h, halvings) * _halved(w, halvings) == area:
            return [h, w]
    raise ValueError(f"the scale branch sees {area} positions, which no image of 4:3 leaves after {halvings} halvings")


def _halved(n: int, times: int) -> int:
    return -(-n // 2**times)  # a 1x1 convolution of stride two keeps the last column of an odd number


def _names(present: Collection[str], task: str | None, *, shuffle: bool) -> dict[str, str]:
    """Every name that such a model may have, theirs: ours, with queries, keys and values stacked."""
    layers = range(1 + max((int(n) for name in present for n in re.findall(r"blocks\.(\d+)\.", name)), default=0))
    names = dict(TOP)
    for i in layers:
        for blocks in (f"blocks.{i}.", f"tokenizer.blocks.{i}."):
            names |= {blocks + theirs: blocks + ours for theirs, ours in BLOCK.items()}
    if task is None:
        return names
    names = {f"backbone.{theirs}": f"backbone.{ours}" for theirs, ours in names.items()}
    head = {f"conv_{task}": "last", "input_conv.0": "stem.0"}
    for i in range(10):  # no head has as many
        head |= {theirs.format(three=3 * i, after=2 * i + 1): ours.format(i=i, two=2 * i) for theirs, ours in HEAD}
        if shuffle:
            head |= {f"upsample_blocks.{i}.0": head.pop(f"deconv_layers.{3 * i}")}
    for kind in ("weight", "bias"):
        names |= {f"decode_head.{theirs}.{kind}": f"decoders.{task}.{ours}.{kind}" for theirs, ours in head.items()}
    return names


def _refuse(state: Collection[str], names: Collection[str], sentence: str) -> None:
    if unknown := [name for name in state if name not in names]:
        raise ValueError(sentence.format(", ".join(unknown[:3]) + ", ..." * (len(unknown) > 3)))


def _shapes(head: Mapping[str, Tensor], sequence: str) -> list[tuple[int, ...]]:
    """Shapes of the weights of `sequence.<i>...`, in the order of i."""
    found = {int(m[1]): tuple(v.shape) for k, v in head.items() if (m := re.fullmatch(rf"{sequence}\.(\d+)(?:\.0)?\.weight", k))}
    return [found[i] for i in sorted(found)]


def _count(state: Collection[str], pattern: str) -> int:
    return len({found[1] for name in state if (found := re.match(pattern, name))})


def _need(state: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise ValueError(f"the file has no {name}, which every Sapiens2 has; it is another model, or part of it is lost")
    return state[name]


def _expect(state: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> None:
    if tuple(_need(state, name).shape) != shape:
        raise ValueError(f"{name} is {tuple(state[name].shape)}, a Sapiens2 of this width and depth has {shape} there")
