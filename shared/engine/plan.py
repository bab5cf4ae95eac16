"""What a run will take, before it is started: parameters, arithmetic, memory of each GPU, pictures per second.

    python -m shared.engine.plan configs/depth/humans_2b.py batch=1
    python -m shared.engine.plan configs/pretrain/humans_1b.py batch=32 --gpus 8 --tflops 989 --mfu 0.35 --memory 80

Nothing is computed: one training step is walked through with tensors that have shapes and no content, for one picture and for two,
and what is said for a batch lies on the line through both. With P parameters, T of them trained, of B pictures on each GPU:

    parameters    4 P bytes, float32; averaged ones (ema) as many again
    gradients     4 T; the buckets that are exchanged are the gradients themselves
    optimiser     AdamW 8 T; of eight bits 2 for each number of a matrix, 8 for the others; Muon 4 for each number of a matrix that
                  it turns, 8 for the others
    shared out    with parallel=fsdp2, all of these over the number of GPUs; and gathered at one time, weights with gradients:
                  8 bytes for each number outside of the blocks, 12 for each of the largest block, the next being gathered ahead
    activations   A(B) = fixed + B a: every storage that the step keeps for the backward pass, once; neither parameters nor the
                  batch itself. The fixed part are copies of the weights in bf16.
    recomputed    A(B) less what the recomputed blocks of the backbone keep, plus the input of each of them and what one block
                  keeps; `selective` also keeps what products and attention answer
    arithmetic    forward F, counted by torch.utils.flop_counter; a step is 3 F, and F of the blocks again if they are recomputed;
                  a teacher's is F; less where much is frozen, which is not counted
    speed         GPUs x TFLOP/s x MFU / arithmetic of a picture; MFU, the share of the peak that is reached, is yours to assume

Left out: what kernels need in passing, pieces between allocations, the data, teachers, and groups of data: `batch` pictures of
`image_hw` are walked through. Keep a tenth of the memory free. Attention is counted as the fused kernel does it, and autocast
follows the rules of CPUs, which keep fewer norms in float32 than those of GPUs.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from shared.build import build
from shared.data.crops import Crops
from shared.data.stream import tensors
from shared.engine import data, optim
from shared.engine.config import Tree, describe, load
from shared.vit.recompute import EXPENSIVE, Recompute, again, check

TFLOPS = 989.0  # bf16 without sparsity of an H100 or H200 SXM; NVIDIA's data sheets
MFU = 0.4  # assumed, not measured
BLOCK = re.compile(r"(distil\.teacher\.)?(backbone\.|decoder_)blocks\.\d+\.")  # of what is gathered and given back in one piece
TRAINING = 3  # passes: forward, and the gradients of activations and of weights


class Step(NamedTuple):
    """One training step for some pictures."""

    activations: int  # bytes
    in_blocks: list[int]  # bytes that each block of the backbone keeps of them
    inputs: list[int]  # bytes of the input of each block
    answers: list[int]  # bytes that products and attention answer in each block, which `selective` keeps
    flops: int  # forward
    block_flops: int  # of the backbone's blocks among them
    taught_flops: int  # of a teacher among them, from which there is no way back


class Plan(NamedTuple):
    """What a run takes on each GPU; memory in bytes."""

    parameters: int
    trained: int
    batch: int
    fixed: dict[str, int]  # memory that does not depend on the batch
    ways: dict[Recompute, int]  # activations by what is recomputed of the blocks
    recompute: Recompute  # what the config says, one of the ways
    flops: int  # of one picture, in a training step

    @property
    def memory(self) -> int:
        """As the config says."""
        return sum(self.fixed.values()) + self.activations

    @property
    def activations(self) -> int:
        """As the config says."""
        return self.ways[self.recompute]


def plan(config: Tree, *, gpus: int = 1) -> Plan:
    """Walk through a config's training step.

    Args:
        config: as `load` returns it.
        gpus: processes among which `parallel=fsdp2` shares the model out.
    """
    batch = config["batch"]
    positions = [torch.arange(pictures) for pictures in (1, 2)]  # with content: masks are drawn from it
    with _without_content(config) as model:
        one, two = (_step(model, config, position) for position in positions)
        numbers = {name: p.numel() for name, p in model.named_parameters()}
        trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
        moments = sum(optim.state_bytes(config["optimizer"], name, p) for name, p in model.named_parameters() if p.requires_grad)

    def at(first: int, second: int) -> int:
        return first + (batch - 1) * (second - first)

    total, many = sum(numbers.values()), sum(trained.values())
    fixed = {"parameters": 4 * total, "averaged": 4 * total * bool(config["ema"]), "gradients": 4 * many}
    fixed["optimiser"] = moments
    if config["parallel"] == "fsdp2":
        fixed = {name: -(-size // gpus) for name, size in fixed.items()} | {"gathered": _gathered(numbers)}
    asked = config["backbone"].get("recompute", False)
    check(asked, len(one.in_blocks))
    recompute: Recompute = "selective" if asked == "selective" else int(asked)
    ways: dict[Recompute, int] = {
        way: at(_keeping(one, way), _keeping(two, way)) for way in dict.fromkeys((0, "selective", 1, recompute))
    }
    blocks = len(one.in_blocks)
    share = 0 if recompute == "selective" else sum(again(recompute, i) for i in range(blocks)) / blocks
    back = two.flops - one.flops - (two.taught_flops - one.taught_flops)
    flops = two.flops - one.flops + (TRAINING - 1) * back + round(share * (two.block_flops - one.block_flops))
    return Plan(total, many, batch, fixed, ways, recompute, flops)


def _gathered(numbers: Mapping[str, int]) -> int:
    """Bytes of what is whole at one time where a model is shared out; from how many numbers each parameter has."""
    blocks = Counter[str]()
    for name, count in numbers.items():
        found = BLOCK.match(name)
        blocks[found[0] if found else ""] += count
    return 8 * blocks.pop("", 0) + 12 * max(blocks.values())


def _keeping(step: Step, way: Recompute) -> int:
    """Bytes of activations; while a block is computed again, all of it is there once more."""
    chosen = [i for i in range(len(step.in_blocks)) if again(way, i)]
    kept = [step.inputs[i] + (step.answers[i] if way == "selective" else 0) for i in chosen]
    once_more = max((step.in_blocks[i] + step.inputs[i] - bytes_ for i, bytes_ in zip(chosen, kept)), default=0)
    return step.activations - sum(step.in_blocks[i] for i in chosen) + sum(kept) + once_more


@contextmanager
def _without_content(config: Tree) -> Iterator[Any]:
    """The model of a config, its parameters shapes only; so is all that is computed inside."""
    description = describe(config)
    description["backbone"] = {**description["backbone"], "recompute": 0}
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = build(description)
        optim.hold(model.backbone, frozen=config["frozen"], lora=config["lora"])
        yield model.train()


def _step(model: Any, config: Tree, position: Tensor) -> Step:
    """The forward pass and the losses of the pictures at some positions of the stream."""
    size = tuple(config["backbone"].get("image_hw", (1024, 768)))
    batch = _batch(model, size, len(position), build(config.get("crops"))) | {"position": position}
    kept = Kept([*model.parameters(), *model.buffers(), *batch.values()])
    answers, counter = Answers(), FlopCounterMode(display=False, custom_mapping=ATTENTION)
    spans: list[tuple[int, int]] = []
    inputs: list[int] = []
    answered: list[int] = []
    flops = Counter[str]()  # what is in front of a part is taken off where it begins: names of calls depend on who calls

    def before(block: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        inputs.append(arguments[0].nbytes)
        spans.append((kept.total, 0))
        answered.append(answers.total)
        flops["blocks"] -= counter.get_total_flops()

    def after(block: nn.Module, arguments: tuple[Tensor, ...], answer: Tensor) -> None:
        spans[-1] = (spans[-1][0], kept.total)
        answered[-1] = answers.total - answered[-1]
        flops["blocks"] += counter.get_total_flops()

    handles = [
        handle for b in model.backbone.blocks for handle in (b.register_forward_pre_hook(before), b.register_forward_hook(after))
    ]
    teacher = getattr(getattr(model, "distil", None), "teacher", None)
    if teacher is not None:
        handles.append(teacher.register_forward_pre_hook(lambda *_: flops.update(taught=-counter.get_total_flops())))
        handles.append(teacher.register_forward_hook(lambda *_: flops.update(taught=counter.get_total_flops())))
    dtype = torch.bfloat16 if config["precision"] in ("auto", "bf16") else None
    with counter, answers, torch.autocast("cpu", dtype, enabled=dtype is not None), kept:
        losses = model.losses(batch)
        torch.stack([loss.float() for loss in losses.values()]).sum()
    for handle in handles:
        handle.remove()
    spent = counter.get_total_flops(), flops["blocks"], flops["taught"]
    return Step(kept.total, [end - start for start, end in spans], inputs, answered, *spent)


def _batch(model: Any, size: tuple[int, int], pictures: int, crops: Crops | None) -> dict[str, Tensor]:
    """Pictures of which nothing is known, as the stream would give them."""
    blank = {"image": np.zeros((*size, 3), np.uint8)}
    sample = tensors(blank, data.wanted(model.tasks).fill(blank, size))
    if crops is not None:
        small = torch.zeros((crops.local, 3, *crops.local_hw), dtype=torch.uint8)
        sample |= {"other": sample["image"], "local": small}
    return {name: torch.zeros((pictures, *value.shape), dtype=value.dtype) for name, value in sample.items()}


class Kept(torch.autograd.graph.saved_tensors_hooks):
    """Counts what autograd keeps while it is entered.

    Args:
        apart: tensors that are not counted.

    Attributes:
        total: bytes so far; tensors that share their storage are counted once.
    """

    def __init__(self, apart: Sequence[Tensor]) -> None:
        self.total = 0
        self._seen = {_storage(tensor) for tensor in apart}
        self._alive: list[Tensor] = []  # or the number of a storage could be given to another
        super().__init__(self._keep, lambda tensor: tensor)

    def _keep(self, tensor: Tensor) -> Tensor:
        if (storage := _storage(tensor)) not in self._seen:
            self._seen.add(storage)
            self._alive.append(tensor)
            self.total += tensor.untyped_storage().nbytes()
        return tensor


class Answers(TorchDispatchMode):
    """Counts the bytes that products and attention answer while it is entered: `total`."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        if func in EXPENSIVE:
            self.total += sum(
                part.nbytes for part in (answer if isinstance(answer, tuple) else (answer,)) if isinstance(part, Tensor)
            )
        return answer


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _attention(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    return sdpa_flop_count(query, key, value)


ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}


