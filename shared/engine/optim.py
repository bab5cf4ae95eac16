"""AdamW in groups: layer decay for fine-tuning, and no weight decay where a shrinking number means nothing."""

from torch import nn, optim

from shared.vit.model import ViT

UNDECAYED = ("pos_embed", "cls_token", "mask_token")  # with every bias and norm (specification of Sapiens, section 8)


def layer_of(name: str, depth: int) -> int:
    """0 for the embedding, i + 1 for block i, depth + 1 for all above: decoders and, as officially, the final norm."""
    if name.startswith(("backbone.patch_embed", "backbone.pos_embed", "backbone.cls_token")):
        return 0
    if name.startswith("backbone.blocks."):
        return int(name.split(".")[2]) + 1
    return depth + 1


def groups(model: nn.Module, *, lr: float, weight_decay: float, layer_decay: float) -> list[dict]:
    """Parameter groups: lr * layer_decay^(layers above); 1-D tensors and embeddings without weight decay (Bao et al. 2022).

    Args:
        model: has a `backbone`.
        lr: of the decoders.
        weight_decay: of matrices.
        layer_decay: 1 is the same rate everywhere.
    """
    backbone = model.backbone
    depth = len(backbone.blocks) if isinstance(backbone, ViT) else 0
    found: dict[tuple[int, bool], dict] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        layer = layer_of(name, depth)
        decays = parameter.ndim > 1 and not name.endswith(UNDECAYED)
        rate = lr * layer_decay ** (depth + 1 - layer)
        group = found.setdefault((layer, decays), {"params": [], "lr": rate, "weight_decay": weight_decay if decays else 0.0})
        group["params"].append(parameter)
    return list(found.values())


def adamw(model: nn.Module, *, lr: float, weight_decay: float, layer_decay: float, betas: tuple[float, float]) -> optim.AdamW:
    """The optimiser, in PyTorch's fused form, which CPUs have too."""
    parameters = groups(model, lr=lr, weight_decay=weight_decay, layer_decay=layer_decay)
    return optim.AdamW(parameters, lr=lr, betas=betas, fused=True)


def schedule(kind: str, *, iters: int, warmup: int) -> list[dict]:
    """Per-iteration schedulers of mmengine: linear warm-up from a thousandth, then `cosine` or `linear` to zero, or `constant`.

    Raises:
        ValueError: no such schedule, or a warm-up as long as the training.
    """
    if warmup >= iters:
        raise ValueError(f"warmup={warmup} leaves nothing of iters={iters}; make it shorter")
    falls = {
        "cosine": {"type": "CosineAnnealingLR", "eta_min": 0.0},
        "linear": {"type": "PolyLR", "power": 1.0, "eta_min": 0.0},
        "constant": {"type": "ConstantLR", "factor": 1.0},
    }
    if kind not in falls:
        raise ValueError(f"there is no schedule {kind!r}; choose one of {', '.join(falls)}")
    rise = {"type": "LinearLR", "start_factor": 1e-3, "by_epoch": False, "begin": 0, "end": warmup}
    risen = warmup if warmup > 1 else 0  # of one iteration, mmengine would never come back from the thousandth
    return [rise] * bool(risen) + [{**falls[kind], "by_epoch": False, "begin": risen, "end": iters}]
