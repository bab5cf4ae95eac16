"""Spread over the sphere: nobody may have a neighbour that is too near (Sablayrolles et al. 2019; DINOv2, Oquab et al. 2023)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from pretrain.everyone import gathered

LEAST = 1e-8  # of a distance, as in DINOv2


def koleo(rows: Tensor) -> Tensor:
    """Minus the mean logarithm of the distance from each direction to the nearest other one, among those of all processes.

    Args:
        rows: (B,D), of any length; their directions count.

    Returns:
        (), of the rows of this process; 0 where nobody has a neighbour.
    """
    unit = F.normalize(rows.float(), dim=1, eps=LEAST)
    others, first = gathered(unit)
    if len(others) < 2:
        return unit.sum() * 0
    with torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
        near = unit @ others.T  # (b,B)
        near[:, first:].fill_diagonal_(-2)  # nobody is its own neighbour
        nearest = near.argmax(1)
    return -((unit - others[nearest]).norm(dim=1) + LEAST).log().mean()
