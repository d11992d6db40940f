"""Patches against slicing loops and itertools."""

import itertools

import pytest
import torch

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.views import patches
from mnclglf_lite.views.patches import average_combinations, grid_patches


@pytest.mark.parametrize("grid", [1, 2, 3])
def test_divide_equals_slicing(grid):
    x = torch.rand(5, 3, 12, 18, generator=torch.Generator().manual_seed(0))
    tiles = grid_patches(x, grid)
    h, w = 12 // grid, 18 // grid
    assert tiles.shape == (grid * grid, 5, 3, h, w)
    p = 0
    for across in range(grid):  # column by column
        for down in range(grid):
            assert torch.equal(tiles[p], x[:, :, down * h : (down + 1) * h, across * w : (across + 1) * w])
            p += 1


def test_gradient_reaches_every_pixel_once():
    x = torch.rand(2, 3, 8, 8, requires_grad=True)
    grid_patches(x).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


@pytest.mark.parametrize(("p", "k", "count"), [(4, 2, 6), (9, 2, 36), (4, 1, 4), (4, 4, 1), (4, 3, 4)])
def test_combine_is_the_mean_over_each_combination(p, k, count):
    h = torch.randn(p, 7, 5, generator=torch.Generator().manual_seed(1))
    out = average_combinations(h, k)
    expected = list(itertools.combinations(range(p), k))
    assert patches.combinations(p, k) == expected
    assert out.shape == (count, 7, 5) and out.dtype == h.dtype
    for row, members in zip(out, expected, strict=True):
        torch.testing.assert_close(row, sum(h[m] for m in members) / k, rtol=1e-5, atol=1e-6)


def test_mean_over_all_pairs_is_the_mean_over_patches():
    h = torch.randn(4, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(average_combinations(h).mean(0), h.mean(0))


def test_combine_keeps_the_gradient_even():
    h = torch.randn(4, 3, 2, requires_grad=True)
    average_combinations(h).sum().backward()
    torch.testing.assert_close(h.grad, torch.full_like(h, 1.5))  # in 3 pairs, half each


def test_errors_say_what_came():
    with pytest.raises(InputError, match=r"\(2, 3, 9, 8\) into a 2x2 grid.*divisible"):
        grid_patches(torch.zeros(2, 3, 9, 8))
    with pytest.raises(InputError, match="divisible"):
        grid_patches(torch.zeros(2, 3, 8, 8), 0)
    with pytest.raises(InputError, match="cannot choose 5 of 4"):
        patches.combinations(4, 5)
    with pytest.raises(InputError, match=r"expected \(P, N, D\)"):
        average_combinations(torch.zeros(4, 3))
