"""Write a model as .onnx or .pt2; the file has its name only after it has answered like the model."""

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from shared.dense.model import DenseModel
from shared.export.compare import EXACT, ROUGH, Difference, Limit, pictures, refused
from shared.export.graph import Graph, traced
from shared.exported import DATA, run, running
from shared.task import Task
from shared.weights import FORMAT, KEY, sync

log = logging.getLogger(__name__)
SUFFIXES = (".onnx", ".pt2")
NEEDED = ("onnx", "onnxscript", "onnxruntime")  # for .onnx; the extra `export`
OPSETS = (18, 23)
TOGETHER = 1_900_000_000  # bytes of weights inside the .onnx; protobuf ends at 2 GiB, and beyond they lie beside it


def export(
    model: DenseModel,
    about: Mapping[str, Any],
    path: Path,
    *,
    batch: int | None = None,
    raw: bool = False,
    opset: int | None = None,
    int8: bool = False,
) -> dict[str, Difference]:
    """Write a model, compare, and only then give the file its name.

    Args:
        model: on the CPU, made for the size that the file is to have (`ViT.resize`), with the tasks that it is to answer.
        about: its description, as a checkpoint holds it.
        path: .onnx or .pt2.
        batch: pictures at a time; None: any number.
        raw: see `Graph`.
        opset: of ONNX; None: 18.
        int8: weights of linear layers in whole numbers, and pictures in each layer as they come (ONNX Runtime's dynamic
            quantisation). What is rounded is compared with the model once more, and may be off by more.

    Returns:
        How far each task's answers are from the model's.

    Raises:
        ValueError: the file would answer something else; or there is no such kind of file, or what writes it is missing.
    """
    _refuse(path, int8=int8, opset=opset)
    graph = Graph(model.eval().requires_grad_(False), raw=raw)
    names = [task.name for task in model.tasks]
    shown = pictures(batch or 2, model)
    how_many = f"{batch} pictures" if batch else "any number of pictures"
    log.info("tracing %s for %s of %d x %d pixels", ", ".join(names), how_many, *shown.shape[2:])
    program = traced(graph, shown if batch else pictures(3, model), fixed=batch is not None)
    with torch.no_grad():
        expected = graph(shown[-1:])
    told = {"answers": "raw" if raw else "final", "outputs": _outputs(model.tasks, expected, batch)}
    text = json.dumps({"format": FORMAT, **about, **told})
    write, answer = (_write_onnx, _answer_onnx) if path.suffix == ".onnx" else (_write_program, _answer_program)

    def compared(file: Path, limit: Limit) -> dict[str, Difference]:
        apart = {
            name: Difference.of(one[-1:], other, limit) for name, one, other in zip(names, answer(file, shown, names), expected)
        }
        if wrong := refused(apart):
            raise ValueError(f"{path} would answer something else than the model, {wrong}, and was not written; "
                             "please report it with the versions of torch and onnx")  # fmt: skip
        return apart

    with _appearing(path) as unfinished, TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as aside:
        exact = Path(aside) / f"exact{path.suffix}" if int8 else unfinished
        log.info("writing %s", path)
        write(program, names, exact, text, opset or OPSETS[0])
        del program
        log.info("comparing its answers with the model's")
        apart = compared(exact, EXACT)
        if int8:
            log.info("rounding to int8")
            _round(exact, unfinished)
            apart = compared(unfinished, ROUGH)
    return apart


def _refuse(path: Path, *, int8: bool, opset: int | None) -> None:
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path.name} has no suffix that says what to write; name it .onnx, or .pt2 for PyTorch alone")
    missing = [name for name in NEEDED if path.suffix == ".onnx" and find_spec(name) is None]
    if missing:
        what = f"to write {path.name} takes {', '.join(missing)}"
        raise ValueError(f"{what}; install them with pip install 'vitruvian[export]', or write a .pt2")
    wrong = [option for option, given in (("--int8", int8), ("--opset", opset is not None)) if given and path.suffix != ".onnx"]
    if wrong:
        raise ValueError(f"{wrong[0]} is for .onnx; name it {path.with_suffix('.onnx').name}, or leave {wrong[0]} out")


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """A name to write under in a folder of its own; all that is there then moves beside one another, `path` last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        yield Path(folder) / path.name
        for file in sorted(Path(folder).iterdir(), key=lambda file: file.name == path.name):
            with file.open("rb") as written:
                os.fsync(written.fileno())
            file.replace(path.with_name(file.name))
    sync(path.parent)


def _write_onnx(program: Any, names: Sequence[str], path: Path, text: str, opset: int) -> None:
    free = ({0: "batch"},) if program.range_constraints else None  # its name in the file
    how = {"input_names": ["image"], "output_names": list(names), "opset_version": opset, "dynamic_shapes": free}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own making, about versions of its operators
        try:
            found = torch.onnx.export(program, dynamo=True, verbose=False, **how)
        except torch.onnx.errors.OnnxExporterError as error:
            why = str(error.__cause__ or error).strip().splitlines()[0]
            raise ValueError(f"this model cannot be written as ONNX ({why}); write a .pt2 instead") from error
    assert found is not None
    found.model.metadata_props[KEY] = text
    inside = sum(tensor.nbytes for tensor in program.state_dict.values()) <= TOGETHER
    found.save(path, external_data=not inside)


def _answer_onnx(path: Path, pictures: Tensor, names: Sequence[str]) -> Sequence[Tensor]:
    return run(running(path), pictures, names)


def _round(exact: Path, path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic  # heavy, and only some installations have it

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it recommends to optimise the graph first, which is ONNX Runtime's own work when it loads
    try:
        quantize_dynamic(
            exact,
            path,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=exact.with_name(exact.name + DATA).exists(),
        )
    finally:
        logging.disable(before)


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
