"""Which patches the encoder sees: pure index arithmetic (He et al. 2022, section 3). Letters: B batch, N patches, n kept."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pretrain.blocks import blocks


def noise_for(positions: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """Uniform noise (B,count) that depends on each sample's position in the stream alone, not on its batch or process."""
    rows = []
    for position in positions.tolist():
        generator = torch.Generator().manual_seed((seed * 1_000_003 + position) % 2**63)
        rows.append(torch.rand(count, generator=generator))
    return torch.stack(rows)


def masks(positions: Tensor, grid: tuple[int, int], *, ratio: float, block_share: float = 0.0, seed: int = 0) -> Tensor:
    """Noise (B,h*w) of which `choose` hides the highest: patches by themselves, or in blocks in that share of the pictures.

    Args:
        positions: (B,) of the pictures in the stream.
        grid: (h,w) patches.
        ratio: share of hidden patches, which `choose` has to be given, too.
        block_share: probability that a picture is masked in blocks.
        seed: of another mask of the same pictures.
    """
    count = grid[0] * grid[1]
    noise = noise_for(positions, count, seed=seed)
    if not block_share:
        return noise
    rows = []
    for position in positions.tolist():
        rng = np.random.default_rng([seed, position])
        hidden = (count - shown(count, ratio)) * (rng.random() < block_share)
        rows.append(torch.from_numpy(blocks(grid, hidden, rng)).flatten())
    return noise + torch.stack(rows)


def drawn(ratios: Sequence[float], iteration: int) -> float:
    """The share of hidden patches in an iteration, between the two; the same in all processes and whenever it is asked."""
    least, most = ratios
    return least + (most - least) * float(np.random.default_rng(iteration).random())


def shown(count: int, ratio: float) -> int:
    """How many of `count` patches are seen: at least one."""
    return max(int(count * (1 - ratio)), 1)


def choose(noise: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """Noise (B,N) -> indices of the kept patches (B,n), lowest noise first, and the order (B,N) that undoes the shuffle."""
    shuffle = noise.argsort(1)
    return shuffle[:, : shown(noise.shape[1], ratio)], shuffle.argsort(1)


def keep(tokens: Tensor, kept: Tensor) -> Tensor:
    """(B,N,D), (B,n) -> (B,n,D)."""
    return tokens.gather(1, kept[..., None].expand(-1, -1, tokens.shape[2]))


def restore(tokens: Tensor, mask_token: Tensor, order: Tensor) -> Tensor:
    """Kept tokens (B,n,D) back to their places, `mask_token` (1,1,D) at all others: (B,N,D)."""
    B, n, D = tokens.shape
    full = torch.cat([tokens, mask_token.expand(B, order.shape[1] - n, D).to(tokens.dtype)], 1)
    return full.gather(1, order[..., None].expand(-1, -1, D))


def removed(order: Tensor, kept: int) -> Tensor:
    """(B,N) bool: the patch was hidden."""
    return order >= kept
