"""Write a model as a file that runs without this project:  python -m shared.export people.onnx [--checkpoint model.safetensors]

What was written is run beside the model, and has its name only when both answer the same.
"""

import argparse
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared import builtin, checkpoint
from shared.dense.frame import finished
from shared.dense.model import DenseModel
from shared.exported import DATA, run, running
from shared.task import Task
from shared.weights import FORMAT, KEY, sync

log = logging.getLogger(__name__)
SUFFIXES = (".onnx", ".pt2")
NEEDED = ("onnx", "onnxscript", "onnxruntime")  # for .onnx; the extra `export`
OPSETS = (18, 23)
TOGETHER = 1_900_000_000  # bytes of weights inside the .onnx; protobuf ends at 2 GiB, and beyond they lie beside it
OFF, SHARE = 1e-3, 1e-3  # a value is off by more than so much of the largest; so many of them may be
EXAMPLES = """examples:
  python -m shared.export people.onnx
  python -m shared.export seg.onnx --checkpoint runs/seg/humans_300m/model.safetensors --size 512x384 --batch 1
  python -m shared.export raw.onnx --raw --checkpoint runs/joint/humans_300m/model.safetensors
  python tasks/joint/infer.py photos/ --checkpoint raw.onnx
  python -m shared.export people.pt2 --tasks seg,depth

What goes in, what comes out, and how to run it elsewhere: docs/export.md. Licences stay those of the weights."""


class Graph(nn.Module):
    """uint8 RGB (B,3,H,W) of the network's size -> an answer of each task, in their order.

    Args:
        model: whose answers.
        raw: as the decoders give them, (B,C,h,w), for whoever blends and decodes; else as `finished`.
    """

    def __init__(self, model: DenseModel, *, raw: bool) -> None:
        super().__init__()
        self.model, self.raw = model, raw

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found = self.model(image)
        size = (image.shape[2], image.shape[3])
        return tuple(found[t.name] if self.raw else finished(t, found[t.name], size) for t in self.model.tasks)


class Difference(NamedTuple):
    """How far two answers are apart.

    Attributes:
        largest: of any value.
        scale: the largest value itself.
        share: of the values that are off by more than `OFF` of that; of whole numbers, that differ at all.
    """

    largest: float
    scale: float
    share: float

    @classmethod
    def of(cls, one: Tensor, other: Tensor) -> "Difference":
        if one.shape != other.shape or one.dtype != other.dtype:
            return cls(float("inf"), 0.0, 1.0)
        whole = not one.is_floating_point()
        one, other = one.double(), other.double()
        apart = (one - other).abs().nan_to_num(float("inf")).where(one.isnan() != other.isnan(), (one - other).abs().nan_to_num(0))
        scale = float(other.nan_to_num(0).abs().max())
        return cls(float(apart.max()), scale, float((apart > (0 if whole else OFF * scale)).double().mean()))


