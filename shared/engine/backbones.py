"""The command of `pretrain/probe.py`: what a backbone knows before anybody fine-tunes it, beside what it would know by chance."""

import argparse
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared import checkpoint
from shared.build import build
from shared.convert.timm import describe, is_timm
from shared.data.options import size
from shared.data.view import Size
from shared.engine.probe import PATCHES, PICTURES, Probe, Scores, See, eyes
from shared.engine.session import Session, precision_of, session
from shared.vit.model import Normalise, ViT

EDGE = 16  # pixels of a patch along each side that the row of raw pixels has at most
EPILOG = """examples:
  python pretrain/probe.py runs/pretrain/humans_1b/model.safetensors --shards data/labelled
  torchrun --nproc_per_node 8 pretrain/probe.py hf:facebook/sapiens-pretrain-1b --shards data/labelled --pictures 500

Readers: knn, the 20 nearest patches of other photos vote; linear, a ridge regression fitted to four fifths of the photos. Scores,
by patch: miou and acc of parts, r2 of the logarithm of depth within a person, mean angle of normals (the lower the better)."""


class Bare(nn.Module):
    """A backbone with the mean and deviation of its pictures, and nothing else."""

    def __init__(self, backbone: ViT) -> None:
        super().__init__()
        self.backbone, self.normalise = backbone, Normalise()


def compare() -> None:
    """Read the command line, look, print; errors are a sentence and exit code 2."""
    parser = argparse.ArgumentParser(
        description="What nearest neighbours and a linear map read out of a backbone, beside random weights and raw pixels.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    parser.add_argument("checkpoint", help="of ours, official, or a timm ViT's safetensors; hf:OWNER/REPO[/FILE]")
    parser.add_argument("--shards", required=True, nargs="+", metavar="SHARDS", help="with some of seg, depth and normal")
    parser.add_argument("--pictures", type=int, default=PICTURES, help=f"evenly spread over the shards (default {PICTURES})")
    parser.add_argument("--patches", type=int, default=PATCHES, help=f"of each picture, at most (default {PATCHES})")
    parser.add_argument("--size", type=size, metavar="HxW", help="of the backbone's input (default: what it was trained with)")
    parser.add_argument("--framing", default="whole", choices=("whole", "boxes"), help="the picture, or the person (default whole)")
    parser.add_argument("--device", default="auto", help="cpu, cuda; auto: the GPU where there is one")
    parser.add_argument("--precision", default="auto", help="fp32, bf16; auto: bf16 on GPUs that have it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores there too")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        with session(options.device) as here:
            found = rows(
                options.checkpoint,
                options.shards,
                here,
                size=options.size,
                dtype=precision_of(options.precision, here.device),
                **{name: getattr(options, name) for name in ("pictures", "patches", "framing")},
            )
        if here.first:
            sys.stdout.write(table(found))
            if options.json:
                options.json.write_text(json.dumps(found, indent=1))
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}\n")


def rows(
    path: Path | str, shards: Any, here: Session, *, size: Size | None = None, dtype: torch.dtype | None = None, **options: Any
) -> dict[str, Scores]:
    """Scores of a checkpoint's backbone, of the same with random weights (seed 0), of raw pixels, and of not looking.

    Args:
        path: of the checkpoint.
        shards: of the probe.
        here: this process among the others.
        size: (H,W) of the backbone's input; None: as the checkpoint has it.
        dtype: of autocast; None is float32.
        options: of `Probe`.
    """
    model, description = loaded(path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = Bare(build(description))
    fresh.normalise = model.normalise
    stride = model.backbone.stride
    probe = Probe(shards, size=size or tuple(description.get("image_hw", (1024, 768))), stride=stride, **options)
    found: dict[str, Scores] = {}
    trivial: Scores = {}
    for name, looking in {Path(path).name: model, "random weights": fresh}.items():
        found[name], trivial = probe.scores(eyes(looking.eval().to(here.device)), here, dtype=dtype)
        looking.cpu()
    found["raw pixels"], _ = probe.scores(pixels(stride), here)
    return {**found, "not looking": trivial}


def loaded(path: Path | str) -> tuple[Any, dict[str, Any]]:
    """What has `backbone` and `normalise`, and the description of the backbone.

    Raises:
        ValueError: the file is not there, or holds no backbone that we know.
    """
    about, state = checkpoint.read(path)
    if about is None and is_timm(state):
        description = describe(state)
        backbone = build(description)
        checkpoint.initialise(backbone, path)
        return Bare(backbone), description
    model: Any
    model, about = checkpoint.load(path)
    return (Bare(model) if isinstance(model, ViT) else model), about["model"].get("backbone", about["model"])


def pixels(stride: int) -> See:
    """The colours of a patch as its features, averaged to EDGE x EDGE places at most: 3 * min(stride, EDGE)^2 numbers in 0..1."""

    def see(image: Tensor) -> Tensor:
        n = min(stride, EDGE)
        h, w = (edge // stride * n for edge in image.shape[-2:])
        image = F.adaptive_avg_pool2d(image.float() / 255, (h, w))
        return F.pixel_unshuffle(image, n)

    return see


def table(found: Mapping[str, Scores]) -> str:
    """A line for each kind of features, a column for each score."""
    columns = list(next(iter(found.values())))
    lines = [f"{'':<24}" + "".join(f"{column:>18}" for column in columns)]
    lines += [f"{name[-24:]:<24}" + "".join(f"{scores[column]:>18.4f}" for column in columns) for name, scores in found.items()]
    return "\n".join(lines) + "\n"
