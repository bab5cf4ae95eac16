"""timm's plain ViTs -> ours: ImageNet, MAE and DINO weights of equal shape as an initialisation. Names change, no number does."""

import re
from collections.abc import Mapping

from torch import Tensor

_RENAMED = (
    (re.compile(r"^patch_embed\.proj\."), "patch_embed."),
    (re.compile(r"^fc_norm\."), "norm."),  # models that pool their patches keep the final norm under this name
)
_UNUSED = re.compile(r"^(head|head_dist|pre_logits)\.")


def is_timm(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the names of a timm ViT."""
    return "patch_embed.proj.weight" in state


def from_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names; the classifier is left out. Whatever our backbone has no place for is left in, so that loading refuses it."""
    renamed = {}
    for name, tensor in state.items():
        if _UNUSED.match(name):
            continue
        for pattern, ours in _RENAMED:
            name = pattern.sub(ours, name)
        renamed[name] = tensor
    return renamed
