"""How near answered points are to the truth: object keypoint similarity, of the whole and of its parts, and errors of faces.

P points of one person; distances and lengths in pixels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from shared.vocabulary import Vocabulary

PARTS = ("body", "foot", "face", "left_hand", "right_hand")  # of COCO-WholeBody's protocol
EYES = "interocular"  # the group of two points whose distance measures a face
LIMITS = (0.08, 0.1)  # of failure, in eye distances: 300-W's and WFLW's
SIGMA = 0.05  # for points of a table without sigmas: between a wrist and a shoulder in COCO


def parts(words: Vocabulary) -> dict[str, list[int]]:
    """The points of each part that the table has beside others; none where it is all one part."""
    found = {name: list(words.groups[name]) for name in PARTS if name in words.groups}
    return {name: ids for name, ids in found.items() if len(ids) < len(words)}


def similarities(distance: Tensor, sigmas: Tensor, area: Tensor) -> Tensor:
    """COCO's exp(-d^2 / (2 area k^2)) with k = 2 sigma: (P,), (P,), () -> (P,)."""
    return torch.exp(-(distance**2) / (8 * sigmas**2 * area))


def part_row(similar: Tensor, known: Tensor, words: Vocabulary) -> list[Tensor]:
    """For each part the mean over its known points, 0 where there is none, and whether there is one; all of (K,) points."""
    row = []
    for ids in parts(words).values():
        there = known[ids].sum().double()
        row += [torch.where(known[ids], similar[ids], 0).sum() / there.clamp(min=1), (there > 0).double()]
    return row


def face_row(distance: Tensor, points: Tensor, known: Tensor, words: Vocabulary) -> list[Tensor]:
    """The normalised mean error of a face, the share of each limit that it leaves, whether it exceeds it, and whether it counts.

    Args:
        distance: (K,) of answer and truth.
        points: (K,2) the truth.
        known: (K,) bool.
        words: with the groups `face` and `interocular`; without them the row is empty.
    """
    if EYES not in words.groups or "face" not in words.groups:
        return []
    eyes, face = list(words.groups[EYES]), list(words.groups["face"])
    apart = (points[eyes[0]] - points[eyes[1]]).norm()
    counts = bool(known[eyes].all() and apart >= 1)  # eyes nearer than a pixel measure nothing
    error = distance[face][known[face]].mean() / apart if counts else distance.new_zeros(())
    left = [(1 - error / limit).clamp(min=0) for limit in LIMITS]
    row = [error, *left, *((error > limit).double() for limit in LIMITS), torch.ones_like(error)]
    return row if counts else [torch.zeros_like(error)] * len(row)


def face_scores(sums: Sequence[float]) -> dict[str, float]:
    """`nme`, `auc08` and `auc10`, the area under the share of faces by error up to that limit, `fr08` and `fr10`, failure rates."""
    if not sums:
        return {}
    names = ["nme", *(f"{kind}{round(100 * limit):02d}" for kind in ("auc", "fr") for limit in LIMITS)]
    *values, count = sums
    return {name: value / count if count else float("nan") for name, value in zip(names, values)}
