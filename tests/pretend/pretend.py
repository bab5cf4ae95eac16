"""What has to be said otherwise for PyTorch to believe in a GPU that is not there: the other half of `far`."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from far import CUDA, NEAR, Far
from torch import Tensor
from torch.utils._pytree import tree_map_only
from torch.utils.data import DataLoader

FACTORIES = (
    "arange",
    "empty",
    "eye",
    "full",
    "linspace",
    "ones",
    "rand",
    "randint",
    "randn",
    "randperm",
    "scalar_tensor",
    "tensor",
    "zeros",
)
LIKE = ("empty_like", "full_like", "ones_like", "rand_like", "randint_like", "randn_like", "zeros_like")
NEW = ("new_empty", "new_full", "new_ones", "new_tensor", "new_zeros")


class Out(torch.autograd.Function):
    """A copy of a CPU tensor on the GPU."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Far:
        return Far(tensor.detach().clone())

    @staticmethod
    def backward(ctx: Any, *gradient: Any) -> Tensor:
        return gradient[0].near


class Back(torch.autograd.Function):
    """A copy of a tensor of the GPU on the CPU."""

    @staticmethod
    def forward(ctx: Any, tensor: Far) -> Tensor:
        return tensor.near.detach().clone()

    @staticmethod
    def backward(ctx: Any, *gradient: Any) -> Far:
        return Far(gradient[0])


def moved(tensor: Tensor, device: Any) -> Tensor:
    """The tensor on that device; itself where it is there."""
    if device is None or is_cuda(device) == isinstance(tensor, Far):
        return tensor
    with torch._C.DisableTorchFunctionSubclass():
        return Out.apply(tensor) if is_cuda(device) else Back.apply(tensor)  # type: ignore[return-value]


def is_cuda(device: Any) -> bool:
    return isinstance(device, int) or torch.device(device).type == "cuda"


