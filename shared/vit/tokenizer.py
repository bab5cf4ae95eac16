"""The window tokenizer of Sapiens2's 4K models: four by four patches look at one another and become one token.

What a 4096 x 3072 picture costs the backbone is then what 1024 x 768 costs without. Letters: B batch, D width, h w patches.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from shared.vit.attention import Backend
from shared.vit.block import Block
from shared.vit.family import WINDOW

EDGE = 4  # patches along the edge of a window
CHUNK = 1024  # windows at a time: the activations of more would not fit; the official number


class WindowTokenizer(nn.Module):
    """Patches (B,D,h,w) -> one token per window, row by row: (B,h/4*w/4,D). `h` and `w` are multiples of four.

    In training, the activations of each chunk are recomputed in the backward pass.
    """

    def __init__(self, dim: int, heads: int, *, depth: int, backend: Backend = "auto") -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + EDGE**2, dim))
        self.blocks = nn.ModuleList(Block(dim, heads, family=WINDOW, backend=backend) for _ in range(depth))

    def forward(self, patches: Tensor) -> Tensor:
        windows = patches.unflatten(3, (-1, EDGE)).unflatten(2, (-1, EDGE))  # (B,D,h/4,4,w/4,4)
        windows = windows.permute(0, 2, 4, 3, 5, 1).flatten(3, 4)  # (B,h/4,w/4,16,D)
        again = self.training and torch.is_grad_enabled()
        together = windows.flatten(0, 2)
        pooled = [
            checkpoint(self._pool, chunk, use_reentrant=False) if again else self._pool(chunk)
            for chunk in ([together] if torch.compiler.is_exporting() else together.split(CHUNK))  # a graph goes round nothing
        ]
        return torch.cat(pooled).view(patches.shape[0], -1, patches.shape[1])

    def _pool(self, windows: Tensor) -> Tensor:
        """(n,16,D) -> (n,D): what the window's own token gathered."""
        tokens = torch.cat([self.cls_token.expand(windows.shape[0], -1, -1), windows], 1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return tokens[:, 0]
