"""Sizes are data: one ViT class, one row per model."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.vit.family import FAMILIES


class Size(NamedTuple):
    """Width, number of blocks and number of heads; the feed-forward is four times as wide.

    `family` is a name of `FAMILIES`, `tokenizer` the number of blocks in the window tokenizer, where one is asked for.
    """

    dim: int
    depth: int
    heads: int
    family: str = "sapiens"
    tokenizer: int = 0


SIZES = {
    "nano": Size(128, 4, 4),  # 0.9 M: tests and the two-minute demo
    "tiny": Size(192, 12, 3),  # 5.5 M: DeiT-Ti's shape (Touvron et al. 2021, table 1), for laptops
    "300m": Size(1024, 24, 16),  # Sapiens, ECCV 2024, table 1; the repository's names are 0.3b .. 2b
    "600m": Size(1280, 32, 16),
    "1b": Size(1536, 40, 24),
    "2b": Size(1920, 48, 32),
    "v2_nano": Size(128, 4, 4, "sapiens2", 1),  # 1.2 M, as wide and deep as nano
    "v2_100m": Size(768, 12, 12, "sapiens2", 2),  # Sapiens2, ICLR 2026; the repository's names are 0.1b .. 5b
    "v2_400m": Size(1024, 24, 16, "sapiens2", 2),
    "v2_800m": Size(1280, 32, 16, "sapiens2", 3),
    "v2_1b": Size(1536, 40, 24, "sapiens2", 4),  # the only one that was published with its tokenizer
    "v2_5b": Size(2432, 56, 32, "sapiens2", 6),
    "dinov3_small": Size(384, 12, 6, "dinov3"),  # timm's vit_{small,base,large}_patch16_dinov3
    "dinov3_base": Size(768, 12, 12, "dinov3"),
    "dinov3_large": Size(1024, 24, 16, "dinov3"),
}


def size_of(size: str | Mapping[str, Any]) -> Size:
    """A name of `SIZES`, or a row of one's own: dict(dim=, depth=, heads=[, family=, tokenizer=]).

    Raises:
        ValueError: no such name, a field too many or too few, or no such family.
    """
    if isinstance(size, str):
        if size not in SIZES:
            raise ValueError(f"there is no ViT size {size!r}; choose one of {', '.join(SIZES)}")
        return SIZES[size]
    required = Size._fields[: len(Size._fields) - len(Size._field_defaults)]
    if set(size) - set(Size._fields) or set(required) - set(size):
        optional = ", ".join(Size._field_defaults)
        raise ValueError(f"a ViT size of one's own has {', '.join(required)} and may have {optional}, not {', '.join(size)}")
    row = Size(**size)
    if row.family not in FAMILIES:
        raise ValueError(f"there is no family {row.family!r} of ViTs; choose one of {', '.join(FAMILIES)}")
    return row
