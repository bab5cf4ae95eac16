"""Write a model as a file that runs without this project:  python -m shared.export people.onnx [--checkpoint model.safetensors]

What was written is run beside the model, and has its name only when both answer the same.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared import builtin, checkpoint
from shared.data.options import positive, size
from shared.dense.model import DenseModel
from shared.export.write import OPSETS, export
from shared.exported import DATA
from shared.room import told

log = logging.getLogger(__name__)
EXAMPLES = """examples:
  python -m shared.export people.onnx
  python -m shared.export seg.onnx --checkpoint runs/seg/humans_300m/model.safetensors --size 512x384 --batch 1
  python -m shared.export raw.onnx --raw --checkpoint runs/joint/humans_300m/model.safetensors
  python -m shared.export laptop.onnx --raw --int8
  python tasks/joint/infer.py photos/ --checkpoint laptop.onnx
  python -m shared.export people.pt2 --tasks seg,depth

What goes in, what comes out, and how to run it elsewhere: docs/export.md. Licences stay those of the weights."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, export, exit: 0 done, 2 not, with a sentence why."""
    parser = argparse.ArgumentParser(
        prog="python -m shared.export",
        description="Write a model as .onnx or .pt2, for programs that have nothing of this project.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXAMPLES,
    )
    parser.add_argument("target", metavar="FILE", type=Path, help=".onnx (ONNX Runtime, OpenVINO, ...) or .pt2 (torch.export)")
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="model.safetensors of a run, an official file or hf:OWNER/REPO (default: the built-in model)",
    )
    parser.add_argument("--tasks", metavar="A,B", help="answer these only, for example seg,depth (default: all that it answers)")
    parser.add_argument("--size", type=size, metavar="HxW", help="of the network's input in pixels (default: as trained)")
    parser.add_argument("--batch", type=positive, metavar="N", help="pictures at a time, always (default: any number)")
    parser.add_argument(
        "--raw",
        action="store_true",
        help="logits, heatmaps and so on as the decoders give them: what infer.py and evaluate.py take",
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="of .onnx: whole numbers of 8 bits in linear layers, for ONNX Runtime on processors: smaller, faster, nearly the same",
    )
    parser.add_argument(
        "--opset",
        type=int,
        choices=range(OPSETS[0], OPSETS[1] + 1),
        metavar="N",
        help=f"of .onnx, {OPSETS[0]} to {OPSETS[1]}; 23 keeps attention as one operator (default: {OPSETS[0]})",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("onnxscript", "onnx_ir", "torch.onnx"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        model, about = _model(options.checkpoint, options.tasks, options.size)
        apart = export(model, about, options.target, batch=options.batch, raw=options.raw, opset=options.opset, int8=options.int8)
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {told(error, out=options.target.parent, then='run it again, or write elsewhere')}\n")
    for name, one in apart.items():
        log.info("%s: %s", name, one)
    beside = options.target.with_name(options.target.name + DATA)
    total = sum(file.stat().st_size for file in (options.target, beside) if file.exists())
    log.info(
        "%s: %.1f MB%s",
        options.target,
        total / 1e6,
        f", most of it in {beside.name}, which has to lie beside it" if beside.exists() else "",
    )


def _model(path: str | None, tasks: str | None, size: tuple[int, int] | None) -> tuple[DenseModel, dict[str, Any]]:
    if path is not None and path.endswith(".onnx"):
        raise ValueError(f"{path} is exported already; give the checkpoint that it was made of")
    model, about = checkpoint.answering(path or builtin.path())
    description = about["model"]
    chosen = [part.strip() for part in tasks.split(",")] if tasks else [task.name for task in model.tasks]
    have = {task.name: (task, described) for task, described in zip(model.tasks, description["tasks"])}
    if unknown := [name for name in chosen if name not in have]:
        raise ValueError(f"it answers {', '.join(have)}, not {', '.join(unknown)}; choose from those")
    model.tasks = tuple(task for name, (task, _) in have.items() if name in chosen)
    backbone = dict(description["backbone"])
    if size is not None:
        model.backbone.resize(size)
        backbone["image_hw"] = list(size)
    kept = [described for name, (_, described) in have.items() if name in chosen]
    return model, {"model": {**description, "backbone": backbone, "tasks": kept}}


if __name__ == "__main__":
    main()
