"""Which patches the encoder sees: pure index arithmetic (He et al. 2022, section 3). Letters: B batch, N patches, n kept."""

import torch
from torch import Tensor


def noise_for(positions: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """Uniform noise (B,count) that depends on each sample's position in the stream alone, not on its batch or process."""
    rows = []
    for position in positions.tolist():
        generator = torch.Generator().manual_seed((seed * 1_000_003 + position) % 2**63)
        rows.append(torch.rand(count, generator=generator))
    return torch.stack(rows)


def choose(noise: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """Noise (B,N) -> indices of the kept patches (B,n), lowest noise first, and the order (B,N) that undoes the shuffle."""
    shuffle = noise.argsort(1)
    kept = int(noise.shape[1] * (1 - ratio))
    return shuffle[:, : max(kept, 1)], shuffle.argsort(1)


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
