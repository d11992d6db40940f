"""Montages against slicing loops, closed forms, and pictures that really were mirrored before they were cut."""

import dataclasses

import pytest
import torch

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.views import montage
from mnclglf_lite.views.view import View, render_view, sample_params


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_quadrants_lie_in_the_corners_and_overlap_as_published():
    def shared(a, b):
        down = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
        across = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
        return down * across / (a[2] * a[3])

    top_left, bottom_left, top_right, bottom_right = montage.REGIONS
    assert top_left[:2] == (0, 0) and bottom_right[0] + bottom_right[2] == bottom_right[1] + bottom_right[3] == 1
    assert bottom_left[0] == pytest.approx(0.2) and bottom_left[1] == 0
    assert top_right[0] == 0 and top_right[1] == pytest.approx(0.2)
    beside = [shared(top_left, top_right), shared(top_left, bottom_left), shared(bottom_right, top_right)]
    assert beside == pytest.approx([0.75] * 3)
    assert shared(top_left, bottom_right) == pytest.approx(0.5625) == shared(bottom_left, top_right)


@pytest.mark.parametrize("side", [32, 64, 224, 33])
def test_quadrants_in_pixels_are_mirror_images_of_each_other(side):
    whole = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}
    boxes = [sample_params(View(source_region=r, **whole), 1, (side, side), generator()).boxes[0] for r in montage.REGIONS]
    cut = round(0.8 * side)  # 26 of 32, 51 of 64, 179 of 224
    corners = [(0, 0), (side - cut, 0), (0, side - cut), (side - cut, side - cut)]
    assert [tuple(box.tolist()) for box in boxes] == [(*corner, cut, cut) for corner in corners]


def test_glue_equals_placing_one_patch_after_the_other():
    n = 5
    patches = torch.rand(4 * n, 3, 4, 6, generator=generator())
    order = torch.randperm(4 * n, generator=generator(1))
    glued = montage.glue(patches, order)
    assert glued.shape == (n, 3, 8, 12)
    for i in range(n):
        for cell, (down, across) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
            part = glued[i, :, 4 * down : 4 * down + 4, 6 * across : 6 * across + 6]
            assert torch.equal(part, patches[order[cell * n + i]])


