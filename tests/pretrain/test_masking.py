"""Masks: which patches are hidden depends on the picture's position in the stream, and on nothing else."""

import pytest
import torch

from pretrain.masking import choose, keep, noise_for, removed, restore


def test_a_mask_depends_on_the_position_alone():
    alone = noise_for(torch.tensor([5]), 20)
    among = noise_for(torch.tensor([3, 5, 2**40]), 20)
    assert torch.equal(alone[0], among[1])
    assert not torch.equal(among[0], among[1])
    assert not torch.equal(alone, noise_for(torch.tensor([5]), 20, seed=1))


def test_no_global_generator_is_read_or_moved():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        before = torch.get_rng_state()
        first = noise_for(torch.tensor([1, 2]), 9)
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(1)
        assert torch.equal(first, noise_for(torch.tensor([1, 2]), 9))


def test_every_patch_is_hidden_as_often_as_any_other():
    kept, _ = choose(noise_for(torch.arange(4000), 16), 0.75)
    often = torch.bincount(kept.flatten(), minlength=16) / 4000
    assert (often - 0.25).abs().max() < 0.03


@pytest.mark.parametrize("ratio", [0.01, 0.25, 0.5, 0.75, 0.95, 0.999])
@pytest.mark.parametrize("count", [1, 2, 16, 49, 4096])
def test_the_hidden_share_is_the_ratio_but_one_patch_is_always_seen(ratio, count):
    kept, order = choose(noise_for(torch.tensor([0, 1]), count), ratio)
    hidden = removed(order, kept.shape[1])
    assert hidden.sum(1).tolist() == [count - max(int(count * (1 - ratio)), 1)] * 2
    for row in range(2):
        assert sorted(kept[row].tolist()) == (~hidden[row]).nonzero()[:, 0].tolist()


def test_the_lowest_noise_is_kept():
    kept, order = choose(torch.tensor([[0.3, 0.1, 0.9, 0.2]]), 0.5)
    assert kept.tolist() == [[1, 3]]
    assert removed(order, 2).tolist() == [[True, False, True, False]]


def test_what_is_kept_goes_back_to_its_place_and_the_mask_token_elsewhere():
    tokens = torch.randn(3, 10, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.full((1, 1, 4), 7.0)
    kept, order = choose(noise_for(torch.arange(3), 10), 0.6)
    back = restore(keep(tokens, kept), mask, order)
    hidden = removed(order, kept.shape[1])
    assert torch.equal(back, torch.where(hidden[..., None], 7.0, tokens))


def test_the_official_shuffle_is_undone_in_the_official_order(golden):
    shuffle, order = (torch.tensor([golden["mae_decoder"][name]]) for name in ("ids_shuffle", "ids_restore"))
    kept, ours = choose(order.float(), 0.75)  # noise that sorts into the official shuffle
    assert torch.equal(kept, shuffle[:, :4])
    assert torch.equal(ours, order)
    assert removed(ours, 4)[0].float().tolist() == golden["mae_loss"]["mask"]
