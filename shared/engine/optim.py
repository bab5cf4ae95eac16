"""AdamW, also of eight bits, or Muon in groups: layer decay for fine-tuning, no weight decay where shrinking means nothing."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from torch import nn, optim

from shared.engine import eightbit
from shared.engine.muon import Muon
from shared.vit.frozen import freeze
from shared.vit.lora import adapt
from shared.vit.model import ViT

UNDECAYED = {  # by family, with every bias, norm and other 1-D tensor
    "sapiens": ("pos_embed", "cls_token", "mask_token"),  # specification of Sapiens, section 8
    "dinov3": ("mask_token",),
    "sapiens2": ("pos_embed", "mask_token"),  # of Sapiens2, section 3: cls and storage decay; the mask is ours
}
OUTSIDE = {"pos_embed", "cls_token", "storage_tokens", "mask_token", "patch_embed"}  # of Muon: what meets pixels
OUTSIDE |= {"last", "decoder_pred", "prototypes"}  # and what answers
STEPS = (170 / 210, 200 / 210)  # epochs of Sapiens' configs for pose, specification section 8
LOWEST = tuple(f"backbone.{name}" for name in ("patch_embed", "pos_embed", "cls_token", "storage_tokens", "tokenizer"))


def hold(backbone: ViT, *, frozen: bool | int | None, lora: Mapping[str, Any] | None) -> None:
    """Hold still what is not to be trained of the backbone, before there is an optimiser.

    Args:
        backbone: with the weights that it starts from.
        frozen: as for `freeze`; None is False.
        lora: dict(rank=, alpha=) of `adapt`; None: no adaptation.

    Raises:
        ValueError: both are asked for, or one of them is nothing that can be.
    """
    if lora is None:
        freeze(backbone, frozen or False)
        return
    if frozen:
        raise ValueError(f"lora holds the whole backbone still, and frozen={frozen} a part of it; leave one of them at None")
    if not isinstance(lora, Mapping) or set(lora) != {"rank", "alpha"}:
        raise ValueError(f"lora={lora!r} is no adaptation; give {{'rank': 16, 'alpha': 32}}")
    adapt(backbone, **lora)


def rate(config: Mapping[str, Any], *, processes: int) -> float:
    """`lr`; with `lr_for` it is meant for so many pictures in an iteration and grows with them (He et al. 2022, appendix A.1)."""
    if config.get("lr_for") is None:
        return config["lr"]
    return config["lr"] * config["batch"] * config["accumulate"] * processes / config["lr_for"]


def layer_of(name: str, depth: int) -> int:
    """0 for what makes tokens, i + 1 for block i, depth + 1 for all above: decoders and, as officially, the final norm."""
    if name.startswith(LOWEST):
        return 0
    if name.startswith("backbone.blocks."):
        return int(name.split(".")[2]) + 1
    return depth + 1


def groups(model: nn.Module, *, lr: float, weight_decay: float, layer_decay: float, beside: nn.Module | None = None) -> list[dict]:
    """Parameter groups: lr * layer_decay^(layers above) (Bao et al. 2022); 1-D tensors and `UNDECAYED` without weight decay.

    Args:
        model: has a `backbone`.
        lr: of the decoders.
        weight_decay: of matrices.
        layer_decay: 1 is the same rate everywhere.
        beside: what is trained with the model and is no part of it, at the rate of the decoders.
    """
    backbone = model.backbone
    depth, family = (len(backbone.blocks), backbone.size.family) if isinstance(backbone, ViT) else (0, "sapiens")
    found: dict[tuple[int, bool], dict] = {}
    others = beside.named_parameters(prefix="beside") if beside is not None else ()
    for name, parameter in chain(model.named_parameters(), others):
        if not parameter.requires_grad:
            continue
        layer = layer_of(name, depth)
        decays = parameter.ndim > 1 and not name.endswith(UNDECAYED[family])
        rate = lr * layer_decay ** (depth + 1 - layer)
        group = found.setdefault((layer, decays), {"params": [], "lr": rate, "weight_decay": weight_decay if decays else 0.0})
        group["params"].append(parameter)
    return list(found.values())


def adamw(model: nn.Module, *, lr: float, betas: tuple[float, float], **options: Any) -> optim.AdamW:
    """Sapiens' optimiser, in PyTorch's fused form, which CPUs have too; `options` of `groups`."""
    return optim.AdamW(groups(model, lr=lr, **options), lr=lr, betas=betas, fused=True)


def adamw8bit(model: nn.Module, *, lr: float, betas: tuple[float, float], **options: Any) -> optim.Optimizer:
    """The same with moments of eight bits."""
    return eightbit.adamw8bit(groups(model, lr=lr, **options), lr=lr, betas=betas)


def muon(model: nn.Module, *, lr: float, betas: tuple[float, float], **options: Any) -> Muon:
    """Muon for the matrices inside, AdamW for everything else, at one learning rate."""
    inner = {parameter for name, parameter in model.named_parameters() if inside(name, parameter)}
    parameters = [
        {**group, "params": chosen, "orthogonal": orthogonal}
        for group in groups(model, lr=lr, **options)
        for orthogonal in (True, False)
        if (chosen := [p for p in group["params"] if (p in inner) is orthogonal])
    ]
    return Muon(parameters, lr=lr, betas=betas)


def inside(name: str, parameter: nn.Parameter) -> bool:
    """Whether this is a matrix, or a convolution read as one, between two layers: neither what meets pixels nor what answers."""
    return parameter.ndim > 1 and not OUTSIDE.intersection(name.split("."))


OPTIMIZERS = {"adamw": adamw, "adamw8bit": adamw8bit, "muon": muon}


def state_bytes(kind: str, name: str, parameter: nn.Parameter) -> int:
    """What an optimiser remembers of a parameter: AdamW two moments in float32 or eight bits, Muon one of what it turns."""
    if kind == "adamw8bit":
        return eightbit.state_bytes(parameter)
    return (4 if kind == "muon" and inside(name, parameter) else 8) * parameter.numel()


def optimizer(kind: str, model: nn.Module, **options: Any) -> optim.Optimizer:
    """The optimiser of that name.

    Raises:
        ValueError: no such optimiser.
    """
    if kind not in OPTIMIZERS:
        raise ValueError(f"there is no optimizer {kind!r}; choose one of {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[kind](model, **options)


def schedule(kind: str, *, iters: int, warmup: int) -> list[dict]:
    """Per-iteration schedulers of mmengine: linear warm-up from a thousandth, then `cosine` or `linear` to zero, or `constant`.

    `steps` is constant, a tenth from STEPS[0] of the iterations on, a hundredth from STEPS[1] on.

    Raises:
        ValueError: no such schedule, or a warm-up as long as the training.
    """
    if warmup >= iters:
        raise ValueError(f"warmup={warmup} leaves nothing of iters={iters}; make it shorter, for example warmup={iters // 10}")
    risen = warmup if warmup > 1 else 0  # of one iteration, mmengine would never come back from the thousandth
    falls = {
        "cosine": {"type": "CosineAnnealingLR", "eta_min": 0.0},
        "linear": {"type": "PolyLR", "power": 1.0, "eta_min": 0.0},
        "constant": {"type": "ConstantLR", "factor": 1.0},
        "steps": {"type": "MultiStepLR", "milestones": [round(iters * part) - risen for part in STEPS], "gamma": 0.1},
    }
    if kind not in falls:
        raise ValueError(f"there is no schedule {kind!r}; choose one of {', '.join(falls)}")
    rise = {"type": "LinearLR", "start_factor": 1e-3, "by_epoch": False, "begin": 0, "end": warmup}
    return [rise] * bool(risen) + [{**falls[kind], "by_epoch": False, "begin": risen, "end": iters}]
