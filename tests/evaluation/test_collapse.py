"""Collapse gauges against closed forms and slow loops."""

import math

import pytest
import torch

from mnclglf_lite.evaluation import collapse
from mnclglf_lite.evaluation.collapse import feature_std


def test_spread_is_one_for_even_directions_and_zero_for_one():
    even = torch.randn(4000, 32, generator=torch.Generator().manual_seed(0))
    assert feature_std(even).item() == pytest.approx(1, abs=0.02)
    assert feature_std(7 * even).item() == pytest.approx(feature_std(even).item(), abs=1e-6)  # length is no matter
    assert feature_std(torch.ones(50, 32)).item() == pytest.approx(0, abs=1e-6)
    # one of two axes at a time: each coordinate is 0 or 1 half of the time, std 1/2, times sqrt(2)
    assert feature_std(torch.eye(2).repeat(10, 1)).item() == pytest.approx(0.5 * math.sqrt(2))


def test_effective_rank_counts_directions():
    even = torch.randn(4000, 32, generator=torch.Generator().manual_seed(0))
    assert collapse.effective_rank(even).item() == pytest.approx(32, abs=0.2)
    assert collapse.effective_rank(torch.eye(8)).item() == pytest.approx(8, abs=1e-3)
    assert collapse.effective_rank(torch.ones(50, 32)).item() == pytest.approx(1, abs=1e-3)
    assert collapse.effective_rank(torch.zeros(50, 32)).item() == pytest.approx(1, abs=1e-3)  # and no division by zero
    # singular values 3 and 1: shares 3/4 and 1/4
    expected = math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert collapse.effective_rank(torch.diag(torch.tensor([3.0, 1.0]))).item() == pytest.approx(expected, abs=1e-4)


def test_alignment_and_uniformity_are_the_slow_loops():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(12, 5, generator=generator, dtype=torch.float64) for _ in range(2))

    def apart(u, v):
        u, v = ([x / math.sqrt(sum(y * y for y in w)) for x in w] for w in (u.tolist(), v.tolist()))
        return sum((x - y) ** 2 for x, y in zip(u, v, strict=True))

    slow = sum(apart(u, v) for u, v in zip(a, b, strict=True)) / 12
    assert collapse.alignment(a, b).item() == pytest.approx(slow, rel=1e-5)
    pairs = [math.exp(-2 * apart(a[i], a[j])) for i in range(12) for j in range(i)]
    assert collapse.uniformity(a).item() == pytest.approx(math.log(sum(pairs) / len(pairs)), rel=1e-5)


def test_alignment_and_uniformity_have_their_closed_values():
    a = torch.eye(4)
    assert collapse.alignment(a, 3 * a).item() == 0
    assert collapse.alignment(a, -a).item() == pytest.approx(4)
    assert collapse.alignment(a, a.roll(1, 0)).item() == pytest.approx(2)
    assert collapse.uniformity(a).item() == pytest.approx(-4)  # all distances squared are 2
    assert collapse.uniformity(torch.ones(5, 3)).item() == pytest.approx(0)
    # points thrown evenly on a circle: the mean of exp(-2 (2 - 2 cos)) is exp(-4) I0(4)
    angle = 2 * math.pi * torch.rand(3000, generator=torch.Generator().manual_seed(0))
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    bessel = torch.special.i0(torch.tensor(4.0)).item()
    assert collapse.uniformity(circle).item() == pytest.approx(-4 + math.log(bessel), abs=0.02)


@pytest.mark.parametrize("gauge", [feature_std, collapse.effective_rank, collapse.uniformity])
def test_a_gauge_is_a_scalar_tensor_without_a_gradient(gauge):
    z = torch.randn(20, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert gauge(z).shape == () and not gauge(z).requires_grad
