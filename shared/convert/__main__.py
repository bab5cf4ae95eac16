"""Convert a file of weights:  python -m shared.convert sapiens_0.3b_goliath_best_goliath_AP_573.pth pose.safetensors"""

import argparse
import logging
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from tqdm import tqdm

from shared import weights
from shared.convert import hub
from shared.convert.official import compare, empty, family_of, findings, from_official, to_official
from shared.room import FULL, unsaved
from shared.vit.sizes import size_of

log = logging.getLogger(__name__)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
FOLDERS = re.compile(r"(?<![\w./~:-])~?/(?:[^/\s,;]+/)*")  # in front of a name, from the root or the user's home on
EXAMPLES = """examples:
  python -m shared.convert sapiens_0.3b_goliath_best_goliath_AP_573.pth pose.safetensors
  python -m shared.convert hf:facebook/sapiens2-seg-0.4b seg.safetensors --rope-dtype bf16
  python -m shared.convert runs/pose/model.safetensors pose.pth --to official
  python -m shared.convert faces.pth faces.safetensors --task seg:faces.toml
  python -m shared.convert runs/joint/model.safetensors small.safetensors --dtype bf16

Family, task and size are read from the tensors. Conversion is not needed to use an official file: every --checkpoint and init=
takes it as it is. Licences stay those of the weights, see docs/checkpoints.md."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, convert, exit: 0 done, 2 not, with a sentence why."""
    parser = argparse.ArgumentParser(
        prog="python -m shared.convert",
        description="Turn official weights of Sapiens and Sapiens2 into a checkpoint of ours, or the other way round.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "source", metavar="SRC", help="an official .pth or .safetensors, a checkpoint of ours, or hf:OWNER/REPO[/FILE]"
    )
    parser.add_argument("target", metavar="DST", type=Path, help="file to write: .safetensors; with --to official also .pth")
    parser.add_argument("--to", choices=("ours", "official"), default="ours", help="which form DST gets (default: %(default)s)")
    parser.add_argument("--heads", type=int, metavar="N", help="attention heads of a Sapiens backbone of unusual width")
    parser.add_argument("--patch-padding", type=int, choices=(0, 2), help="pixels by which patches start outside the picture "
                        "(default: 2 for Sapiens' pose, LIP parts and normals, else 0)")  # fmt: skip
    parser.add_argument("--rope-dtype", choices=("fp32", "bf16"), help="of Sapiens2's angles (default: as the file's periods are)")
    parser.add_argument("--task", metavar="KIND:NAMES", help="whose answers these are, where their number is not a published one: "
                        "pose:skeleton or seg:labels, names of ours or a .toml file")  # fmt: skip
    parser.add_argument("--dtype", choices=tuple(DTYPES), help="to keep parameters in (default: as SRC); bf16 takes half the room "
                        "and is computed in fp32 all the same; SRC may be a checkpoint of ours then")  # fmt: skip
    told = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    hints = {key: getattr(told, key) for key in ("heads", "patch_padding", "rope_dtype", "task") if getattr(told, key) is not None}
    try:
        (_to_official if told.to == "official" else _to_ours)(told.source, told.target, hints, told.dtype)
    except (ValueError, OSError, SafetensorError) as error:
        parser.exit(2, f"error: {error}\n")


def _to_ours(source: str, target: Path, hints: dict[str, Any], dtype: str | None) -> None:
    if target.suffix != ".safetensors":
        raise ValueError(
            f"our checkpoints are .safetensors files, not {target.name!r}; name it {target.with_suffix('.safetensors')}"
        )
    path, found = _open(source, target)
    if found.about is not None:
        if not dtype:
            raise ValueError(f"{path} is a checkpoint of ours already; to write the official form, add --to official, "
                             "to store it in half the room --dtype bf16")  # fmt: skip
        _refuse(hints)
        about, state = found.about, found.tensors
    elif (read := from_official(path, found, **hints)) is None:
        first = ", ".join(list(found.tensors)[:3])
        raise ValueError(f"{path} is no official file of Sapiens or Sapiens2: its first tensors are {first}; "
                         "weights of timm need no conversion, init= takes them")  # fmt: skip
    else:
        about, state = read
        _fits_family(about["model"], hints)
    log.info("%s holds %s", path, _said(about["model"], state))
    model = empty(about["model"])
    missing, extra, wrong = compare(model.state_dict(), state)
    if missing or extra or wrong:
        raise ValueError(f"{path} is not whole, or of no published kind: {findings(missing, extra, wrong)}; fetch it again")
    if dtype:  # parameters alone: tables that are computed, as Sapiens2's periods, stay exact
        state = {**state, **{name: state[name].to(DTYPES[dtype]) for name, _ in model.named_parameters()}}
    rest = {key: value for key, value in about.items() if key not in ("format", "model")}
    if found.about is not None:  # our own settings, not what others wrote into their files
        rest = {key: value if key == "official" else _without_folders(value) for key, value in rest.items()}
    _writing(target, state, lambda: weights.save(target, state, about["model"], **rest))


