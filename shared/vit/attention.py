"""Attention in three back ends, chosen in one place and equal in tests.

`auto` is PyTorch's fused kernel, which is memory-efficient on CPU and CUDA alike; `xformers` is there for its own kernels on
CUDA; `reference` is the formula, for tests and for reading. Letters: B batch, N tokens, d width of a head.
"""

from functools import cache
from importlib.util import find_spec
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

Backend = Literal["auto", "sdpa", "xformers", "reference"]
EIGHT = 8  # xformers' kernels take widths that are multiples of it in bfloat16 (0.0.35); a head of 2b has 60


def attention(q: Tensor, k: Tensor, v: Tensor, *, backend: Backend = "auto") -> Tensor:
    """Softmax attention, scaled by 1/sqrt(d): q (B,heads,N,d), k and v (B,kv_heads,N,d) -> (B,heads,N,d).

    Where keys have fewer heads, neighbouring queries share one: query head j looks at key head j // (heads / kv_heads).

    Raises:
        ValueError: the back end does not exist, or cannot run on this device.
    """
    if backend in ("auto", "sdpa"):
        return _sdpa(q, k, v)
    if backend == "xformers":
        return _xformers(q, k, v)
    if backend == "reference":
        return _reference(q, k, v)
    raise ValueError(f"there is no attention back end {backend!r}; choose one of {', '.join(get_args(Backend))}")


def _sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    if q.is_cuda and v.dtype in (torch.float16, torch.bfloat16):  # flash attention, which shares heads without copies
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=k.shape[1] < q.shape[1])
    k, v = _repeated(k, v, q.shape[1])  # asked to share, float32 on CUDA would fall back to the formula and its memory
    return F.scaled_dot_product_attention(q, k, v)


def _reference(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    k, v = _repeated(k, v, q.shape[1])
    weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)  # (B,heads,N,N): the memory the others avoid
    return weights @ v


def _xformers(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    if not q.is_cuda or not _has_xformers():
        where = "is not installed" if q.is_cuda else f"has no kernel for {q.device.type} tensors"
        raise ValueError(f"xformers {where}; use attention='auto', which picks PyTorch's fused kernel")
    k, v = _repeated(k, v, q.shape[1])
    d = q.shape[-1]
    if d % EIGHT:  # zeros change no product
        q, k, v = (F.pad(x, (0, -d % EIGHT)) for x in (q, k, v))
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # xformers wants (B,N,heads,d)
    try:
        from xformers.ops import memory_efficient_attention  # heavy, and it warns at import: only when it was asked for

        return memory_efficient_attention(q, k, v, scale=d**-0.5).transpose(1, 2)[..., :d]
    except (ImportError, NotImplementedError) as error:  # its kernels were built for another PyTorch, or for other GPUs
        told = str(error).strip().splitlines()[:1]
        raise ValueError(f"xformers has no kernel here ({' '.join(told)}); use attention='auto'") from error


def _repeated(k: Tensor, v: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """As many heads of keys and values as of queries."""
    times = heads // k.shape[1]
    return (k, v) if times == 1 else (k.repeat_interleave(times, 1), v.repeat_interleave(times, 1))


@cache
def _has_xformers() -> bool:
    return find_spec("xformers") is not None


def backends(device: torch.device) -> list[Backend]:
    """The back ends that run on this device, `auto` first."""
    usable: list[Backend] = ["auto", "sdpa", "reference"]
    return [*usable, "xformers"] if device.type == "cuda" and _has_xformers() and _has_kernels(device) else usable


def _has_kernels(device: torch.device) -> bool:
    """Whether those of the installed xformers run there: a wheel has them for one version of PyTorch alone."""
    try:
        _xformers(*torch.zeros(3, 1, 1, EIGHT, EIGHT, dtype=torch.bfloat16, device=device))
    except ValueError:
        return False
    return True