@pytest.mark.parametrize("side", [2, 4, 6])
def test_splitting_brings_every_patch_back_to_its_place(side):
    """Each patch is filled with its own number: after glue and split the numbers stand in their old order."""
    n = 7
    number = torch.arange(4.0 * n)
    patches = number[:, None, None, None].expand(-1, 2, side // 2, side // 2)
    for seed in range(3):
        order = torch.randperm(4 * n, generator=generator(seed))
        vectors = montage.split(montage.glue(patches, order))[order.argsort()]
        assert torch.equal(vectors, number[:, None].expand(-1, 2))


def test_split_averages_quarters_of_the_map():
    n, order = 3, torch.randperm(12, generator=generator(2))
    maps = torch.rand(n, 5, 4, 4, generator=generator(3), dtype=torch.float64)
    vectors = montage.split(maps)[order.argsort()]
    for at, patch in enumerate(order.tolist()):
        cell, i = divmod(at, n)
        down, across = cell % 2, cell // 2
        mean = maps[i, :, 2 * down : 2 * down + 2, 2 * across : 2 * across + 2].mean((1, 2))
        torch.testing.assert_close(vectors[patch], mean)


def test_a_map_of_odd_side_is_enlarged_by_one_first():
    """3 -> 4 by linear interpolation at pixel centres, written out: x0, 3/8 x0 + 5/8 x1, 5/8 x1 + 3/8 x2, x2."""
    first, last = torch.tensor([11.0, 5.0, 0.0]) / 16, torch.tensor([0.0, 5.0, 11.0]) / 16  # means of two of the four
    maps = torch.rand(2, 3, 3, 3, generator=generator(4))
    vectors = montage.split(maps)
    for cell, (down, across) in enumerate([(first, first), (last, first), (first, last), (last, last)]):
        expected = torch.einsum("ndhw,h,w->nd", maps, down, across)
        torch.testing.assert_close(vectors[2 * cell : 2 * cell + 2], expected)


def test_gradient_reaches_every_pixel_and_every_cell_once():
    order = torch.randperm(8, generator=generator(5))
    patches = torch.rand(8, 3, 4, 4, requires_grad=True)
    montage.glue(patches, order).sum().backward()
    assert torch.equal(patches.grad, torch.ones_like(patches))
    maps = torch.rand(2, 3, 4, 4, requires_grad=True)
    montage.split(maps).sum().backward()
    torch.testing.assert_close(maps.grad, torch.full_like(maps, 0.25))


# What the view may do without caring for left and right; every random part of it is drawn once and used on both sides.
VIEW = View(size=16, scale=(0.4, 1.0), flip_p=0.0, gray_p=0.3, blur_p=0.5, solarize_p=0.3)


@pytest.mark.parametrize("side", [32, 21])
def test_mirroring_patches_equals_mirroring_the_pictures_and_cutting(side):
    n = 12
    images = torch.randint(0, 256, (n, 3, side, side), generator=generator(6), dtype=torch.uint8)
    coin = torch.arange(n) % 3 == 0
    regions = [dataclasses.replace(VIEW, source_region=region) for region in montage.REGIONS]
    draws = [sample_params(view, n, (side, side), generator(7 + p)) for p, view in enumerate(regions)]
    patches = torch.stack([render_view(images, VIEW, draw) for draw in draws])  # (P, N, 3, s, s)
    cut_then_mirrored = montage.mirror(patches, coin)

    pictures = torch.where(coin[:, None, None, None], images.flip(-1), images)
    counterpart = {0: 2, 1: 3, 2: 0, 3: 1}  # top left <-> top right, bottom left <-> bottom right
    for p in range(4):
        for i in range(n):
            draw = draws[counterpart[p] if coin[i] else p].rows(torch.tensor([i]))
            if coin[i]:  # the same piece of the scene, which now lies as far from the right as it did from the left
                boxes = draw.boxes.clone()
                boxes[:, 1] = side - boxes[:, 1] - boxes[:, 3]
                draw = dataclasses.replace(draw, boxes=boxes)
            top, left, height, width = draw.boxes[0].tolist()
            y, x, h, w = (round(share * side) for share in montage.REGIONS[p])
            assert y <= top and top + height <= y + h and x <= left and left + width <= x + w  # a crop of quadrant p
            mirrored_then_cut = render_view(pictures[i : i + 1], VIEW, draw)[0]
            torch.testing.assert_close(cut_then_mirrored[p, i], mirrored_then_cut, rtol=0, atol=1e-5)


def test_mirroring_is_exact_where_nothing_is_resampled_and_its_own_inverse():
    whole = View(size=26, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip_p=0.0, jitter_p=0.0, gray_p=0.0, blur_p=0.0)
    images = torch.randint(0, 256, (6, 3, 32, 32), generator=generator(8), dtype=torch.uint8)
    coin = torch.tensor([True, False, True, True, False, False])

    def cut(pictures):
        each = [dataclasses.replace(whole, source_region=region) for region in montage.REGIONS]
        return torch.stack([render_view(pictures, v, sample_params(v, 6, (32, 32), generator())) for v in each])

    mirrored = montage.mirror(cut(images), coin)
    assert torch.equal(mirrored, cut(torch.where(coin[:, None, None, None], images.flip(-1), images)))
    assert torch.equal(montage.mirror(mirrored, coin), cut(images))


def test_errors_say_what_came():
    with pytest.raises(InputError, match="cannot glue 6 patches in the order of .6,. numbers.*multiple of four"):
        montage.glue(torch.zeros(6, 3, 4, 4), torch.arange(6))
    with pytest.raises(InputError, match="four numbers a montage"):
        montage.glue(torch.zeros(8, 3, 4, 4), torch.arange(6))
    with pytest.raises(InputError, match="a map of 1x1 cannot be split in four: make the view larger"):
        montage.split(torch.zeros(2, 5, 1, 1))
