"""Attention: whatever computes it, the answer is the formula's."""

import pytest
import torch

from shared.vit.attention import attention, backends

CPU = torch.device("cpu")


def made(shape=(2, 3, 17, 8), seed=0, kv_heads=None):
    generator = torch.Generator().manual_seed(seed)
    fewer = (shape[0], kv_heads or shape[1], *shape[2:])
    return [torch.randn(s, generator=generator, requires_grad=True) for s in (shape, fewer, fewer)]


@pytest.mark.parametrize("backend", backends(CPU))
@pytest.mark.parametrize("shape", [(2, 3, 17, 8), (1, 1, 1, 4), (1, 2, 5, 60)])
def test_every_back_end_is_the_formula_forward_and_backward(backend, shape):
    ours, theirs = made(shape), made(shape)
    answer, wanted = attention(*ours, backend=backend), attention(*theirs, backend="reference")
    torch.testing.assert_close(answer, wanted)
    answer.square().sum().backward()
    wanted.square().sum().backward()
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("backend", backends(CPU))
@pytest.mark.parametrize(("heads", "kv_heads"), [(6, 3), (6, 2), (4, 1)])
def test_queries_that_share_a_key_are_neighbours(backend, heads, kv_heads):
    ours, theirs = (made((2, heads, 9, 8), kv_heads=kv_heads) for _ in range(2))
    answer = attention(*ours, backend=backend)
    q, k, v = theirs
    alone = [attention(q[:, [j]], *(x[:, [j // (heads // kv_heads)]] for x in (k, v)), backend="reference") for j in range(heads)]
    wanted = torch.cat(alone, 1)
    torch.testing.assert_close(answer, wanted)
    answer.square().sum().backward()
    wanted.square().sum().backward()
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a.grad, b.grad)


def test_the_formula_is_a_softmax_weighted_mean():
    q = torch.tensor([[[[4.0, 0.0]]]])
    k = torch.tensor([[[[1.0, 5.0], [0.0, 5.0]]]])
    v = torch.tensor([[[[1.0], [0.0]]]])
    share = torch.sigmoid(torch.tensor(4 / 2**0.5))  # scaled by the root of the width of a key
    assert attention(q, k, v, backend="reference").item() == pytest.approx(share.item())


def test_the_first_back_end_is_auto_and_xformers_is_not_for_cpus():
    assert backends(CPU) == ["auto", "sdpa", "reference"]


def test_a_back_end_that_cannot_run_says_so():
    with pytest.raises(ValueError, match="no kernel for cpu tensors; use attention='auto'"):
        attention(*made(), backend="xformers")
    with pytest.raises(ValueError, match="no attention back end 'flash'; choose one of auto, sdpa, xformers, reference"):
        attention(*made(), backend="flash")  # type: ignore[arg-type]
