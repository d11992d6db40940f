"""Whole-batch colour against torchvision, picture by picture."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mnclglf_lite.views import color

torchvision = pytest.importorskip("torchvision")
import torchvision.transforms.v2.functional as TF  # noqa: E402

STEPS = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)


def pictures(n=24, side=13, seed=0):
    """Noise, plus what breaks colour code: grey, black, white, pure colours, ties between channels."""
    x = torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))
    x[0], x[1], x[2] = 0.0, 1.0, 0.3
    x[3] = (x[3] * 3).floor() / 2  # 0, 0.5, 1: every tie, pure cyan, magenta, yellow
    x[4] = x[4, :1]
    return x


def uniform(n, low, high, seed=1):
    return low + (high - low) * torch.rand(n, generator=torch.Generator().manual_seed(seed))


def one_by_one(function, images, values):
    return torch.stack([function(x, float(v)) for x, v in zip(images, values, strict=True)])


@pytest.mark.parametrize(
    ("ours", "theirs", "low", "high"),
    [
        (color.brightness, TF.adjust_brightness, 0.0, 2.0),
        (color.contrast, TF.adjust_contrast, 0.0, 2.0),
        (color.saturation, TF.adjust_saturation, 0.0, 2.0),
        (color.hue, TF.adjust_hue, -0.5, 0.5),
    ],
)
def test_each_step_equals_torchvision(ours, theirs, low, high):
    x = pictures()
    before = x.clone()
    values = uniform(len(x), low, high)
    values[5], values[6] = low, high
    values[3] = values[7] = 0.5 * (low + high)
    torch.testing.assert_close(ours(x, values), one_by_one(theirs, x, values), rtol=0, atol=1e-5)
    assert torch.equal(x, before)  # the input is left alone


def test_hue_on_every_tie_and_every_sextant():
    levels = torch.tensor(list(itertools.product((0.0, 0.25, 0.5, 1.0), repeat=3)))  # 64 colours, all ties
    for shift in (-0.5, -0.31, -1 / 6, 0.0, 0.07, 1 / 3, 0.5):
        x = levels.T[None, :, None, :]  # (1, 3, 1, 64)
        ours = color.hue(x, torch.tensor([shift]))
        torch.testing.assert_close(ours[0], TF.adjust_hue(x[0], shift), rtol=0, atol=1e-5)


def test_hue_against_pythons_own_hsv():
    import colorsys

    x = pictures(8, 5)
    shift = uniform(8, -0.5, 0.5)
    ours = color.hue(x, shift)
    for i, row, col in itertools.product(range(8), range(5), range(5)):
        h, s, v = colorsys.rgb_to_hsv(*x[i, :, row, col].tolist())
        expected = colorsys.hsv_to_rgb((h + float(shift[i])) % 1, s, v)
        assert ours[i, :, row, col].tolist() == pytest.approx(expected, abs=1e-5)


def test_luma_grayscale_solarize_invert():
    x = pictures()
    on = torch.arange(len(x)) % 3 == 0
    torch.testing.assert_close(color.luma(x), TF.rgb_to_grayscale(x), rtol=0, atol=1e-6)
    grey, inverted = color.grayscale(x, on), color.solarize(x, on)
    for i in range(len(x)):
        expected = TF.rgb_to_grayscale(x[i], num_output_channels=3) if on[i] else x[i]
        torch.testing.assert_close(grey[i], expected, rtol=0, atol=1e-6)
        assert torch.equal(inverted[i], TF.solarize(x[i], 0.5) if on[i] else x[i])
        assert torch.equal(color.invert(x, on)[i], TF.invert(x[i]) if on[i] else x[i])
    lower = color.solarize(x, torch.ones(len(x), dtype=torch.bool), 0.3)  # x[2] sits exactly on this one
    assert torch.equal(lower, TF.solarize(x, 0.3)) and (lower[2] > 0.6).all()
    assert torch.equal(grey[~on], x[~on])
    assert torch.equal(grey[on][:, 0], grey[on][:, 2])


@pytest.mark.parametrize(("side", "kernel"), [(13, None), (32, None), (32, 9), (65, None)])
def test_blur_equals_torchvision(side, kernel):
    x = pictures(9, side)
    sigma = uniform(9, 0.1, 2.0)
    sigma[0], sigma[8] = 0.1, 2.0
    on = torch.arange(9) % 2 == 0
    k = color.blur_side(side) if kernel is None else kernel
    ours = color.gaussian_blur(x, sigma, on, kernel)
    everywhere = color.gaussian_blur(x, sigma, side=kernel)
    for i in range(9):
        expected = TF.gaussian_blur(x[i], [k, k], [float(sigma[i])] * 2)
        torch.testing.assert_close(everywhere[i], expected, rtol=0, atol=1e-5)
        assert torch.equal(ours[i], everywhere[i] if on[i] else x[i])


def test_blur_of_pictures_that_are_not_square():
    x = torch.rand(4, 3, 11, 26, generator=torch.Generator().manual_seed(0))
    sigma = uniform(4, 0.3, 2.0)
    expected = one_by_one(lambda image, s: TF.gaussian_blur(image, [5, 5], [s, s]), x, sigma)
    torch.testing.assert_close(color.gaussian_blur(x, sigma, side=5), expected, rtol=0, atol=1e-5)


def test_blur_side_is_odd_and_about_a_tenth():
    assert [color.blur_side(size) for size in (16, 32, 64, 96, 224)] == [3, 3, 7, 9, 23]


def draw(n, balanced, seed=0):
    g = torch.Generator().manual_seed(seed)
    order = torch.rand(n, 4, generator=g).argsort(1)
    if balanced:  # hue at each place equally often
        rest = torch.rand(n, 3, generator=g).argsort(1)
        place = torch.randperm(n, generator=g) % 4
        last = torch.tensor([3])
        order = torch.stack([torch.cat((r[:p], last, r[p:])) for r, p in zip(rest, place, strict=True)])
    names = ("brightness", "contrast", "saturation")
    factors = {name: uniform(n, 0.4, 1.7, seed + i) for i, name in enumerate(names)}
    return SimpleNamespace(order=order, balanced=balanced, hue=uniform(n, -0.4, 0.4, seed + 9), **factors)


def library_jitter(images, d):
    out = []
    for i, x in enumerate(images):
        values = [float(v[i]) for v in (d.brightness, d.contrast, d.saturation, d.hue)]
        for step in d.order[i].tolist():
            x = STEPS[step](x, values[step])
        out.append(x)
    return torch.stack(out)


@pytest.mark.parametrize(("n", "balanced"), [(48, True), (48, False), (1, False), (3, False), (4, True), (26, False)])
def test_jitter_runs_each_pictures_own_factors_in_its_own_order(n, balanced):
    x = pictures(max(n, 5), 9)[:n]
    before, d = x.clone(), draw(n, balanced)
    torch.testing.assert_close(color.jitter(x, d), library_jitter(x, d), rtol=0, atol=2e-5)
    assert torch.equal(x, before)


def test_jitter_covers_all_orders_and_the_order_matters():
    orders = torch.tensor(list(itertools.permutations(range(4))))  # 24, hue at each place 6 times
    x = pictures(6, 9, seed=3)[5:].expand(24, 3, 9, 9)  # one picture, 24 times
    d = draw(24, True)
    for name in ("brightness", "contrast", "saturation", "hue"):
        setattr(d, name, getattr(d, name)[:1].expand(24))
    d.order = orders
    out = color.jitter(x, d)
    torch.testing.assert_close(out, library_jitter(x, d), rtol=0, atol=2e-5)
    assert (out - out[:1]).abs().amax((1, 2, 3))[1:].max() > 0.01
    d.balanced = False
    torch.testing.assert_close(color.jitter(x, d), out, rtol=0, atol=1e-6)


def test_neutral_factors_change_nothing():
    x = pictures(8)
    d = SimpleNamespace(
        brightness=torch.ones(8),
        contrast=torch.ones(8),
        saturation=torch.ones(8),
        hue=torch.zeros(8),
        order=torch.rand(8, 4).argsort(1),
        balanced=False,
    )
    assert np.abs((color.jitter(x, d) - x).numpy()).max() < 1e-6
