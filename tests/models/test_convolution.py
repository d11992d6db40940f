"""The weight's gradient as one matrix product, against torch's own convolutions."""

import pytest
import torch
from torch import nn

from mnclglf_lite.models import convolution
from mnclglf_lite.models.convolution import Conv2d, WeightGradient


def draw(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("kernel, stride, padding", [(3, 1, 1), (3, 2, 1), (1, 2, 0), (2, 2, 0)])
@pytest.mark.parametrize("side", [2, 3, 6, 7])
def test_the_gradient_is_that_of_torchs_convolution(kernel, stride, padding, side):
    x, weight = draw(5, 4, side, side).requires_grad_(), draw(6, 4, kernel, kernel).requires_grad_()
    theirs = nn.functional.conv2d(x, weight, stride=stride, padding=padding)
    gradient = draw(*theirs.shape)
    expected = torch.autograd.grad(theirs, (x, weight), gradient)
    out = nn.functional.conv2d(x, weight.detach(), stride=stride, padding=padding)
    found = torch.autograd.grad(WeightGradient.apply(out, x, weight, stride, padding), (x, weight), gradient)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("side", [4, 8])  # one map on which it is taken, one that is too large
def test_in_bf16_it_agrees_with_torchs_convolution_to_bf16(side, monkeypatch):
    taken = []
    monkeypatch.setattr(WeightGradient, "apply", lambda *given, apply=WeightGradient.apply: taken.append(1) or apply(*given))
    ours, theirs = Conv2d(16, 32, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1, bias=False)
    theirs.load_state_dict(ours.state_dict())
    x = draw(64, 16, side, side, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    gradients = []
    for each in (ours, theirs):
        given = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = each(given)
        (out.float() * draw(*out.shape, dtype=torch.float32)).sum().backward()
        assert each.weight.grad.dtype == torch.float32
        gradients.append((out, given.grad, each.weight.grad))
    assert bool(taken) == (side * side <= convolution.MOST_PLACES)
    (out, of_x, of_weight), (their_out, their_of_x, their_of_weight) = gradients
    assert torch.equal(out, their_out) and torch.equal(of_x, their_of_x)
    assert (of_weight - their_of_weight).norm() < 2**-7 * their_of_weight.norm()  # bf16 has 8 binary digits


@pytest.mark.parametrize("how", ["float32", "frozen", "no_grad"])
def test_elsewhere_it_is_torchs_own(how, monkeypatch):
    monkeypatch.setattr(WeightGradient, "apply", None)  # to call it would fail
    one, x = Conv2d(3, 4, 3, padding=1).requires_grad_(how != "frozen"), draw(2, 3, 4, 4, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=how != "float32"), torch.set_grad_enabled(how != "no_grad"):
        out = one(x)
        assert torch.equal(out, nn.functional.conv2d(x, one.weight, padding=1))
