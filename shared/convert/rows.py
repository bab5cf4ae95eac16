"""Layers that others store in parts and we store as one, or the other way round: rows are stacked and cut, no number changes."""

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor


def join(state: Mapping[str, Tensor], parts: Sequence[str], whole: str) -> dict[str, Tensor]:
    """`<before>.part.<after>` of every part, stacked in this order, becomes `<before>.whole.<after>`; the rest stays as it is.

    Raises:
        ValueError: a layer has some of its parts only.
    """
    pattern = re.compile(rf"\.({'|'.join(parts)})\.")
    joined = {}
    for name, tensor in state.items():
        if (found := pattern.search(name)) is None:
            joined[name] = tensor
            continue
        together = [pattern.sub(f".{part}.", name) for part in parts]
        if missing := [n for n in together if n not in state]:
            raise ValueError(f"the file has {name} without {', '.join(missing)}; part of it is lost, so fetch it again")
        if found[1] == parts[0]:
            joined[pattern.sub(f".{whole}.", name)] = torch.cat([state[n] for n in together])
    return joined


def split(state: Mapping[str, Tensor], whole: str, parts: Sequence[str], rows: Callable[[str], list[int]]) -> dict[str, Tensor]:
    """The inverse of `join`; `rows(name)` says how many rows of that tensor belong to each part."""
    cut = {}
    for name, tensor in state.items():
        if f".{whole}." in name:
            pieces = tensor.split(rows(name))
            cut |= {name.replace(f".{whole}.", f".{part}."): piece.clone() for part, piece in zip(parts, pieces)}
        else:
            cut[name] = tensor
    return cut


def attention_rows(state: Mapping[str, Tensor]) -> Callable[[str], list[int]]:
    """How many rows of a stacked `...qkv.{weight,bias}` are queries, keys and values: queries are as many as the block is wide."""

    def rows(name: str) -> list[int]:
        layer = name.rpartition(".")[0]
        total, width = state[f"{layer}.weight"].shape
        return [width, (total - width) // 2, (total - width) // 2]

    return rows