def export(
    model: DenseModel,
    about: Mapping[str, Any],
    path: Path,
    *,
    batch: int | None = None,
    raw: bool = False,
    opset: int = OPSETS[0],
) -> dict[str, Difference]:
    """Write a model, compare, and only then give the file its name.

    Args:
        model: on the CPU, made for the size that the file is to have (`ViT.resize`), with the tasks that it is to answer.
        about: its description, as a checkpoint holds it.
        path: .onnx or .pt2.
        batch: pictures at a time; None: any number.
        raw: see `Graph`.
        opset: of ONNX.

    Returns:
        How far each task's answers are from the model's.

    Raises:
        ValueError: the file would answer something else; or there is no such kind of file, or what writes it is missing.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path.name} has no suffix that says what to write; name it .onnx, or .pt2 for PyTorch alone")
    missing = [name for name in NEEDED if path.suffix == ".onnx" and find_spec(name) is None]
    if missing:
        raise ValueError(
            f"to write {path.name} takes {', '.join(missing)}; install them with pip install 'vitruvian[export]', or write a .pt2"
        )
    graph = Graph(model.eval().requires_grad_(False), raw=raw)
    names = [task.name for task in model.tasks]
    pictures = _pictures(batch or 2, model)
    log.info("tracing %s for %s of %d x %d pixels", ", ".join(names), f"{batch} pictures" if batch else "any number of pictures",
             *pictures.shape[2:])  # fmt: skip
    program = _traced(graph, pictures if batch else _pictures(3, model), fixed=batch is not None)
    with torch.no_grad():
        expected = graph(pictures[-1:])
    told = {"answers": "raw" if raw else "final", "outputs": _outputs(model.tasks, expected, batch)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        unfinished = Path(folder) / path.name
        log.info("writing %s", path)
        write = _write_onnx if path.suffix == ".onnx" else _write_program
        write(program, names, unfinished, json.dumps({"format": FORMAT, **about, **told}), opset)
        del program
        log.info("comparing its answers with the model's")
        answer = (_answer_onnx if path.suffix == ".onnx" else _answer_program)(unfinished, pictures, names)
        apart = {name: Difference.of(one[-1:], other) for name, one, other in zip(names, answer, expected)}
        if wrong := [f"{name} in {one.share:.1%} of its values" for name, one in apart.items() if one.share > SHARE]:
            raise ValueError(f"{path} would answer something else than the model, {', '.join(wrong)}, and was not written; "
                             "please report it with the versions of torch and onnx")  # fmt: skip
        for file in sorted(Path(folder).iterdir(), key=lambda file: file.name == path.name):  # the one that names the other last
            _settle(file, path.with_name(file.name))
    sync(path.parent)
    return apart


def _traced(graph: Graph, pictures: Tensor, *, fixed: bool) -> Any:
    """A program of torch.export. It is traced as for training: without gradients, heads on processors take ways of their own."""
    shapes = None if fixed else ({0: torch.export.Dim("batch", min=1, max=2**16)},)
    try:
        with torch.enable_grad():
            return torch.export.export(graph, (pictures,), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # whatever a model does that a graph cannot
        raise ValueError(f"this model cannot be traced{'' if fixed else ' for any number of pictures; try --batch 1'}: "
                         f"{str(error).strip().splitlines()[0]}") from error  # fmt: skip


def _write_onnx(program: Any, names: Sequence[str], path: Path, text: str, opset: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own making, about versions of its operators
        free = ({0: "batch"},) if program.range_constraints else None  # its name in the file
        found = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["image"],
            output_names=list(names),
            opset_version=opset,
            dynamic_shapes=free,
            verbose=False,
        )
    assert found is not None
    found.model.metadata_props[KEY] = text
    inside = sum(tensor.nbytes for tensor in program.state_dict.values()) <= TOGETHER
    found.save(path, external_data=not inside)


def _answer_onnx(path: Path, pictures: Tensor, names: Sequence[str]) -> Sequence[Tensor]:
    return run(running(path), pictures, names)


def _write_program(program: Any, names: Sequence[str], path: Path, text: str, opset: int) -> None:
    torch.export.save(program, path, extra_files={KEY: text})


def _answer_program(path: Path, pictures: Tensor, names: Sequence[str]) -> Sequence[Tensor]:
    with torch.no_grad():
        return torch.export.load(path).module()(pictures)


def _outputs(tasks: Sequence[Task], answers: Sequence[Tensor], batch: int | None) -> dict[str, Any]:
    """What somebody who has the file alone has to know of its outputs."""
    return {
        task.name: {
            "shape": [batch or "batch", *answer.shape[1:]],
            "dtype": str(answer.dtype).removeprefix("torch."),
            **({"names": list(task.vocabulary.names)} if task.vocabulary else {}),
            **({"metres": "times the focal length over the picture's width, both in pixels"} if task.canonical else {}),
        }
        for task, answer in zip(tasks, answers)
    }


def _pictures(count: int, model: DenseModel) -> Tensor:
    """Clouds of colour with some grain, always the same: (count,3,H,W) uint8."""
    H, W = (n * model.backbone.stride for n in model.backbone.grid)
    chance = torch.Generator().manual_seed(0)
    clouds = F.interpolate(torch.rand(count, 3, 6, 5, generator=chance), (H, W), mode="bicubic", align_corners=False)
    return (255 * (clouds + 0.1 * torch.randn(count, 3, H, W, generator=chance)).clamp(0, 1)).to(torch.uint8)


def _settle(file: Path, path: Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())
    file.replace(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, export, exit: 0 done, 2 not, with a sentence why."""
    parser = argparse.ArgumentParser(
        prog="python -m shared.export",
        description="Write a model as .onnx or .pt2, for programs that have nothing of this project.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "target", metavar="FILE", type=Path, help=".onnx (ONNX Runtime, TensorRT, OpenVINO, ...) or .pt2 (torch.export)"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="model.safetensors of a run, an official file or hf:OWNER/REPO (default: the built-in model)",
    )
    parser.add_argument("--tasks", metavar="A,B", help="answer these only, for example seg,depth (default: all that it answers)")
    parser.add_argument("--size", metavar="HxW", help="of the network's input in pixels (default: as trained)")
    parser.add_argument("--batch", type=int, metavar="N", help="pictures at a time, always (default: any number)")
    parser.add_argument(
        "--raw",
        action="store_true",
        help="logits, heatmaps and so on as the decoders give them: what infer.py and evaluate.py take",
    )
    parser.add_argument("--opset", type=int, choices=range(OPSETS[0], OPSETS[1] + 1), default=OPSETS[0], metavar="N",
                        help="of ONNX, 18 to 23; 23 keeps attention as one operator (default: %(default)s)")  # fmt: skip
    told = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("onnxscript", "onnx_ir", "torch.onnx"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        model, about = _model(told.checkpoint, told.tasks, told.size, told.batch)
        apart = export(model, about, told.target, batch=told.batch, raw=told.raw, opset=told.opset)
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}\n")
    for name, one in apart.items():
        log.info("%s: as the model, but for %.1e of %.3g at most", name, one.largest, one.scale)
    beside = told.target.with_name(told.target.name + DATA)
    size = sum(file.stat().st_size for file in (told.target, beside) if file.exists())
    log.info(
        "%s: %.1f MB%s",
        told.target,
        size / 1e6,
        f", most of it in {beside.name}, which has to lie beside it" if beside.exists() else "",
    )


