"""Muon: a matrix moves alike in all its directions; everything else is AdamW's."""

import pytest
import torch
from timm.optim import Muon as Reference
from torch import nn, optim

from shared.engine.muon import RMS, Muon

LR = 1e-3
BETAS = (0.9, 0.99)


def parameter(*shape: int, seed: int = 0) -> nn.Parameter:
    made = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))
    made.grad = torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1))
    return made


def group(weight: nn.Parameter, *, orthogonal: bool, decay: float = 0.0) -> dict:
    return {"params": [weight], "lr": LR, "weight_decay": decay, "orthogonal": orthogonal}


def steps(optimiser: optim.Optimizer, weight: nn.Parameter, count: int = 3) -> torch.Tensor:
    for seed in range(count):
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
        optimiser.step()
    return weight.detach().clone()


@pytest.mark.parametrize("shape", [(24, 96), (96, 24), (16, 8, 4, 4), (64, 2, 2, 2)])
def test_every_direction_moves_alike_whatever_the_gradient_says(shape):
    weight = parameter(*shape)
    before = weight.detach().clone()
    rows = shape[0]
    columns = weight.numel() // rows
    spectrum = torch.logspace(0, -1, min(rows, columns))
    left, right = torch.linalg.qr(torch.randn(rows, len(spectrum)))[0], torch.linalg.qr(torch.randn(columns, len(spectrum)))[0]
    weight.grad = (left * spectrum @ right.T).view(shape)
    Muon([group(weight, orthogonal=True)], lr=LR, betas=BETAS).step()
    moved = torch.linalg.svdvals((weight.detach() - before).flatten(1).double()) / (LR * RMS * max(rows, columns) ** 0.5)
    assert 0.5 < moved.min() < moved.max() < 1.4


def test_it_is_timms_but_for_the_precision():
    ours, theirs = parameter(24, 96), parameter(24, 96)
    given = {"lr": LR, "betas": BETAS}
    found = steps(Muon([group(ours, orthogonal=True, decay=0.1)], **given), ours)
    reference = steps(
        Reference([theirs], weight_decay=0.1, nesterov=True, ns_coefficients=(3.4445, -4.7750, 2.0315), **given), theirs
    )
    start = parameter(24, 96).detach()
    assert ((found - start) - (reference - start)).norm() < 0.02 * (reference - start).norm()


def test_what_is_no_matrix_is_adamws_to_the_last_bit():
    ours, theirs = parameter(7), parameter(7)
    both = Muon([group(parameter(8, 8), orthogonal=True), group(ours, orthogonal=False, decay=0.1)], lr=LR, betas=BETAS)
    assert torch.equal(steps(both, ours), steps(optim.AdamW([theirs], lr=LR, betas=BETAS, weight_decay=0.1, fused=True), theirs))


def test_a_matrix_without_gradient_stays_and_gradients_are_left_as_they_were():
    still, moving = parameter(8, 8), parameter(8, 8)
    still.grad = None
    before, gradient = still.detach().clone(), moving.grad
    Muon([group(still, orthogonal=True), group(moving, orthogonal=True)], lr=LR, betas=BETAS).step()
    assert torch.equal(still, before)
    assert moving.grad is gradient


def test_its_state_goes_on_where_it_was():
    whole, first, second = parameter(8, 8), parameter(8, 8), parameter(8, 8)
    made = Muon([group(whole, orthogonal=True)], lr=LR, betas=BETAS)
    end = steps(made, whole, 2)
    stopped = Muon([group(first, orthogonal=True)], lr=LR, betas=BETAS)
    second.data = steps(stopped, first, 1)
    resumed = Muon([group(second, orthogonal=True)], lr=LR, betas=BETAS)
    resumed.load_state_dict(stopped.state_dict())
    second.grad = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
    resumed.step()
    assert torch.equal(second.detach(), end)


def test_a_closure_is_refused():
    with pytest.raises(ValueError, match="takes no closure"):
        Muon([group(parameter(4, 4), orthogonal=True)], lr=LR, betas=BETAS).step(lambda: 0.0)
