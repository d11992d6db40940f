"""Boxes against torchvision's draws, pixels against torchvision's and Pillow's resampling."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch._subclasses.fake_tensor import FakeTensorMode

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.views import crops
from mnclglf_lite.views.crops import crop_resize

torchvision = pytest.importorskip("torchvision")
import torchvision.transforms.v2.functional as TF  # noqa: E402
from torchvision.transforms import InterpolationMode, RandomResizedCrop  # noqa: E402

RATIO = (3 / 4, 4 / 3)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def library_boxes(n, hw, scale, ratio):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        image = torch.zeros(3, *hw)
        return torch.tensor([RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(n)]).float()


@pytest.mark.parametrize(
    ("hw", "scale", "ratio"),
    [
        ((32, 32), (0.2, 1.0), RATIO),
        ((32, 32), (0.05, 0.4), RATIO),
        ((40, 24), (0.6, 1.0), RATIO),  # many attempts do not fit
        ((24, 60), (0.1, 0.4), (0.4, 0.8)),  # a tall box in a wide picture
    ],
)
def test_boxes_are_distributed_as_torchvisions(hw, scale, ratio):
    n = 4000
    ours = crops.sample_boxes(n, hw, scale, ratio, generator(1))
    theirs = library_boxes(n, hw, scale, ratio)
    quantities = {
        "top": lambda b: b[:, 0],
        "left": lambda b: b[:, 1],
        "height": lambda b: b[:, 2],
        "width": lambda b: b[:, 3],
        "area": lambda b: b[:, 2] * b[:, 3],
        "aspect": lambda b: b[:, 3] / b[:, 2],
        "room above": lambda b: b[:, 0] / (hw[0] - b[:, 2]).clamp(min=1),
        "room left": lambda b: b[:, 1] / (hw[1] - b[:, 3]).clamp(min=1),
    }
    for name, quantity in quantities.items():
        assert ks_2samp(quantity(ours), quantity(theirs)).pvalue > 1e-3, name
    # and the four numbers of a box are as related as torchvision's are
    gap = np.abs(np.corrcoef(ours.T) - np.corrcoef(theirs.T)).max()
    assert gap < 0.09


@pytest.mark.parametrize(("hw", "ratio"), [((64, 8), RATIO), ((8, 64), RATIO), ((33, 8), RATIO), ((7, 31), (0.5, 0.9))])
def test_fallback_is_torchvisions_central_box(hw, ratio):
    scale = (0.999, 1.0)  # nothing that large fits with such a ratio
    ours = crops.sample_boxes(50, hw, scale, ratio, generator(0))
    theirs = library_boxes(1, hw, scale, ratio)
    assert torch.equal(ours, theirs.expand(50, 4))


def test_boxes_are_whole_pixels_inside_the_picture_and_differ():
    boxes = crops.sample_boxes(5000, (17, 29), (0.01, 1.0), (0.1, 10.0), generator(3))
    assert boxes.shape == (5000, 4) and boxes.dtype == torch.float32
    assert torch.equal(boxes, boxes.round())
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] >= 1).all()
    assert (boxes[:, 0] + boxes[:, 2] <= 17).all() and (boxes[:, 1] + boxes[:, 3] <= 29).all()
    assert len(boxes.unique(dim=0)) > 1000
    # both ends of the free room are reached
    assert (boxes[:, 0] + boxes[:, 2] == 17).any() and (boxes[:, 0] == 0).any()


def test_same_seed_same_boxes_and_a_fixed_number_of_draws():
    a, b, c = generator(7), generator(7), generator(7)
    first = crops.sample_boxes(64, (32, 32), (0.2, 1.0), RATIO, a)
    assert torch.equal(first, crops.sample_boxes(64, (32, 32), (0.2, 1.0), RATIO, b))
    crops.sample_boxes(64, (64, 8), (0.999, 1.0), RATIO, c)  # all fall back
    assert torch.equal(a.get_state(), c.get_state())
    assert not torch.equal(first, crops.sample_boxes(64, (32, 32), (0.2, 1.0), RATIO, generator(8)))


def fixed_boxes(n, hw, seed):
    """Any box at all: single pixels, single rows, the whole picture, whatever comes."""
    g = generator(seed)
    size = [(1 + torch.randint(0, side, (n,), generator=g)).float() for side in hw]
    start = [(torch.rand(n, generator=g) * (side - s + 1)).floor() for side, s in zip(hw, size, strict=True)]
    boxes = torch.stack((*start, *size), 1)
    boxes[0] = torch.tensor([0, 0, *hw])
    boxes[1] = torch.tensor([hw[0] - 1, 0, 1, hw[1]])
    boxes[2] = torch.tensor([3, 2, 1, 1])
    return boxes


def library_cut(images, boxes, size, filter):
    mode = InterpolationMode(filter)
    out = [
        TF.resized_crop(image, *(int(v) for v in box), [size, size], interpolation=mode, antialias=True)
        for image, box in zip(images.float() / 255, boxes, strict=True)
    ]
    return torch.stack(out)


@pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("hw", "size"),
    [((32, 32), 32), ((32, 32), 45), ((32, 32), 16), ((32, 32), 7), ((20, 33), 33), ((20, 33), 24), ((40, 40), 3)],
)
def test_cut_equals_torchvision_image_by_image(hw, size, filter):
    images = torch.randint(0, 256, (24, 3, *hw), dtype=torch.uint8, generator=generator(0))
    boxes = fixed_boxes(24, hw, 1)
    ours = crop_resize(images, boxes, size, filter)
    theirs = library_cut(images, boxes, size, filter)
    assert ours.shape == (24, 3, size, size) and ours.dtype == torch.float32
    if filter == "bicubic":
        assert size < 32 or theirs.max() > 1.001  # enlarging overshoots: the clamp is tested
        theirs = theirs.clamp(0, 1)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_bicubic_equals_pillow_up_to_its_rounding():
    image_module = pytest.importorskip("PIL.Image")
    # no extreme values: Pillow rounds AND clips to bytes between its two passes, we clip once at the end
    images = torch.randint(70, 186, (10, 3, 32, 32), dtype=torch.uint8, generator=generator(0))
    boxes = fixed_boxes(10, (32, 32), 2)
    for size in (12, 48):
        ours = crop_resize(images, boxes, size, "bicubic") * 255
        for image, box, out in zip(images, boxes.int().tolist(), ours, strict=True):
            picture = image_module.fromarray(image.permute(1, 2, 0).numpy())
            top, left, h, w = box
            cropped = picture.crop((left, top, left + w, top + h)).resize((size, size), image_module.BICUBIC)
            theirs = torch.from_numpy(np.array(cropped)).permute(2, 0, 1).float()
            assert (out - theirs).abs().max() < 2  # two passes, each rounded to whole levels


@pytest.mark.parametrize(("size", "filter"), [(32, "bilinear"), (20, "bilinear"), (32, "bicubic")])
def test_folded_flip_equals_torchvisions_hflip_afterwards(size, filter):
    images = torch.randint(0, 256, (24, 3, 32, 32), dtype=torch.uint8, generator=generator(0))
    boxes = fixed_boxes(24, (32, 32), 3)
    flip = torch.rand(24, generator=generator(4)) < 0.5
    straight = crop_resize(images, boxes, size, filter)
    ours = crop_resize(images, boxes, size, filter, flip)
    for i in range(24):
        expected = TF.horizontal_flip(straight[i]) if flip[i] else straight[i]
        torch.testing.assert_close(ours[i], expected, rtol=0, atol=1e-5)


def test_float_pictures_and_gradient():
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=generator(0))
    boxes = fixed_boxes(6, (32, 32), 5)
    for size in (32, 16):
        floats = (images / 255).requires_grad_()
        out = crop_resize(floats, boxes, size)
        torch.testing.assert_close(out, crop_resize(images, boxes, size), rtol=0, atol=1e-6)
        out.sum().backward()
        # every output pixel is a weighted mean of source pixels, all inside the box
        outputs = 3.0 * size * size
        torch.testing.assert_close(floats.grad.sum((1, 2, 3)), torch.full((6,), outputs), rtol=1e-4, atol=0)
        top, left, h, w = boxes[3].int().tolist()
        assert floats.grad[3, :, top : top + h, left : left + w].sum() == pytest.approx(outputs, rel=1e-4)


def test_nothing_is_read_back_from_the_device():
    """A fake tensor has shapes but no values, so any .item() or boolean-mask indexing would raise."""
    g = generator(0)
    with FakeTensorMode(allow_non_fake_inputs=True):
        boxes = crops.sample_boxes(9, (32, 32), (0.2, 1.0), RATIO, g)
        for size, filter in ((32, "bilinear"), (16, "bilinear"), (32, "bicubic")):
            images = torch.zeros(9, 3, 32, 32, dtype=torch.uint8)
            out = crop_resize(images, boxes, size, filter, torch.zeros(9, dtype=torch.bool))
            assert out.shape == (9, 3, size, size)
        with pytest.raises(Exception, match="local_scalar_dense"):
            boxes[0, 0].item()


def test_area_share_and_overlap_by_counting_pixels():
    hw = (14, 11)
    a, b = fixed_boxes(60, hw, 6), fixed_boxes(60, hw, 7)
    a[3], b[3] = torch.tensor([0.0, 0, 2, 2]), torch.tensor([5.0, 5, 3, 3])  # apart
    a[4], b[4] = torch.tensor([1.0, 1, 8, 8]), torch.tensor([2.0, 3, 3, 2])  # b inside a

    def mask(box):
        top, left, h, w = box.int().tolist()
        out = np.zeros(hw, dtype=bool)
        out[top : top + h, left : left + w] = True
        return out

    inside = [(mask(p) & mask(q)).sum() / mask(q).sum() for p, q in zip(a, b, strict=True)]
    assert crops.overlap(a, b).numpy() == pytest.approx(np.array(inside), abs=1e-6)
    assert crops.overlap(a, b)[3] == 0 and crops.overlap(a, b)[4] == 1
    assert crops.area_share(a, hw).numpy() == pytest.approx(np.array([mask(p).mean() for p in a]), abs=1e-6)


def test_errors_say_what_came():
    images, boxes = torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([[0.0, 0, 8, 8]] * 2)
    with pytest.raises(InputError, match="did you mean 'bicubic'"):
        crop_resize(images, boxes, 8, "bicubc")
    with pytest.raises(InputError, match=r"\(3, 4\).*one row"):
        crop_resize(images, torch.zeros(3, 4), 8)
    with pytest.raises(InputError, match="int64.*expected uint8"):
        crop_resize(images.long(), boxes, 8)
