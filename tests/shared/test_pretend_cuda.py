"""No step, answer or score mixes devices: they run on a pretended GPU, on which what CUDA refuses is refused.

It finds tensors of two devices in one operation, numpy where the tensor lies on the GPU, indices and generators of the wrong
device, files that only a GPU could read, and code that takes whatever machine it is on for the device it was asked for. It runs
no kernel: of their numbers, of memory, streams, compilation, several GPUs and NCCL it says nothing; `make gpu` does.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from inspect import signature
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from far import CUDA, Far
from pretend import gpu
from safetensors.torch import load_file
from torch import Tensor, nn

from shared import checkpoint
from shared.data.indexed import Indexed
from shared.engine import data
from shared.engine.config import load
from shared.engine.launch import train
from shared.engine.score import score
from shared.engine.session import Session, session
from shared.infer.predictor import Predictor
from shared.vit.attention import attention, backends

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
BOXES = np.array([[5, 5, 60, 100], [20, 10, 80, 110]], np.float32)


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (lambda near, far: near + far, "same device"),
        (lambda near, far: torch.cat([near, far]), "same device"),
        (lambda near, far: torch.stack([near.sum(), far.sum()]), "same device"),
        (lambda near, far: near.mul_(far.sum()), "same device"),
        (lambda near, far: F.linear(far, near), "same device"),
        (lambda near, far: torch.zeros(4, device=far.device).scatter_(0, near.long().flatten()[:4], 1.0), "same device"),
        (lambda near, far: far.gather(0, near.long()), "same device"),
        (lambda near, far: near[far.long()], "indices should be either on cpu or on the same device"),
        (lambda near, far: torch.rand(3, device=far.device, generator=torch.Generator()), "'cuda' device type for generator"),
        (lambda near, far: far.uniform_(generator=torch.Generator()), "'cuda' device type for generator"),
        (lambda near, far: far.numpy(), "can't convert cuda:0 device type tensor to numpy"),
        (lambda near, far: np.asarray(far), "can't convert cuda:0 device type tensor to numpy"),
        (lambda near, far: far.pin_memory(), "only dense CPU tensors can be pinned"),
        (lambda near, far: torch.save({"far": far}, BytesIO()), "cannot be read where there is none"),
    ],
)
def test_the_pretence_refuses_what_cuda_refuses(mistake, told):
    with gpu() as device, pytest.raises((RuntimeError, TypeError, AssertionError), match=told):
        mistake(torch.zeros(3, 3), torch.zeros(3, 3).to(device))


def test_the_pretence_allows_what_cuda_allows():
    with gpu() as device:
        near, far = torch.arange(6.0).view(2, 3), torch.arange(6.0, device=device).view(2, 3)
        layer = nn.Linear(3, 2).to(device)
        loss = F.cross_entropy(layer(far), torch.tensor([0, 1], device=device)) * torch.tensor(2.0)
        loss.backward()
        torch.optim.AdamW(layer.parameters()).step()
        far[0], far[:, 1] = near[1], torch.tensor(9.0)
        assert [type(tensor) for tensor in (loss, layer.weight, layer.weight.grad, F.one_hot(far.long()))] == [Far] * 4
        assert far[torch.tensor([1])].device == CUDA
        assert far.cpu().numpy().tolist() == far.tolist() == [[3, 9, 5], [3, 9, 5]]
        assert near.copy_(far).device == CPU
    assert not torch.cuda.is_available()
    assert torch.zeros(1).to("cpu").device == CPU


def learnt(config: dict) -> dict[str, Tensor]:
    return load_file(train(config))


def same(a: dict, b: dict, *, atol: float = 1e-5) -> bool:
    return a.keys() == b.keys() and all(torch.allclose(a[name], b[name], atol=atol) for name in a)


WATCHED = (
    "val_every=2",
    "val.limit=1",
    "preview=1",
    "log_every=1",
    "ema=0.7",
    "accumulate=2",
    "save_every=2",
    "keep=9",
    "optimizer=adamw",
)


def test_a_run_is_trained_scored_drawn_saved_and_resumed(tiny, tmp_path, small_shards, trained):
    teacher = f"teacher={ {'checkpoint': str(trained)} }"
    overrides = (f"val={ {'shards': str(small_shards), 'limit': 1} }", *WATCHED, teacher, "balance=cagrad", "compare=True")
    near = learnt(tiny("joint", tmp_path / "near", *overrides))
    with gpu():
        far = tiny("joint", tmp_path / "far", *overrides, "device=cuda")
        whole = learnt(far)
        assert same(whole, near, atol=3e-4)  # a teacher's norms take other steps on a GPU, and AdamW makes much of nothing
        (tmp_path / "far" / "iter_3.pth").unlink()
        assert same(learnt(far), whole)


@pytest.mark.parametrize("overrides", [("balance=pcgrad", "backbone.recompute=selective"), ("lora={'rank': 2, 'alpha': 2}",)])
def test_ways_to_train_in_bf16(tiny, tmp_path, overrides):
    with gpu():
        made = learnt(tiny("joint", tmp_path, *overrides, "iters=1", "device=auto", "precision=auto"))
    assert all(tensor.isfinite().all() for tensor in made.values())


def test_a_run_on_the_cpu_stays_there_beside_a_gpu(tiny, tmp_path, small_shards):
    config = tiny("seg", tmp_path, "iters=1", f"val={ {'shards': str(small_shards), 'limit': 1} }")
    near = learnt({**config, "work_dir": str(tmp_path / "alone")})
    with gpu():
        assert same(learnt({**config, "work_dir": str(tmp_path / "beside")}), near)


def test_pretraining_with_its_teacher(tmp_path, small_shards):
    shown = ("backbone.image_hw=(64,48)", "backbone.patch=16", "crops.local_hw=(32,32)", f"train.shards={small_shards}")
    run = ("iters=1", "warmup=0", "batch=2", "preview=1", "device=cuda", f"work_dir={tmp_path}")
    with gpu():
        made = learnt(load(ROOT / "configs/pretrain/synthetic_v2_nano.py", [*shown, *run]))
    assert all(tensor.isfinite().all() for tensor in made.values())


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "people", "precision": "fp32"},
        {"mode": "tiles", "flip": True, "only": ("depth", "seg"), "precision": "fp32"},
        {"preset": "official", "formats": ("soft",)},
    ],
    ids=str,
)
def test_answers_are_those_of_the_cpu(trained, options):
    image = np.random.default_rng(0).integers(0, 255, (120, 90, 3), dtype=np.uint8)
    near = Predictor.load(trained, device="cpu", **options)(image, boxes=BOXES)
    with gpu():
        far = Predictor.load(trained, device="auto", **options)(image, boxes=BOXES)
    for name, answer in far.items():
        assert isinstance(answer, np.ndarray)
        close = np.isclose(answer, near[name], atol=1e-3, equal_nan=True)
        assert close.mean() > 0.99, name


def test_scores_are_those_of_the_cpu(trained, small_shards):
    model: Any = checkpoint.load(trained).model
    people = Indexed(small_shards, size=(64, 48), wanted=data.wanted(model.tasks), limit=2)
    near = score(model, people, Session(CPU), tasks=model.tasks, flip=True)[0]
    with gpu() as device:
        far = score(model.to(device), people, Session(device), tasks=model.tasks, flip=True)[0]
    assert far == pytest.approx(near, rel=1e-3, abs=1e-3, nan_ok=True)


def test_a_gpu_with_a_number_too_high_is_a_sentence():
    with gpu():
        with session("cuda:0") as here:
            assert here.device == CUDA
        with pytest.raises(ValueError, match="'cuda:1' was asked for, but the last GPU here is cuda:0"), session("cuda:1"):
            pass


def test_xformers_is_given_widths_that_its_kernels_take(monkeypatch):
    """Its part is played by the formula, behind the check that its kernels for bfloat16 make."""

    def picky(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        assert q.shape[-1] % 8 == 0, "query.shape[-1] % 8 != 0"
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, scale=scale).transpose(1, 2)

    pytest.importorskip("xformers", reason="xformers is not installed")
    stage = ModuleType("xformers.ops")
    stage.memory_efficient_attention = picky  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "xformers.ops", stage)
    with gpu() as device:
        q, k, v = torch.randn(3, 2, 4, 9, 60).to(device).unbind(0)
        exact = attention(q, k, v, backend="reference")
        assert torch.allclose(attention(q, k, v, backend="xformers"), exact, atol=1e-5)
        assert "xformers" in backends(device)
        stage.memory_efficient_attention = _absent  # type: ignore[attr-defined]
        assert "xformers" not in backends(device)
        with pytest.raises(ValueError, match=r"xformers has no kernel here \(No operator found\); use attention='auto'"):
            attention(q, k, v, backend="xformers")


def _absent(*_: Tensor, **__: float) -> Tensor:
    """As an xformers that was built for another PyTorch answers."""
    raise NotImplementedError("No operator found\nfor these inputs")


@pytest.mark.parametrize(
    "name",
    [
        "second_generation_agrees_with_the_cpu",
        "a_step_of_muon_agrees_with_the_cpu",
        "losses_and_gradients_agree_with_the_cpu",
        "answers_agree_with_the_cpu",
        "a_predictor_runs_in_bf16",
        "pictures_begun_together_and_finished_in_threads_are_those_of_the_cpu",
        "weights_that_are_kept_in_bf16_answer_as_those_that_are_cast_for_every_picture",
    ],
)
def test_what_make_gpu_asks_can_be_asked(name):
    """Here with the kernels of a CPU: the questions hold, whatever a GPU answers."""
    spec = spec_from_file_location("of_the_gpu", ROOT / "tests/gpu/test_cuda.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(asked := module_from_spec(spec))
    test = getattr(asked, f"test_{name}", None) or getattr(asked, f"test_the_{name}")
    with gpu():
        test(*[asked.four_tasks()] * len(signature(test).parameters))
