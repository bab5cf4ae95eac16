"""Official files, whatever their family: recognised by the names of their tensors, described, and loaded as our models.

A new family is a module with `matches`, `describe`, `to_ours` and `to_official`, and its entry in `FAMILIES`.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from shared import weights
from shared.build import build
from shared.convert import hub, sapiens1, sapiens2
from shared.vit.sizes import size_of
from shared.weights import Weights

FAMILIES: tuple[tuple[str, ModuleType], ...] = (("sapiens", sapiens1), ("sapiens2", sapiens2))  # by their name in a ViT's size
FORCED = ("rope_dtype", "patch_padding")  # what may be said against a file, whoever wrote it


def recognise(names: Collection[str]) -> tuple[str, ModuleType] | None:
    """The family that names its tensors so; None: not an official file."""
    return next((entry for entry in FAMILIES if entry[1].matches(names)), None)


def from_official(path: Path | str, found: Weights, **hints: Any) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """An official file as a description with `model` and `official`, and the state dict of that model; None: another kind of file.

    Args:
        path: for the sentences.
        found: what the file holds.
        hints: what the file does not tell, or tells wrong: `heads`, `patch_padding`, `rope_dtype`, `image_hw`, `task`.

    Raises:
        ValueError: it is one, but not whole, or not known what for.
    """
    if (entry := recognise(found.tensors)) is None:
        return None
    name, family = entry
    hints = {"config": found.meta.get("cfg"), **hints}
    try:
        description = forced(family.describe(found.tensors, hints=hints), **hints)
        state = family.to_ours(found.tensors)
    except ValueError as error:
        raise ValueError(f"{path} has the names of {name}, but {error}") from error
    kept = {key: value for key, value in found.meta.items() if isinstance(value, str | int | float)}
    origin = {"family": name, "file": Path(path).name, "wrapper": found.wrapper, "meta": kept}
    return {"format": weights.FORMAT, "model": description, "official": origin}, state


def to_official(about: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of ours by the names of its family.

    Raises:
        ValueError: the official code has no such model.
    """
    name = family_of(about["model"])
    families = dict(FAMILIES)
    if name not in families:
        raise ValueError(f"a backbone of the family {name!r} has no official form; known are {', '.join(families)}")
    return families[name].to_official(state, about["model"])


def family_of(description: Mapping[str, Any]) -> str:
    """`sapiens` or `sapiens2`, as the size of the backbone says."""
    return size_of(description.get("backbone", description).get("size", "300m")).family


def forced(description: dict[str, Any], **hints: Any) -> dict[str, Any]:
    """The description with what was said against the file; what its family does not know is left out."""
    if all(hints.get(key) is None for key in FORCED):
        return description
    backbone = description.get("backbone", description)
    knows = {"sapiens": ("patch_padding",), "sapiens2": FORCED}.get(family_of(description), ())
    changed = {**backbone, **{key: hints[key] for key in knows if hints.get(key) is not None}}
    return {**description, "backbone": changed} if "backbone" in description else changed


def load_official(
    path: Path | str,
    *,
    rope_dtype: str | None = None,
    patch_padding: int | None = None,
    heads: int | None = None,
    task: str | None = None,
) -> nn.Module:
    """An official file as our model in evaluation mode: a DenseModel, or a ViT or MaskedAutoencoder from a file of pretraining.

    The weights stay on the disk until they are used. Parameters that are None follow the file and the published models.

    Args:
        path: `.pth` or `.safetensors`, or hf:OWNER/REPO[/FILE].
        rope_dtype: of Sapiens2's angles: "bf16", as official inference computes them, or "fp32".
        patch_padding: 0, or 2 where the patches start two pixels outside the picture.
        heads: of a Sapiens backbone of unusual width.
        task: `seg:labels` or `pose:skeleton` where the number of answers is not a published one.

    Raises:
        ValueError: the file is none, or cannot be read.
    """
    path = hub.local(path)
    found = weights.read(path)
    told = from_official(path, found, rope_dtype=rope_dtype, patch_padding=patch_padding, heads=heads, task=task)
    if told is None:
        raise ValueError(f"{path} is no official file: its first tensors are {', '.join(list(found.tensors)[:3])}; "
                         f"known are {', '.join(name for name, _ in FAMILIES)}")  # fmt: skip
    return assemble(told[0]["model"], told[1], path=path)


def assemble(description: Mapping[str, Any], state: Mapping[str, Tensor], *, path: Path | str) -> nn.Module:
    """The model that a description describes, around these very tensors: nothing is initialised and nothing is copied.

    Raises:
        ValueError: a tensor is missing, or has another shape, or there is one too many.
    """
    model = empty(description)
    wanted = model.state_dict()
    missing, extra, wrong = compare(wanted, state)
    if missing or extra or wrong:
        raise ValueError(f"{path} does not fit the model it describes: {findings(missing, extra, wrong)}")
    model.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in state.items()}, assign=True)
    return model.eval()


def empty(description: Mapping[str, Any]) -> nn.Module:
    """The model of a description with parameters on "meta", which have a shape and no memory. Buffers are real.

    `torch.device("meta")` would take the values of buffers too, also of those that no file holds.
    """

    def forget(_: nn.Module, __: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
        return None if parameter is None else nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)

    handle = register_module_parameter_registration_hook(forget)  # type: ignore[arg-type]  # its stub forgets the answer
    try:
        return build(description)
    finally:
        handle.remove()


def compare(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> tuple[list[str], list[str], list[str]]:
    """Names that are missing, names that are too many, and sentences about other shapes."""
    wrong = [
        f"{k} is {tuple(found[k].shape)}, not {tuple(wanted[k].shape)}"
        for k in wanted
        if k in found and wanted[k].shape != found[k].shape
    ]
    return [k for k in wanted if k not in found], [k for k in found if k not in wanted], wrong


def findings(missing: list[str], extra: list[str], wrong: list[str]) -> str:
    """What `compare` found, in words."""
    parts = [("missing", missing), ("unknown", extra), ("of another shape", wrong)]
    return "; ".join(f"{len(names)} {what}: {', '.join(names[:3])}{', ...' * (len(names) > 3)}" for what, names in parts if names)
