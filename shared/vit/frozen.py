"""A backbone of which all or the lower part stands still while what is above it is trained."""

from shared.vit.model import ViT

EMBEDDING = ("patch_embed", "pos_embed", "cls_token", "storage_tokens", "tokenizer")  # what makes tokens


def freeze(backbone: ViT, blocks: bool | int) -> None:
    """Train all of the backbone (False), nothing of it (True), or what is above its first blocks, which is the others and the norm.

    Raises:
        ValueError: there are not so many blocks.
    """
    if isinstance(blocks, bool):
        if blocks:
            backbone.requires_grad_(False)
        return
    if not isinstance(blocks, int) or not 1 <= blocks <= len(backbone.blocks):
        raise ValueError(f"frozen={blocks!r} is neither True nor a number of blocks; this backbone has {len(backbone.blocks)}")
    still = (*EMBEDDING, *(f"blocks.{number}" for number in range(blocks)))
    for name, parameter in backbone.named_parameters():
        if name.startswith(tuple(f"{start}." for start in still)) or name in EMBEDDING:
            parameter.requires_grad_(False)
