"""On a GPU a balanced step, its gradients told apart in the backward pass, is that of the CPU."""

import pytest
import torch
from torch import Tensor

from shared.dense.balance import balancer
from shared.dense.decoder import Spec
from shared.dense.model import DenseModel
from shared.vit.model import ViT
from tasks.depth.task import Depth
from tasks.seg.task import Seg

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU")]
RULES = ["uncertainty", "gradnorm", "dwa", "lossmean", "scalematch", "pcgrad", "cagrad", "mgda"]
RULES += [{"type": f"shared.dense.balance.{name}", "where": "trunk"} for name in ("GradNorm", "PCGrad")]


def step(device: str, rule, *, half: bool, recompute: bool) -> tuple[Tensor, dict[str, float]]:
    """The gradient of the backbone, and what is told, of two iterations on the same two pictures."""
    torch.manual_seed(0)
    model = DenseModel(ViT("nano", image_hw=(64, 48), recompute=recompute), [Seg(), Depth()], decoder=Spec((32,), (16,))).train()
    torch.nn.init.normal_(model.decoders["seg"].last.weight, std=0.1)  # type: ignore[union-attr, arg-type]
    batch = {
        "image": torch.randint(0, 256, (2, 3, 64, 48), dtype=torch.uint8),
        "seg": torch.randint(0, 28, (2, 64, 48), dtype=torch.uint8),
        "depth": 1 + torch.rand(2, 64, 48),
    }
    model, batch = model.to(device), {name: value.to(device) for name, value in batch.items()}
    balance, told = balancer(rule, ["seg", "depth"], compare=True).to(device), {}
    for iteration in range(2):
        balance.begin(iteration, 2)
        model.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            losses = balance.weigh(model.losses(batch, fork=balance.fork))
        torch.stack(list(losses.values())).sum().backward()
        told = {name: float(value) for name, value in balance.end().items()}
    return torch.cat([p.grad.flatten().cpu() for p in model.backbone.parameters() if p.grad is not None]), told


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("half", "recompute", "tolerance"), [(False, False, 1e-3), (True, True, 0.1)])
def test_a_balanced_step_agrees_with_the_cpu(rule, half: bool, recompute: bool, tolerance: float) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    exact, wanted = step("cpu", rule, half=False, recompute=False)
    found, told = step("cuda", rule, half=half, recompute=recompute)
    assert (found - exact).norm() < tolerance * exact.norm()
    assert told == pytest.approx(wanted, rel=tolerance, abs=tolerance)