def table(found: Plan, *, gpus: int, tflops: float, mfu: float, memory: float | None) -> str:
    """The plan as text."""
    gib = 2**30
    lines = [
        f"{'parameters':28}{found.parameters / 1e6:12.1f} M, {found.trained / 1e6:.1f} M of them trained",
        f"{'arithmetic of a picture':28}{found.flops / 1e12:12.3f} TFLOP in a training step",
        "",
        f"{'memory of a GPU':28}{'GiB':>12}  (batch {found.batch})",
        *(f"  {name:26}{size / gib:12.2f}" for name, size in found.fixed.items() if size),
        *(
            f"  {f'activations, recompute={way}':26}{size / gib:12.2f}{'  <- this run' * (way == found.recompute)}"
            for way, size in found.ways.items()
        ),
        f"  {'together':26}{found.memory / gib:12.2f}",
    ]
    if memory is not None:
        fits = found.memory <= 0.9 * memory * 1e9
        lines.append(f"  it {'fits' if fits else 'does not fit'} into {memory:g} GB with a tenth kept free")
    speed = gpus * tflops * 1e12 * mfu / found.flops
    lines += ["", f"{'pictures per second':28}{speed:12.1f}  ({gpus} x {tflops:g} TFLOP/s at an MFU of {mfu:g}, which is assumed)"]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line: 0, or 2 for a config that cannot be built."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m shared.engine.plan", description=__doc__, formatter_class=raw)
    parser.add_argument("config", help="a file under configs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="replace a setting")
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="processes, one on each GPU (default 1)")
    parser.add_argument("--tflops", type=float, default=TFLOPS, help=f"peak of one GPU, bf16 (default {TFLOPS:g}: H100, H200)")
    parser.add_argument("--mfu", type=float, default=MFU, help=f"share of the peak that is reached (default {MFU}, assumed)")
    parser.add_argument("--memory", type=float, metavar="GB", help="of a GPU: says whether it fits")
    options = parser.parse_intermixed_args(arguments)
    try:
        found = plan(load(options.config, options.overrides), gpus=options.gpus)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 2
    sys.stdout.write(table(found, gpus=options.gpus, tflops=options.tflops, mfu=options.mfu, memory=options.memory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
