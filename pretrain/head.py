"""What two views are compared in: a projection and its cosines with prototypes (DINO, Caron et al. 2021, section 3)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Head(nn.Module):
    """cls (B,D) -> cosines (B,K) between its projection and K prototypes, float32.

    Args:
        dim: D.
        prototypes: K.
        hidden: width of the two layers inside.
        bottleneck: width of the projection.
    """

    def __init__(self, dim: int, *, prototypes: int, hidden: int, bottleneck: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck))  # their directions alone count
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.prototypes)

    def forward(self, cls: Tensor) -> Tensor:
        projection = F.normalize(self.layers(cls).float(), dim=1)
        return F.linear(projection, F.normalize(self.prototypes, dim=1)).float()
