"""What only a GPU can show: its attention kernels agree with the formula, and a step and an answer on it agree with the CPU's."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from shared.data.view import View
from shared.dense.decoder import Spec
from shared.dense.frame import settle
from shared.dense.model import DenseModel
from shared.engine.muon import Muon
from shared.infer.predictor import Predictor
from shared.task import Task
from shared.vit.attention import Backend, attention, backends
from shared.vit.model import ViT
from tasks.depth.task import Depth
from tasks.normal.task import Normal
from tasks.pose.task import Pose
from tasks.seg.task import Seg

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU")]
CUDA = torch.device("cuda")
QUIET = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")  # xformers' import


@pytest.fixture
def model() -> DenseModel:
    return four_tasks()


def four_tasks() -> DenseModel:
    torch.manual_seed(0)
    return DenseModel(ViT("nano", image_hw=(64, 48)), [Seg(), Depth(), Normal(), Pose()], decoder=Spec((32, 16), (16,)))


@QUIET
@pytest.mark.parametrize("width", [60, 64, 80])  # of a head in 2b, 300m and 1b, 600m
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_kernels_agree(width: int, dtype: torch.dtype) -> None:
    q, k, v = torch.randn(3, 2, 4, 300, width, device=CUDA).unbind(0)
    exact = attention(q.double(), k.double(), v.double(), backend="reference")
    for backend in backends(CUDA):
        _agree(backend, (q.to(dtype), k.to(dtype), v.to(dtype)), exact)


@QUIET
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_kernels_agree_where_two_queries_share_a_key(dtype: torch.dtype) -> None:
    q, (k, v) = torch.randn(2, 4, 300, 64, device=CUDA), torch.randn(2, 2, 2, 300, 64, device=CUDA).unbind(0)
    exact = attention(q.double(), k.double(), v.double(), backend="reference")
    for backend in backends(CUDA):
        _agree(backend, (q.to(dtype), k.to(dtype), v.to(dtype)), exact)


def test_the_second_generation_agrees_with_the_cpu() -> None:
    torch.manual_seed(0)
    vit = ViT({"dim": 64, "depth": 18, "heads": 2, "family": "sapiens2"}, image_hw=(64, 48)).eval()
    image = torch.randn(1, 3, 64, 48)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    with torch.inference_mode():
        exact = vit(image)
        found = vit.to(CUDA)(image.to(CUDA)).cpu()
    assert (found - exact).abs().max() < 1e-3 * exact.std()


def test_a_step_of_muon_agrees_with_the_cpu() -> None:
    """In bfloat16, where every direction of the step is off by some percent."""
    torch.manual_seed(0)
    start, gradient, moved = torch.randn(32, 48), torch.randn(32, 48), []
    for device in (torch.device("cpu"), CUDA):
        weight = torch.nn.Parameter(start.to(device, copy=True))  # which the step changes
        weight.grad = gradient.to(device)
        Muon([{"params": [weight], "lr": 1.0, "weight_decay": 0.0, "orthogonal": True}], lr=1.0, betas=(0.9, 0.99)).step()
        moved.append(weight.detach().cpu() - start)
    assert (moved[0] - moved[1]).norm() < 0.05 * moved[0].norm()


def _agree(backend: Backend, qkv: tuple[torch.Tensor, ...], exact: torch.Tensor) -> None:
    answer = attention(*qkv, backend=backend).double()
    tolerance = 2e-2 if qkv[0].dtype is torch.bfloat16 else 2e-3
    assert (answer - exact).abs().max() < tolerance, backend


def test_losses_and_gradients_agree_with_the_cpu(model: DenseModel) -> None:
    batch = {
        "image": torch.randint(0, 255, (2, 3, 64, 48), dtype=torch.uint8),
        "seg": torch.randint(0, 28, (2, 64, 48), dtype=torch.uint8),
        "depth": torch.rand(2, 64, 48) + 2,
        "normal": torch.nn.functional.normalize(torch.randn(2, 3, 64, 48), dim=1),
        "keypoints": torch.rand(2, 17, 3) * 40 + 1,
    }
    sum(model.losses(batch).values()).backward()  # type: ignore[union-attr]
    exact = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model.to(CUDA)
    sum(model.losses({k: v.to(CUDA) for k, v in batch.items()}).values()).backward()  # type: ignore[union-attr]
    for name, p in model.named_parameters():
        if name in exact and p.grad is not None:
            scale = exact[name].abs().max().clamp(min=1e-6)
            assert (p.grad.cpu() - exact[name]).abs().max() / scale < 1e-2, name


@pytest.mark.parametrize("task", [Seg(border=3.0, dice=1.0), Depth(metric=True), Normal(slope=1.0)], ids=lambda task: task.name)
def test_costs_of_options_agree_with_the_cpu(task: Task) -> None:
    generator = torch.Generator().manual_seed(0)
    raw = 0.1 + torch.rand(2, task.channels, 16, 12, generator=generator)
    batch = {
        "seg": torch.randint(0, 28, (2, 8, 6), generator=generator).byte().repeat_interleave(8, 1).repeat_interleave(8, 2),
        "depth": torch.rand(2, 64, 48, generator=generator) + 2,
        "normal": torch.nn.functional.normalize(torch.randn(2, 3, 64, 48, generator=generator), dim=1),
        "intrinsics": torch.tensor([[60.0, 60, 23.5, 31.5], [torch.nan] * 4]),
    }
    exact = task.loss(raw, batch)
    for name, cost in task.loss(raw.to(CUDA), {key: value.to(CUDA) for key, value in batch.items()}).items():
        torch.testing.assert_close(cost.cpu(), exact[name], rtol=1e-4, atol=1e-6)


def test_answers_agree_with_the_cpu(model: DenseModel) -> None:
    raw = torch.randn(3, 32, 24)
    view = View.whole((129, 97), (64, 48))
    on_gpu, on_cpu = (settle(Normal(), raw.to(device), view, (129, 97)) for device in (CUDA, "cpu"))
    torch.testing.assert_close(on_gpu, on_cpu, atol=1e-4, rtol=0)


def test_a_predictor_runs_in_bf16(model: DenseModel) -> None:
    image = np.random.default_rng(0).integers(0, 255, (300, 200, 3), dtype=np.uint8)
    answers = Predictor(model, size=(64, 48), device=CUDA)(image)
    assert answers["depth"].shape == (300, 200)
    assert np.isfinite(answers["normal"]).all()


def test_pictures_begun_together_and_finished_in_threads_are_those_of_the_cpu(model: DenseModel) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    pictures = [(np.random.default_rng(i).integers(0, 255, (90 + 10 * i, 70, 3), dtype=np.uint8), None) for i in range(9)]
    exact = [begun.finish() for begun in Predictor(model, size=(64, 48), device="cpu", batch=1).begin(pictures)]
    on_gpu = Predictor(model, size=(64, 48), device=CUDA, precision="fp32", batch=4)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: one.finish(), on_gpu.begin(pictures)))
    for wanted, answers in zip(exact, found, strict=True):
        assert np.abs(answers["depth"] - wanted["depth"]).max() < 1e-3
        assert np.abs(answers["normal"] - wanted["normal"]).max() < 1e-2
        assert (answers["seg"] == wanted["seg"]).mean() > 0.99


def test_weights_that_are_kept_in_bf16_answer_as_those_that_are_cast_for_every_picture(model: DenseModel) -> None:
    image = np.random.default_rng(0).integers(0, 255, (90, 70, 3), dtype=np.uint8)
    predictor = Predictor(model, size=(64, 48), device=CUDA, precision="bf16")
    cast = predictor(image)
    model.lower(torch.bfloat16)
    kept = predictor(image)
    assert all(np.allclose(cast[name], kept[name], atol=1e-4) for name in ("depth", "normal", "pose"))
