"""The transformer block of Sapiens: pre-norm attention and feed-forward (timm's `Mlp`), LayerNorm eps 1e-6, exact GELU."""

from timm.layers import DropPath, Mlp
from torch import Tensor, nn

from shared.vit.attention import Backend, attention

NORM_EPS = 1e-6  # everywhere in the official encoder and decoder


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values: (B,N,D) -> (B,N,D)."""

    def __init__(self, dim: int, heads: int, *, backend: Backend = "auto") -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide a width of {dim}")
        self.heads = heads
        self.backend: Backend = backend
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        qkv = self.qkv(tokens).unflatten(2, (3, self.heads, -1))  # (B,N,3,heads,d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B,heads,N,d) each
        mixed = attention(q, k, v, backend=self.backend)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): (B,N,D) -> (B,N,D)."""

    def __init__(self, dim: int, heads: int, *, backend: Backend = "auto", drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, heads, backend=backend)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, 4 * dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))
