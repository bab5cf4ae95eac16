"""How several processes share a training: each has the whole model (`ddp`), or each keeps its share of it (`fsdp2`).

Whatever the way, a run may go on in another way or with another number of processes. A state holds whole tensors by the same names;
they are put together one by one, and the first process alone keeps them, in host memory: 12 bytes for each parameter. With
`states=shares` it is a folder to which each process adds what it has, and nothing is put together.
"""

from typing import Any

import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from shared.dense.balance import Balancer
from shared.engine.config import Tree
from shared.engine.session import Session
from shared.vit.block import Block
from shared.vit.tokenizer import WindowTokenizer

WAYS = ("auto", "ddp", "fsdp2", "single")


def way(config: Tree, here: Session, balance: Balancer | None = None) -> str:
    """`ddp`, `fsdp2` or `single`: what the config's `parallel` comes to; `auto` is `ddp` where there are several processes.

    Args:
        config: of the run.
        here: this process among the others.
        balance: what balances the tasks, if anything does.

    Raises:
        ValueError: no such way, or one that does not fit the processes or the other settings.
    """
    asked = config["parallel"]
    if asked not in WAYS:
        raise ValueError(f"there is no parallel={asked!r}; choose one of {', '.join(WAYS)}")
    if asked == "single" and here.processes > 1:
        raise ValueError(f"parallel=single is for one process, and {here.processes} were started; use ddp or fsdp2")
    if asked == "fsdp2":
        _refuse(config, balance)
        return asked
    return "ddp" if here.processes > 1 else "single"


def _refuse(config: Tree, balance: Balancer | None) -> None:
    """What cannot be right where a process sees a share of each parameter alone."""
    if config["optimizer"] == "muon":
        raise ValueError("optimizer=muon turns whole matrices, and parallel=fsdp2 cuts them; use adamw, or parallel=ddp")
    if config["optimizer"] == "adamw8bit":
        raise ValueError(
            "optimizer=adamw8bit keeps blocks of 256 numbers, and states of parallel=fsdp2 are cut between them; use adamw, or "
            "parallel=ddp"
        )
    if config["ema"]:
        raise ValueError(f"ema={config['ema']} averages whole weights, and parallel=fsdp2 cuts them; use ema=0.0, or parallel=ddp")
    if balance is not None and balance.where is not None:
        raise ValueError(
            "this balance, or compare=True, looks at gradients on their way back, and parallel=fsdp2 has only shares of them; use "
            "a rule that looks at losses (uncertainty, dwa, lossmean, scalematch), or parallel=ddp"
        )
    if not dist.is_initialized():
        raise ValueError("parallel=fsdp2 shares a model among processes; start it with torchrun, or use parallel=single")


def spread(
    step: nn.Module, way: str, here: Session, *, dtype: torch.dtype | None = None, static: bool = False, whole: bool = True
) -> nn.Module:
    """The training step as this process runs it.

    Args:
        step: on the device.
        way: of `way`.
        here: this process among the others.
        dtype: of autocast. On GPUs, blocks that are shared out are gathered in it and their gradients added up in float32.
        static: every backward pass goes through the same graph; `ddp` then orders its messages by it.
        whole: what is cut is whole in the state; else it is there as shares.
    """
    if way == "ddp":
        ids = [here.device.index] if here.device.type == "cuda" else None
        return MMDistributedDataParallel(
            step, device_ids=ids, broadcast_buffers=False, gradient_as_bucket_view=True, static_graph=static
        )
    if way == "fsdp2":
        _share_out(step, here, dtype)
        if whole:
            step.register_state_dict_post_hook(_gather_weights)
        step.register_load_state_dict_pre_hook(_cut_weights)
    return step


def _share_out(step: nn.Module, here: Session, dtype: torch.dtype | None) -> None:
    """Cut every parameter: those of a block are gathered when it is computed, all others once in a step.

    What is outside of the blocks stays in float32, and no input is cast: labels are measurements, and autocast sees to the rest.
    """
    with torch.no_grad():
        for tensor in (*step.parameters(), *step.buffers()):
            dist.broadcast(tensor, 0)  # all have the same seed; this is for machines that make other numbers of it
    mesh = init_device_mesh(here.device.type, (here.processes,))
    exact = MixedPrecisionPolicy(cast_forward_inputs=False)
    narrow = (
        MixedPrecisionPolicy(dtype, torch.float32, cast_forward_inputs=False) if here.device.type == "cuda" and dtype else exact
    )
    inner = {block for tokenizer in step.modules() if isinstance(tokenizer, WindowTokenizer) for block in tokenizer.blocks}
    for block in list(step.modules()):
        if isinstance(block, Block) and block not in inner:  # the tokenizer's are recomputed several at a time
            fully_shard(block, mesh=mesh, reshard_after_forward=True, mp_policy=narrow)
    fully_shard(step, mesh=mesh, reshard_after_forward=False, mp_policy=exact)


def spread_states(optimizer: torch.optim.Optimizer, *, whole: bool = True) -> None:
    """What this optimiser is told of its state is cut to its parameters; what it says is whole in the first process, or shares."""
    if whole:
        optimizer.register_state_dict_post_hook(_gather_moments)
    optimizer.register_load_state_dict_pre_hook(_cut_moments)


def unwrapped(model: nn.Module) -> nn.Module:
    """The training step without what exchanges its gradients around it."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def gathered(value: Any) -> Any:
    """A whole tensor on the CPU in the first process, None in the others; all of them have to ask. What is not cut stays."""
    if not isinstance(value, DTensor):
        return value
    full = value.full_tensor()
    return full.cpu() if dist.get_rank() == 0 else None


def _cut(full: Any, like: Tensor) -> Any:
    """This process's share of a whole tensor that every process has."""
    if not isinstance(like, DTensor) or not isinstance(full, Tensor) or isinstance(full, DTensor) or full.shape != like.shape:
        return full
    full = full.to(like.device, like.dtype)
    return distribute_tensor(full, like.device_mesh, like.placements, src_data_rank=None)


def _gather_weights(step: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name in list(state):
        state[name] = gathered(state[name])


def _cut_weights(step: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, parameter in step.named_parameters():
        if prefix + name in state:
            state[prefix + name] = _cut(state[prefix + name], parameter)


def _gather_moments(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    moments = {index: {key: gathered(value) for key, value in of.items()} for index, of in state["state"].items()}
    return {**state, "state": moments}


def _cut_moments(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments = {index: {key: _cut(value, parameters[index]) for key, value in of.items()} for index, of in state["state"].items()}
    return {**state, "state": moments}


class Gather(Hook):
    """Validation sees whole weights: processes have different numbers of pictures, and the first one alone draws previews.

    Args:
        step: of `spread`.
    """

    priority = "LOWEST"  # after the previews

    def __init__(self, step: nn.Module) -> None:
        self.step = step
        self.parts = [part for part in step.modules() if isinstance(part, FSDPModule)]

    def before_val_epoch(self, runner: Runner) -> None:
        for part in self.parts:
            part.set_reshard_after_forward(False, recurse=False)
            part.unshard()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        for part in self.parts:
            part.reshard()
            part.set_reshard_after_forward(part is not self.step, recurse=False)
