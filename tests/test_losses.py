import math

import pytest
import torch
from conftest import slow_info_nce, slow_nt_xent

from mnclglf_lite.losses import info_nce, nt_xent


def pair(n=7, d=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=dtype), torch.randn(n, d, generator=generator, dtype=dtype)


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("fast, slow", [(info_nce, slow_info_nce), (nt_xent, slow_nt_xent)])
def test_equals_the_formula_written_as_loops(fast, slow, temperature):
    for seed in range(3):
        a, b = pair(seed=seed)
        assert float(fast(a, b, temperature)) == pytest.approx(slow(a, b, temperature), abs=1e-6)


@pytest.mark.parametrize("n", [2, 8, 256])
def test_all_equal_embeddings_leave_a_uniform_guess(n):
    same = torch.ones(n, 4, dtype=torch.float64)
    assert float(info_nce(same, same, 1.0)) == pytest.approx(math.log(n))
    assert float(nt_xent(same, same, 1.0)) == pytest.approx(math.log(2 * n - 1))


def test_the_best_values_at_temperature_one():
    """An ideal simplex of 256 pictures: cosine 1 with the partner and -1/255 with all others (the fact sheet's values)."""
    n = 256
    simplex = torch.eye(n, dtype=torch.float64) - 1 / n
    assert float(info_nce(simplex, simplex, 1.0)) == pytest.approx(4.548, abs=5e-4)
    assert float(nt_xent(simplex, simplex, 1.0)) == pytest.approx(5.236, abs=5e-4)
    # ... and with them the range of the whole loss: from 43.0 down to 36.0
    same = torch.ones(n, 2, dtype=torch.float64)
    assert float(info_nce(same, same, 1.0) + 6 * nt_xent(same, same, 1.0)) == pytest.approx(42.96, abs=0.01)
    assert float(info_nce(simplex, simplex, 1.0) + 6 * nt_xent(simplex, simplex, 1.0)) == pytest.approx(35.96, abs=0.01)


def test_nt_xent_equals_lightly():
    lightly = pytest.importorskip("lightly.loss")
    for temperature in (0.1, 0.5, 1.0):
        a, b = pair(n=16, d=8, dtype=torch.float32)
        theirs = lightly.NTXentLoss(temperature=temperature)(a, b)
        assert float(nt_xent(a, b, temperature)) == pytest.approx(float(theirs), abs=2e-6)


@pytest.mark.parametrize("loss", [info_nce, nt_xent])
def test_length_and_order_of_the_batch_do_not_matter(loss):
    a, b = pair()
    base = loss(a, b, 0.2)
    torch.testing.assert_close(loss(3 * a, 0.1 * b, 0.2), base)
    order = torch.randperm(len(a), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss(a[order], b[order], 0.2), base)
    assert not torch.isclose(loss(a, b[order], 0.2), base)  # the pairing does matter


def test_nt_xent_is_symmetric_and_info_nce_is_not():
    a, b = pair()
    torch.testing.assert_close(nt_xent(a, b, 0.3), nt_xent(b, a, 0.3))
    assert not torch.isclose(info_nce(a, b, 0.3), info_nce(b, a, 0.3))


@pytest.mark.parametrize("loss", [info_nce, nt_xent])
def test_gradients_are_those_of_the_formula(loss):
    a, b = pair(n=4, d=3)
    assert torch.autograd.gradcheck(lambda x, y: loss(x, y, 0.5), (a.requires_grad_(), b.requires_grad_()))


def test_half_precision_embeddings_are_compared_in_full():
    a, b = pair(n=32, d=16, dtype=torch.float32)
    half = nt_xent(a.bfloat16(), b.bfloat16(), 0.1)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, nt_xent(a.bfloat16().float(), b.bfloat16().float(), 0.1))
