"""Rotary positions: what two patches see of one another depends on the way between them, and on nothing else."""

from math import pi

import pytest
import torch

from shared.vit.rotary import Rotary, rotate


def vectors(count, width=16, seed=0):
    """(1,1,count,width)."""
    return torch.randn(1, 1, count, width, generator=torch.Generator().manual_seed(seed))


def same_everywhere(grid, width=16, **options):
    """(h,w,h,w): how a query at one place meets a key at another, when all queries are alike and all keys are."""
    turns = Rotary(width, **options)(grid)
    n = grid[0] * grid[1]
    q, k = (rotate(vectors(1, width, seed).expand(-1, -1, n, -1), turns) for seed in (1, 2))
    return (q @ k.mT)[0, 0].view(*grid, *grid)


def test_what_two_patches_see_depends_on_the_way_between_them_only():
    meets = same_everywhere((5, 7))
    for rows, columns in [(0, 1), (1, 0), (2, 3), (4, 6)]:
        near, far = meets[: 5 - rows, : 7 - columns], meets[:, :, rows:, columns:]
        on_the_way = torch.stack([far[r, c, r, c] for r in range(near.shape[0]) for c in range(near.shape[1])])
        torch.testing.assert_close(on_the_way, on_the_way[:1].expand_as(on_the_way), atol=1e-5, rtol=0)
    assert (meets[0, 0].flatten()[1:] - meets[0, 0, 0, 0]).abs().min() > 1e-4  # and no other way looks like none


def test_a_turn_changes_no_length():
    x = vectors(12)
    torch.testing.assert_close(rotate(x, Rotary(16)((3, 4))).norm(dim=-1), x.norm(dim=-1))


def test_every_size_of_picture_spans_the_same_field():
    coarse, fine = Rotary(16)((3, 3)), Rotary(16)((9, 9))
    centres = fine.view(2, 9, 9, 16)[:, 1::3, 1::3].flatten(1, 2)
    torch.testing.assert_close(coarse[:, 0, 0], centres, atol=1e-5, rtol=0)
    assert (Rotary(16)((1, 1))[0] == 1).all()  # a single patch lies in the middle, where nothing turns


def test_angles_are_those_of_the_specification():
    """By hand, number by number: row 1 of 2, column 2 of 3, four periods."""
    cos, sin = Rotary(16)((2, 3))[:, 0, 0, 1 * 3 + 2].tolist()
    turns = [2 * pi * place / 100 ** (4 * i / 16) for place in (0.5, 2 / 3) for i in range(4)]
    assert cos == pytest.approx([float(torch.tensor(a).cos()) for a in turns * 2], abs=1e-6)
    assert sin == pytest.approx([float(torch.tensor(a).sin()) for a in turns * 2], abs=1e-6)


def test_a_plane_is_a_number_and_the_one_half_a_head_away():
    x = torch.zeros(1, 1, 1, 8)
    x[..., 1] = 1
    quarter = torch.stack([torch.zeros(1, 1, 1, 8), torch.ones(1, 1, 1, 8)])
    assert rotate(x, quarter).flatten().tolist() == [0, 0, 0, 0, 0, 1, 0, 0]
    assert rotate(rotate(x, quarter), quarter).flatten().tolist() == [0, -1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_first_tokens_have_no_place(precision):
    turns = Rotary(16, precision=precision)((3, 4), extra=9)
    x = vectors(9 + 12)
    first = rotate(x, turns)[:, :, :9]
    assert torch.equal(first, x[:, :, :9] if precision == "fp32" else x[:, :, :9].bfloat16().float())  # rounded, not turned
    assert torch.equal(turns[:, :, :, 9:], Rotary(16, precision=precision)((3, 4)))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_kept_patches_keep_their_places(precision):
    rotary = Rotary(16, precision=precision)
    kept = torch.tensor([[5, 0, 11], [3, 3, 7]])
    some, every = rotary((3, 4), extra=2, kept=kept), rotary((3, 4), extra=2)
    assert some.shape == (2, 2, 1, 2 + 3, 16)
    for picture in range(2):
        assert torch.equal(some[:, picture, 0, 2:], every[:, 0, 0, 2 + kept[picture]])
        assert torch.equal(some[:, picture, 0, :2], every[:, 0, 0, :2])


def test_in_bf16_every_step_is_rounded():
    """One step after the other in float32, each rounded by hand."""

    def rounded(x):
        return x.bfloat16().float()

    rotary, grid = Rotary(16, precision="bf16"), (10, 7)
    periods = rounded(rotary.periods)
    places = [rounded(rounded(rounded((torch.arange(n) + 0.5) / n) * 2) - 1) for n in grid]
    # 2 pi itself is not rounded before it is multiplied
    rows, columns = (rounded(rounded(2 * pi * p)[:, None] / periods) for p in places)
    angles = torch.cat([rows[:, None].expand(-1, 7, -1), columns[None].expand(10, -1, -1)], 2).flatten(0, 1).tile(2)
    cos, sin = rounded(angles.cos()), rounded(angles.sin())
    turns = rotary(grid)
    assert turns.dtype == torch.bfloat16
    assert torch.equal(turns[:, 0, 0].float(), torch.stack([cos, sin]))
    x = vectors(70)
    q = rounded(x)
    half = torch.cat([-q[..., 8:], q[..., :8]], -1)
    wanted = rounded(rounded(q * cos) + rounded(half * sin))
    assert torch.equal(rotate(x, turns), wanted)


@pytest.mark.parametrize("width", [64, 80, 76])
def test_periods_are_the_published_series(width):
    told = {  # as the official code builds them in bf16, specification of Sapiens2, section 1.4; its exponents are rounded too
        64: [1, 1.3359375, 1.78125, 2.375, 3.15625, 4.21875, 5.625, 7.5, 10, 13.3125, 17.75, 23.75, 31.625, 42.25, 56.25, 75],
        80: [1, 1.2578125, 1.5859375, 2, 2.515625, 3.15625, 4, 5, 6.3125, 7.90625, 10, 12.625, 15.9375, 19.75, 25, 31.625, 40, 50.5,
             62.75, 79],
        76: [1, 1.2734375, 1.625, 2.078125, 2.640625, 3.375, 4.28125, 5.46875, 6.96875, 8.875, 11.3125, 14.3125, 18.375, 23.25, 30,
             37.75, 48.75, 61.5, 79],
    }  # fmt: skip
    periods = Rotary(width).periods
    assert periods.dtype == torch.float32
    assert periods.tolist() == pytest.approx(told[width], rel=0.011)
    if width == 64:
        assert periods.bfloat16().tolist() == told[width]


def test_periods_travel_with_the_weights():
    ours, theirs = Rotary(16), Rotary(16)
    theirs.periods.mul_(1.5)
    ours.load_state_dict(theirs.state_dict())
    assert torch.equal(ours((4, 3)), theirs((4, 3)))
    assert not torch.equal(ours((4, 3)), Rotary(16)((4, 3)))


def test_half_precision_stays_half():
    x = vectors(12).bfloat16()
    assert rotate(x, Rotary(16)((3, 4))).dtype == torch.bfloat16


def test_what_cannot_turn_is_told():
    with pytest.raises(ValueError, match="multiple of 4, not 30"):
        Rotary(30)
    with pytest.raises(ValueError, match="rope_dtype is one of fp32, bf16, not 'fp16'"):
        Rotary(16, precision="fp16")  # type: ignore[arg-type]
