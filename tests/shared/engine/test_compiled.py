"""A compiled training step learns what a plain one learns, and leaves no trace in names, copies and checkpoints.

Run as a script, this file is one of two processes that train: python test_compiled.py CONFIG, with the environment of torchrun.
"""

import copy
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from processes import run_two

from pretrain.model import MaskedAutoencoder
from shared.build import build
from shared.dense.compiled import compile_parts
from shared.dense.decoder import Spec
from shared.dense.model import DenseModel
from shared.engine.launch import describe, train
from shared.vit.model import ViT
from shared.weights import read
from tasks.depth.task import Depth

CPU = torch.device("cpu")
OF_PYTORCH = ("ignore:The .grad attribute:UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")  # while it captures
quiet = pytest.mark.filterwarnings(*OF_PYTORCH)
TINY = {"dim": 32, "depth": 2, "heads": 2}


def made(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if kind == "mae":
        return MaskedAutoencoder(ViT(TINY, image_hw=(64, 48), cls=True), dim=16, depth=1, heads=2)
    return DenseModel(ViT(TINY, image_hw=(64, 48), recompute=kind == "recomputed"), [Depth()], decoder=Spec((16,), (16,)))


def learned(model: torch.nn.Module) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses of three steps, and the weights after them."""
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=0.01), []  # Adam takes steps of the same size along noise
    draw = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (2, 3, 64, 48), generator=draw).byte()
    batch = {"image": image, "position": torch.arange(2), "depth": 1 + torch.rand(2, 64, 48, generator=draw)}
    for _ in range(3):
        loss = torch.stack(list(model.losses(batch).values())).sum()  # type: ignore[operator]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model.state_dict()


def agree(kind: str, backend: str) -> None:
    torch._dynamo.reset()
    model = made(kind)
    assert compile_parts(model, True, CPU, backend=backend) == 3
    assert copy.deepcopy(model).state_dict().keys() == made(kind).state_dict().keys()
    losses, weights = learned(model)
    wanted, others = learned(made(kind))
    assert losses == pytest.approx(wanted, abs=1e-5)
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, others[name], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["mae", "dense", "recomputed"])
@quiet
def test_what_is_captured_learns_the_same(kind):
    agree(kind, "aot_eager")
    counts = torch._dynamo.utils.counters["frames"]
    assert counts["ok"] == counts["total"] > 0


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="inductor has no C++ compiler here")
@pytest.mark.parametrize("kind", ["mae", "dense"])
@quiet
def test_what_is_compiled_learns_the_same(kind):
    agree(kind, "inductor")


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="inductor has no C++ compiler here")
@quiet
def test_a_compiled_run_with_averages_ends_with_the_same_weights(tiny, tmp_path):
    configs = [tiny("seg", tmp_path / how, "iters=2", "ema=0.5", f"compile={how}") for how in ("False", "True")]
    went_the_same_way(configs[0], *(read(train(config)).tensors for config in configs))


def went_the_same_way(config: dict, plain: dict[str, torch.Tensor], compiled: dict[str, torch.Tensor]) -> None:
    """Far less apart than both went: optimisers make whole steps of gradients that are nothing but rounding."""
    torch.manual_seed(config["seed"])
    start = build(describe(config)).state_dict()
    assert plain.keys() == compiled.keys()
    moved, apart = (sum(float((plain[name] - other[name]).square().sum()) for name in plain) ** 0.5 for other in (start, compiled))
    assert moved > 0
    assert apart < 0.05 * moved


def together(config: dict, path: Path) -> dict[str, torch.Tensor]:
    """The weights that two processes end with."""
    path.write_text(json.dumps(config))
    run_two(__file__, path)
    return read(Path(config["work_dir"]) / "model.safetensors").tensors


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="inductor has no C++ compiler here")
@pytest.mark.parametrize("way", ["ddp", "fsdp2"])
def test_processes_that_compile_end_with_the_same_weights(tiny, tmp_path, way):
    options = ("iters=2", "optimizer=adamw", f"parallel={way}")
    configs = [tiny("seg", tmp_path / how, *options, f"compile={how}") for how in ("False", "True")]
    went_the_same_way(configs[0], *(together(config, tmp_path / f"{k}.json") for k, config in enumerate(configs)))


def test_nothing_is_compiled_unless_it_is_asked_for():
    model = made("dense")
    assert compile_parts(model, False, CPU) == compile_parts(model, None, CPU) == 0
    assert all(module._compiled_call_impl is None for module in model.modules())


def test_what_cannot_be_is_a_sentence(monkeypatch):
    with pytest.raises(ValueError, match="choose False, True or 'max-autotune'"):
        compile_parts(made("dense"), "fast", CPU)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="install g\\+\\+"):
        compile_parts(made("dense"), True, CPU)


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(json.loads(Path(sys.argv[1]).read_text()))
