"""Sizes are data: one ViT class, one row per model."""

from typing import NamedTuple


class Size(NamedTuple):
    """Width, number of blocks and number of heads; the feed-forward is four times as wide."""

    dim: int
    depth: int
    heads: int


SIZES = {
    "nano": Size(128, 4, 4),  # 0.9 M: tests and the two-minute demo
    "tiny": Size(192, 12, 3),  # 5.5 M: DeiT-Ti's shape (Touvron et al. 2021, table 1), for laptops
    "300m": Size(1024, 24, 16),  # Sapiens, ECCV 2024, table 1; the repository's names are 0.3b .. 2b
    "600m": Size(1280, 32, 16),
    "1b": Size(1536, 40, 24),
    "2b": Size(1920, 48, 32),
}