def _model(path: str | None, tasks: str | None, size: str | None, batch: int | None) -> tuple[DenseModel, dict[str, Any]]:
    if batch is not None and batch < 1:
        raise ValueError(f"--batch {batch} answers nobody; write how many pictures come at a time, 1 or more")
    model, about = checkpoint.load(path or builtin.path())
    if not isinstance(model, DenseModel):
        raise ValueError(f"{path} holds a {type(model).__name__}, which answers nothing; fine-tune it first (init={path})")
    description = about["model"]
    chosen = [part.strip() for part in tasks.split(",")] if tasks else [task.name for task in model.tasks]
    have = {task.name: (task, described) for task, described in zip(model.tasks, description["tasks"])}
    if unknown := [name for name in chosen if name not in have]:
        raise ValueError(f"it answers {', '.join(have)}, not {', '.join(unknown)}; choose from those")
    model.tasks = tuple(task for name, (task, _) in have.items() if name in chosen)
    backbone = dict(description["backbone"])
    if size is not None:
        if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", size):
            raise ValueError(f"--size {size!r} is not a size; write height x width in pixels, for example 1024x768")
        height, width = map(int, size.split("x"))
        model.backbone.resize((height, width))
        backbone["image_hw"] = [height, width]
    kept = [described for name, (_, described) in have.items() if name in chosen]
    return model, {"model": {**description, "backbone": backbone, "tasks": kept}}


if __name__ == "__main__":
    main()