def _without_folders(node: Any) -> Any:
    """The same, with names alone where there were paths from the root on."""
    if isinstance(node, Mapping):
        return {key: _without_folders(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_without_folders(value) for value in node]
    return FOLDERS.sub("", node) if isinstance(node, str) else node


def _refuse(hints: Mapping[str, Any]) -> None:
    if hints:
        raise ValueError(
            f"{', '.join('--' + key.replace('_', '-') for key in hints)} says how to read an official file; leave it out here"
        )


def _to_official(source: str, target: Path, hints: dict[str, Any], dtype: str | None) -> None:
    _refuse(hints)
    if dtype:
        raise ValueError("--dtype is for checkpoints of ours; official files keep the numbers they have, so leave it out here")
    if target.suffix not in (".pth", ".safetensors"):
        raise ValueError(f"official files are .pth (Sapiens) or .safetensors (Sapiens2), not {target.name!r}; name it so")
    path, found = _open(source, target)
    if found.about is None:
        raise ValueError(f"{path} is no checkpoint of ours, so it cannot be written in the official form")
    log.info("%s holds %s", path, _said(found.about["model"], found.tensors))
    state = to_official(found.about, found.tensors)
    origin = found.about.get("official") or {}
    alone = found.about["model"]["type"] == "shared.vit.model.ViT"
    wrapper = origin.get("wrapper", None if alone else "state_dict")
    _writing(target, state, lambda: weights.save_foreign(target, state, wrapper=wrapper, meta=origin.get("meta")))


def _open(source: str, target: Path) -> tuple[Path, weights.Weights]:
    path = hub.local(source)
    if path.exists() and target.exists() and path.samefile(target):
        raise ValueError(f"{target} is the file to read; write to another one")
    if target.is_dir():
        raise ValueError(f"{target} is a folder; name the file in it")
    return path, weights.read(path)


def _fits_family(description: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    only = {"heads": "sapiens", "task": "sapiens", "patch_padding": "sapiens", "rope_dtype": "sapiens2"}
    family = family_of(description)
    if wrong := [key for key in hints if only[key] != family]:
        raise ValueError(f"--{wrong[0].replace('_', '-')} is for files of {only[wrong[0]]}, this one is of {family}; leave it out")


def _said(description: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    """What a file is, in a line."""
    backbone = description.get("backbone", description)
    row = size_of(backbone.get("size", "300m"))
    tasks = [" ".join([t["type"].rpartition(".")[2].lower(), *(w for w in t.values() if w != t["type"] and isinstance(w, str))])
             for t in description.get("tasks", ())]  # fmt: skip
    what = " and ".join(tasks) or ("an encoder" if backbone is description else "a masked autoencoder")
    count = sum(tensor.numel() for tensor in state.values())
    height, width = backbone.get("image_hw", (1024, 768))
    shape = f"width {row.dim}, {row.depth} blocks, {row.heads} heads"
    details = f"{shape}, {height}x{width} pixels, patch padding {backbone.get('patch_padding', 0)}"
    return f"{row.family}: {what}, {count / 1e6:.1f} M numbers ({details})"


def _writing(target: Path, state: Mapping[str, Tensor], write: Callable[[], None]) -> None:
    """Run `write`, with a bar."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    folder = target.absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder).free) < size:
        raise ValueError(
            f"{target} needs {size / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB left; make room, or write elsewhere"
        )
    log.info("writing %.1f MB to %s", size / 1e6, target)
    before, done = {path.name for path in folder.iterdir()}, Event()
    with tqdm(total=size, unit="B", unit_scale=True, desc=target.name, delay=1) as bar:

        def watch() -> None:
            while not done.wait(0.5):
                with suppress(OSError):  # a file that was just renamed
                    grown = [path.stat().st_size for path in folder.iterdir() if path.name not in before]
                    bar.update(min(max(grown, default=0), size) - bar.n)

        watcher = Thread(target=watch, daemon=True)
        watcher.start()
        try:
            write()
        except OSError as error:
            if error.errno is not None and error.errno not in FULL:
                raise
            then = f"run it again, or write elsewhere; it takes {size / 1e6:.1f} MB"
            raise OSError(unsaved(target.name, folder, error, then=then)) from error
        finally:
            done.set()
            watcher.join()
        bar.update(size - bar.n)


if __name__ == "__main__":
    main()
