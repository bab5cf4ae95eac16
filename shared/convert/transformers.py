"""Sapiens2 by the names of Hugging Face's transformers -> Meta's names. It keeps gate and value of the feed-forward apart."""

import re
from collections.abc import Collection, Mapping

from torch import Tensor

from shared.convert.rows import join

_RENAMED = tuple(
    (re.compile(theirs), official)
    for theirs, official in (
        (r"^(model\.)?embeddings\.cls_token$", r"\1cls_token"),
        (r"^(model\.)?embeddings\.register_tokens$", r"\1storage_tokens"),
        (r"^(model\.)?embeddings\.patch_embeddings\.", r"\1patch_embed.projection."),
        (r"^(model\.)?model\.layer\.", r"\1blocks."),
        (r"^(model\.)?norm\.", r"\1ln1."),
        (r"\.norm([12])\.", r".ln\1."),
        (r"\.attention\.([qkv])_proj\.", r".attn.w\1."),
        (r"\.attention\.o_proj\.", ".attn.proj."),
        (r"\.attention\.", ".attn."),
        (r"\.layer_scale1\.lambda1$", ".attn.gamma.weight"),
        (r"\.mlp\.w12\.", ".ffn.w12."),
        (r"\.mlp\.down_proj\.", ".ffn.w3."),
        (r"^model\.", "backbone."),
        (r"^decode_head\.input_conv\.convolution\.", "decode_head.input_conv.0."),
    )
)
_COUNTED = re.compile(r"^(decode_head|scale_head)\.conv_layers\.(\d+)\.convolution\.")
_UP = re.compile(r"^decode_head\.upsample_layers\.(\d+)\.convolution\.")
_SCALE = {"block1.layers.0": 1, "block2.layers.0": 3, "proj": 5}


def is_transformers(names: Collection[str]) -> bool:
    """Whether these are the names of a Sapiens2 of transformers."""
    return any(f"{before}embeddings.register_tokens" in names for before in ("", "model."))


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Meta's names, without the periods, which transformers recomputes; the head's task is told by its number of channels.

    Raises:
        ValueError: a head with a number of channels that Meta has no name for.
    """
    predictor = _predictor(state)
    shuffle = "decode_head.input_conv.convolution.weight" in state
    official = {}
    for name, tensor in join(state, ("gate_proj", "up_proj"), "w12").items():
        for pattern, renamed in _RENAMED:
            name = pattern.sub(renamed, name)
        name = _COUNTED.sub(lambda m: f"decode_head.{'scale_' * (m[1] == 'scale_head')}conv_layers.{3 * int(m[2])}.", name)
        name = _UP.sub(
            lambda m: f"decode_head.upsample_blocks.{m[1]}.0." if shuffle else f"decode_head.deconv_layers.{3 * int(m[1])}.", name
        )
        for theirs, i in _SCALE.items():
            name = name.replace(f"scale_head.predictor.{theirs}.", f"decode_head.scale_final_layer.{i}.")
        official[name.replace("decode_head.predictor.", f"decode_head.{predictor}.")] = tensor
    return official


def _predictor(state: Mapping[str, Tensor]) -> str:
    """Meta's name of the last layer."""
    last = state.get("decode_head.predictor.weight")
    if last is None:
        return ""
    if len(last) == 3:
        return "conv_pointmap" if any(name.startswith("scale_head.") for name in state) else "conv_normal"
    known = {308: "conv_pose", 29: "conv_seg"}
    if len(last) not in known:
        raise ValueError(
            f"the head has {len(last)} channels; pose (308), seg (29), normal and pointmap (3) of transformers can be read"
        )
    return known[len(last)]
