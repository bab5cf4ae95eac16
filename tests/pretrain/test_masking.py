"""Masks: which patches are hidden depends on the picture's position in the stream, and on nothing else."""

import numpy as np
import pytest
import torch

from pretrain.blocks import blocks
from pretrain.masking import choose, drawn, keep, masks, noise_for, removed, restore, shown


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


GRID = (16, 12)


def hidden(positions, *, ratio=0.75, block_share=1.0, grid=GRID, seed=0):
    """(B,h,w) bool."""
    kept, order = choose(masks(positions, grid, ratio=ratio, block_share=block_share, seed=seed), ratio)
    return removed(order, kept.shape[1]).unflatten(1, grid)


def alike(mask):
    """(B,h,w) -> (B,): the share of neighbours that are hidden together or seen together."""
    down, right = mask[:, 1:] == mask[:, :-1], mask[:, :, 1:] == mask[:, :, :-1]
    return torch.cat([down.flatten(1), right.flatten(1)], 1).float().mean(1)


@pytest.mark.parametrize("ratio", [0.01, 0.4, 0.75, 0.95, 0.999])
@pytest.mark.parametrize("grid", [(1, 1), (1, 7), (5, 3), GRID, (64, 48)])
def test_blocks_hide_exactly_as_many_patches(grid, ratio):
    count = grid[0] * grid[1]
    for share in (0.0, 0.4, 1.0):
        found = hidden(torch.arange(6), ratio=ratio, block_share=share, grid=grid)
        assert found.sum((1, 2)).tolist() == [count - shown(count, ratio)] * 6


def test_a_block_is_a_rectangle_of_which_a_row_may_be_cut_off():
    for seed in range(50):
        mask = blocks((40, 40), 9, np.random.default_rng(seed))  # fewer than any rectangle but at the border
        assert mask.sum() == 9
        rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
        if len(rows) * len(columns) < 20:  # one rectangle, its last row not full
            box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert box[:-1].all()
            assert np.diff(columns).max(initial=1) == 1
            break
    else:
        raise AssertionError("no mask was one rectangle")


@pytest.mark.parametrize("ratio", [0.5, 0.75, 0.95])
def test_what_a_block_hides_lies_together(ratio):
    many = torch.arange(100)
    together, scattered = alike(hidden(many, ratio=ratio)), alike(hidden(many, ratio=ratio, block_share=0.0))
    by_chance = ratio**2 + (1 - ratio) ** 2
    assert scattered.mean() == pytest.approx(by_chance, abs=0.03)
    assert together.mean() > by_chance + 0.3 * (1 - by_chance)
    assert (together > by_chance).float().mean() > 0.95


def test_as_many_pictures_are_masked_in_blocks_as_were_asked_for():
    many = torch.arange(400)
    of_patches = hidden(many, block_share=0.0)
    others = (hidden(many, block_share=0.4) != of_patches).any(2).any(1)
    assert others.float().mean() == pytest.approx(0.4, abs=0.07)
    assert torch.equal(hidden(many, block_share=0.4)[others], hidden(many, block_share=1.0)[others])


def test_blocks_hide_every_patch_as_often_as_any_other():
    often = hidden(torch.arange(1200), ratio=0.6, grid=(8, 6)).float().mean(0)
    assert often.mean() == pytest.approx(0.6, abs=0.02)
    assert (often - 0.6).abs().max() < 0.08


def test_a_mask_in_blocks_depends_on_the_position_and_the_view_alone():
    together, alone = hidden(torch.tensor([3, 2**40, 8])), hidden(torch.tensor([2**40]))
    assert torch.equal(together[1:2], alone)
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(hidden(torch.tensor([3]), seed=1)[0], together[0])


def test_the_share_of_an_iteration_lies_between_the_two_and_everywhere_there():
    shares = np.array([drawn((0.75, 0.95), iteration) for iteration in range(2000)])
    assert 0.75 <= shares.min() < 0.752
    assert 0.948 < shares.max() <= 0.95
    assert np.histogram(shares, 4, (0.75, 0.95))[0] == pytest.approx([500] * 4, abs=80)
    assert drawn((0.75, 0.95), 7) == shares[7]
    assert drawn((0.75, 0.75), 7) == 0.75
