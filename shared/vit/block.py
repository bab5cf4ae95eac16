"""The transformer block of every family: pre-norm attention, then a feed-forward, each added to what came in."""

from timm.layers import DropPath, LayerScale
from torch import Tensor, nn

from shared.vit.attention import Backend, attention
from shared.vit.family import FAMILIES, Family
from shared.vit.rotary import rotate


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values, in this order: (B,N,D) -> (B,N,D).

    Args:
        dim: D.
        heads: of the queries.
        family: whether queries and keys are normalised.
        kv_heads: of keys and values; None: as many as `heads`.
        backend: see `shared/vit/attention.py`.

    Raises:
        ValueError: the heads divide neither the width nor one another.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        family: Family = FAMILIES["sapiens"],
        kv_heads: int | None = None,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide a width of {dim}")
        kv_heads = heads if kv_heads is None else kv_heads
        if not kv_heads or heads % kv_heads:
            raise ValueError(f"{heads} heads of queries cannot share {kv_heads} heads of keys evenly")
        self.head_dim = dim // heads
        self.widths = [n * self.head_dim for n in (heads, kv_heads, kv_heads)]
        self.backend: Backend = backend
        self.qkv = nn.Linear(dim, sum(self.widths))
        self.q_norm = family.norm(self.head_dim) if family.qk_norm else None
        self.k_norm = family.norm(self.head_dim) if family.qk_norm else None
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, turns: Tensor | None = None) -> Tensor:
        """`turns`: cosines and sines of `Rotary`; None: tokens know their places already."""
        parts = self.qkv(tokens).split(self.widths, 2)
        q, k, v = (part.unflatten(2, (-1, self.head_dim)).transpose(1, 2) for part in parts)  # (B,heads,N,d) each
        if self.q_norm is not None and self.k_norm is not None:
            exact = self.q_norm.weight.dtype  # under autocast the projection answers in less
            q, k = self.q_norm(q.to(exact)), self.k_norm(k.to(exact))
        if turns is not None:
            q, k = rotate(q, turns), rotate(k, turns)
        q, k = q.to(v.dtype), k.to(v.dtype)  # one precision for every back end
        mixed = attention(q, k, v, backend=self.backend)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """x + scale * attention(norm(x)), then x + scale * mlp(norm(x)): (B,N,D) -> (B,N,D)."""

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        family: Family = FAMILIES["sapiens"],
        kv_heads: int | None = None,
        backend: Backend = "auto",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = family.norm(dim)
        self.attn = Attention(dim, heads, family=family, kv_heads=kv_heads, backend=backend)
        self.ls1 = nn.Identity() if family.layer_scale is None else LayerScale(dim, family.layer_scale)
        self.norm2 = family.norm(dim)
        self.mlp = family.mlp(dim)
        self.ls2 = LayerScale(dim, family.layer_scale) if family.layer_scale and family.scaled_mlp else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor, turns: Tensor | None = None) -> Tensor:
        tokens = tokens + self.drop_path(self.ls1(self.attn(self.norm1(tokens), turns)))
        return tokens + self.drop_path(self.ls2(self.mlp(self.norm2(tokens))))
