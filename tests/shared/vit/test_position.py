"""Position tables: where a patch is, and where it would be on another grid."""

import numpy as np
import pytest
import torch

from shared.vit.position import resample, sincos


def test_the_table_says_the_row_first_then_the_column():
    table = sincos(8, (3, 4)).unflatten(0, (3, 4))
    slow = 10000**-0.5
    row, column = 2, 3
    wanted = [np.sin(row), np.sin(row * slow), np.cos(row), np.cos(row * slow)]
    wanted += [np.sin(column), np.sin(column * slow), np.cos(column), np.cos(column * slow)]
    assert table[row, column].tolist() == pytest.approx(wanted, abs=1e-7)


def test_every_place_has_its_own_row():
    table = sincos(32, (16, 12))
    assert table.dtype == torch.float32
    assert torch.cdist(table, table).fill_diagonal_(1).min() > 0.5


def test_a_width_that_is_no_multiple_of_four_is_refused():
    with pytest.raises(ValueError, match="multiple of 4, not 30"):
        sincos(30, (2, 2))


def test_the_table_is_the_official_one(golden):
    first_rows = torch.tensor(golden["sincos_pos_embed"]["out"])
    assert (first_rows[0] == 0).all()  # of cls
    torch.testing.assert_close(sincos(32, (4, 4))[: len(first_rows) - 1], first_rows[1:], atol=1e-6, rtol=0)


def test_a_table_fits_another_grid_as_the_official_one_does(golden):
    table = golden.wave((1, 17, 32), 0.05)[:, 1:]
    assert golden.agrees(resample(table, (4, 4), (4, 3)), golden["load_pos_embed"]["out"])


def test_the_own_grid_changes_nothing_and_the_first_row_never_changes():
    table = torch.randn(1, 1 + 12, 8, generator=torch.Generator().manual_seed(0))
    assert resample(table, (3, 4), (3, 4)) is table
    grown = resample(table, (3, 4), (5, 7))
    assert grown.shape == (1, 1 + 35, 8)
    assert torch.equal(grown[:, 0], table[:, 0])


def test_a_flat_table_stays_flat_and_half_precision_stays_half():
    table = torch.full((1, 12, 8), 0.25, dtype=torch.bfloat16)
    grown = resample(table, (3, 4), (6, 5))
    assert grown.dtype == torch.bfloat16
    torch.testing.assert_close(grown, torch.full((1, 30, 8), 0.25, dtype=torch.bfloat16))


def test_a_twice_finer_grid_lies_between_its_neighbours():
    ramp = torch.arange(8.0)[None, :, None].expand(1, 8, 4)  # one row of eight columns
    fine = resample(ramp, (1, 8), (1, 16))[0, :, 0]
    wanted = (torch.arange(16) + 0.5) / 2 - 0.5
    torch.testing.assert_close(fine, wanted.clamp(0, 7), atol=0.13, rtol=0)  # PyTorch's bicubic is not exact on ramps
    assert (fine.diff() > 0).all()
