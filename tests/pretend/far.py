"""A tensor that says it lies on a GPU, and refuses on a CPU what CUDA refuses: tensors of two devices, or numpy, in one breath.

PyTorch's C++ sees a CPU tensor, Python sees `cuda:0`. So it finds code that forgets where a tensor lies. It finds nothing about
kernels, their numbers, the types that CUDA's autocast chooses, streams, memory, compilation, or several GPUs.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only

CUDA = torch.device("cuda", 0)
CPU = torch.device("cpu")
aten = torch.ops.aten
COPIES = {aten.copy_.default, aten._to_copy.default, aten._has_compatible_shallow_copy_type.default}  # from one device to another
INDEXED = {aten.index.Tensor, aten._unsafe_index.Tensor}  # an index may lie on the CPU
WRITTEN = {aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default, aten._unsafe_index_put.default}
SCALARS = {aten.fill_.Tensor, aten.masked_fill.Tensor, aten.masked_fill_.Tensor}  # take a number of the CPU, as arithmetic does
MIXED = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
NUMPY = "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
# What CUDA's autocast computes in float32: "CUDA Ops that can autocast to float32" in the reference of torch.amp.
WIDE = {
    "__pow__", "__rdiv__", "__rpow__", "__rtruediv__", "acos", "asin", "binary_cross_entropy_with_logits", "cosh",
    "cosine_embedding_loss", "cdist", "cosine_similarity", "cross_entropy", "cumprod", "cumsum", "dist", "erfinv", "exp",
    "expm1", "group_norm", "hinge_embedding_loss", "kl_div", "l1_loss", "layer_norm", "log", "log10", "log_softmax", "log1p",
    "log2", "margin_ranking_loss", "mse_loss", "nll_loss", "norm", "normalize", "pdist", "poisson_nll_loss", "pow", "prod",
    "reciprocal", "rsqrt", "sinh", "smooth_l1_loss", "soft_margin_loss", "softmax", "softmin", "softplus", "sum", "renorm",
    "tan", "triplet_margin_loss",
}  # fmt: skip
NARROW = (torch.float16, torch.bfloat16)
UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)


class Far(Tensor):
    """A tensor on the pretended GPU; its values are those of `near`."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> "Far":
        about = {"strides": near.stride(), "storage_offset": near.storage_offset(), "dtype": near.dtype, "layout": near.layout}
        return Tensor._make_wrapper_subclass(cls, near.shape, device=CPU, requires_grad=near.requires_grad, **about)  # type: ignore[arg-type]

    def __init__(self, near: Tensor) -> None:
        self.near = near

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["near"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], meta: None, size: Any, stride: Any) -> "Far":
        return Far(inner["near"])

    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]

    def get_device(self) -> int:
        return 0

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError(NUMPY)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(NUMPY)

    def tolist(self) -> Any:
        return self.near.tolist()

    def pin_memory(self, *_: Any) -> Tensor:
        raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned")

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise AssertionError("a file with tensors of a GPU in it cannot be read where there is none; write tensor.cpu()")

    def __repr__(self, **_: Any) -> str:
        return f"Far({self.near!r})"

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: Sequence[Any] = (), kwargs: dict | None = None) -> Any:
        """What C++ makes on the way lies where its tensors lie; under autocast, some arithmetic is in float32."""
        given: Any = (args, kwargs or {})
        with Inside(), torch._C.DisableTorchFunctionSubclass():
            if getattr(func, "__name__", "") in WIDE and torch.is_autocast_enabled("cuda"):
                given = tree_map_only(Far, lambda far: far.float() if far.dtype in NARROW else far, given)
            return func(*given[0], **given[1])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        refuse(func, args, kwargs)
        near_args, near_kwargs = tree_map_only(Far, lambda far: far.near, (args, kwargs))
        answer = func(*near_args, **near_kwargs)
        if func is aten.copy_.default and not isinstance(args[0], Far):
            return args[0]
        found = tree_map_only(Tensor, Far, answer)
        return found if func.__name__.startswith("_foreach") else return_and_correct_aliasing(func, args, kwargs, found)


def refuse(func: Any, args: Sequence[Any], kwargs: dict) -> None:
    """Raise what CUDA would.

    Raises:
        RuntimeError: tensors of two devices, a generator of the CPU, or arithmetic that CUDA lacks.
    """
    if func in COPIES:
        return
    flat = tree_flatten((args, kwargs))[0]
    if any(isinstance(value, torch.Generator) for value in flat):
        raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
    if func in INDEXED or func in WRITTEN:
        if not isinstance(args[0], Far):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        flat = [args[0], *args[2:3]] if func in WRITTEN else [args[0]]
    tensors = [value for value in flat if isinstance(value, Tensor)]
    takes = torch.Tag.pointwise in func.tags or func in SCALARS or func in WRITTEN
    scalars = takes and not (func._schema.is_mutable and not isinstance(args[0], Far))
    if any(not isinstance(tensor, Far) and (tensor.dim() or not scalars) for tensor in tensors):
        raise RuntimeError(f"{MIXED} (in {func})")
    if torch.Tag.pointwise in func.tags and any(tensor.dtype in UNSIGNED for tensor in tensors):
        raise NotImplementedError(f'"{func.__name__}_cuda" not implemented for {[tensor.dtype for tensor in tensors]}')


class Inside(TorchDispatchMode):
    """While C++ works on a tensor of the pretended GPU, what it makes out of nothing lies there, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        flat = tree_flatten((args, kwargs))[0]
        if any(isinstance(value, Far) for value in flat):
            return func(*args, **kwargs)  # to the next mode, as one that recomputes, and at last to Far
        found = func(*args, **kwargs)
        made = not any(isinstance(value, Tensor) for value in flat) and "device" in kwargs
        return Far(found) if made and not NEAR.depth else found


class Near(threading.local):
    """How many factories that Python called are at work in this thread: what they make lies where they were told to."""

    depth = 0

    @contextmanager
    def told(self) -> Iterator[None]:
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1


NEAR = Near()