class Event:
    """Nothing has to be waited for."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def record(self, *_: Any) -> None: ...

    def synchronize(self) -> None: ...

    def elapsed_time(self, end: "Event") -> float:
        return 1.0


class Stream:
    """All of them are one, and nothing is ever under way."""

    def __init__(self, device: Any = CUDA, *_: Any, **__: Any) -> None:
        self.device = device

    def synchronize(self) -> None: ...

    def wait_stream(self, stream: "Stream") -> None: ...

    def wait_event(self, event: Event) -> None: ...

    def record_event(self, event: Event | None = None) -> Event:
        return event or Event()

    def is_capturing(self) -> bool:
        return False


@contextmanager
def gpu() -> Iterator[torch.device]:
    """While entered, PyTorch says that there is a GPU, and what is moved there is a `Far`."""
    with pytest.MonkeyPatch.context() as patch:
        _tensors(patch)
        _factories(patch)
        _autocast(patch)
        _module(patch)
        yield CUDA


def _tensors(patch: pytest.MonkeyPatch) -> None:
    """Moving from device to device."""
    plain = Tensor.to

    def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if "other" in kwargs or (args and isinstance(args[0], Tensor)):
            other, args = kwargs.pop("other", args and args[0]), args[1:]
            kwargs |= {"device": other.device, "dtype": other.dtype}
        copy = kwargs.pop("copy", False)
        device, dtype, non_blocking, memory = torch._C._nn._parse_to(*args, **kwargs)  # type: ignore[attr-defined]
        there = moved(self, device)
        copy = copy and there is self
        options: dict[str, Any] = {"memory_format": memory} if memory else {}
        with torch._C.DisableTorchFunctionSubclass():
            return plain(there, dtype or there.dtype, non_blocking, copy, **options)

    patch.setattr(Tensor, "to", to, raising=False)
    patch.setattr(Tensor, "pin_memory", lambda self, *_: self, raising=False)
    patch.setattr(Tensor, "cuda", lambda self, *_, **__: moved(self, CUDA), raising=False)
    patch.setattr(Tensor, "cpu", lambda self, *_, **__: moved(self, "cpu"), raising=False)
    patch.setattr(torch.inference_mode, "__enter__", _without_gradient)  # it has no room for tensors in tensors
    patch.setattr(torch.inference_mode, "__exit__", _with_gradient)
    began = DataLoader.__init__
    patch.setattr(DataLoader, "__init__", lambda self, *args, **kwargs: began(self, *args, **kwargs | {"pin_memory": False}))


def _without_gradient(self: Any) -> None:
    self.before = torch.is_grad_enabled()
    torch.set_grad_enabled(self.before and not self.mode)


def _with_gradient(self: Any, *_: Any) -> None:
    torch.set_grad_enabled(self.before)


def _factories(patch: pytest.MonkeyPatch) -> None:
    """Making tensors where it is said, or where another lies."""

    def made(make: Callable, *args: Any, **kwargs: Any) -> Tensor:
        device = kwargs.pop("device", None)
        far = is_cuda(device) if device is not None else bool(args) and isinstance(args[0], Far) and make is not torch_tensor
        if far and isinstance(kwargs.get("generator"), torch.Generator):
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        if kwargs.get("pin_memory"):
            kwargs.pop("pin_memory")
        args, kwargs = tree_map_only(Far, lambda tensor: tensor.near.detach(), (args, kwargs))
        if device is not None and not far:
            kwargs["device"] = device
        grad = kwargs.pop("requires_grad", False)
        with NEAR.told():
            found = make(*args, **kwargs)
        return (Far(found) if far else found).requires_grad_(grad) if grad else Far(found) if far else found

    torch_tensor, as_tensor = torch.tensor, torch.as_tensor
    for name in (*FACTORIES, *LIKE):
        patch.setattr(torch, name, functools.partial(made, getattr(torch, name)))
    for name in NEW:
        plain = getattr(Tensor, name)
        patch.setattr(
            Tensor, name, functools.partialmethod(lambda self, plain, *a, **k: made(plain, self, *a, **k), plain), raising=False
        )

    def as_one(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
        kept = data if isinstance(data, Tensor) else as_tensor(data, dtype=dtype)
        return kept.to(device=device or kept.device, dtype=dtype or kept.dtype)

    patch.setattr(torch, "as_tensor", as_one)
    patch.setattr(torch, "asarray", as_one)


def _autocast(patch: pytest.MonkeyPatch) -> None:
    """To C++ the tensors lie on the CPU, so it is the CPU's autocast that works."""

    def nearer(call: Callable) -> Callable:
        return lambda device="cuda", *args, **kwargs: call("cpu" if device == "cuda" else device, *args, **kwargs)

    class Autocast(torch.autocast):
        def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
            super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)

    for module in (torch, torch.amp, torch.amp.autocast_mode):
        patch.setattr(module, "autocast", Autocast)
    for name in ("get_autocast_dtype", "is_autocast_enabled", "set_autocast_enabled", "set_autocast_dtype"):
        patch.setattr(torch, name, nearer(getattr(torch, name)))


def _module(patch: pytest.MonkeyPatch) -> None:
    """What torch.cuda tells of its device."""
    told = {
        "is_available": True,
        "is_initialized": True,
        "is_bf16_supported": True,
        "is_current_stream_capturing": False,
        "device_count": 1,
        "current_device": 0,
        "get_device_name": "Pretended GPU",
        "get_device_capability": (9, 0),
        "get_device_properties": SimpleNamespace(
            name="Pretended GPU", total_memory=2**37, major=9, minor=0, multi_processor_count=132
        ),
        "max_memory_allocated": 2**30,
        "max_memory_reserved": 2**30,
        "memory_allocated": 2**30,
        "memory_reserved": 2**30,
        "mem_get_info": (2**36, 2**37),
        "get_rng_state": torch.get_rng_state(),
        "get_rng_state_all": [torch.get_rng_state()],
    }
    told |= dict.fromkeys(
        ("init", "synchronize", "set_device", "empty_cache", "reset_peak_memory_stats", "manual_seed", "manual_seed_all",
         "set_rng_state", "set_rng_state_all", "ipc_collect", "_lazy_init")
    )  # fmt: skip
    for name, answer in told.items():
        patch.setattr(torch.cuda, name, lambda *_, _answer=answer, **__: _answer)
    patch.setattr(torch.cuda, "_initialized", True)
    patch.setattr(torch.cuda, "device", type("device", (nullcontext,), {}))
    patch.setattr(torch.cuda, "Event", Event)
    patch.setattr(torch.cuda, "stream", lambda *_: nullcontext())
    queue = Stream()
    patch.setattr(torch.cuda, "Stream", Stream)
    for module in (torch.cuda, torch.accelerator):
        patch.setattr(module, "current_stream", lambda *_: queue)
    patch.setattr("mmengine.device.utils.DEVICE", "cuda")
