"""Views: the draw's distribution and the whole chain's, against torchvision run picture by picture."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch._subclasses.fake_tensor import FakeTensorMode

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.views.view import (
    MEAN,
    STD,
    View,
    ViewParams,
    denormalise,
    normalise,
    render_view,
    sample_params,
    whole_images,
)

torchvision = pytest.importorskip("torchvision")
import torchvision.transforms.v2 as T  # noqa: E402
import torchvision.transforms.v2.functional as TF  # noqa: E402

EVERYTHING = View(solarize_p=0.3)
NOTHING = View(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip_p=0, jitter_p=0, gray_p=0, blur_p=0)
TENSORS = [f.name for f in dataclasses.fields(ViewParams) if f.name != "balanced"]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n, side=32, seed=0):
    """Smooth coloured pictures: an 8x8 noise enlarged, with a tint of their own."""
    g = generator(seed)
    small = torch.rand(n, 3, 8, 8, generator=g) * 0.7 + 0.3 * torch.rand(n, 3, 1, 1, generator=g)
    large = torch.nn.functional.interpolate(small, (side, side), mode="bilinear")
    return (large * 255).round().to(torch.uint8)


BLUR_SIDE = {20: 3, 32: 3, 40: 5}  # a tenth of the view's side, made odd, at least 3


def library_render(image, view, d, i):
    """One picture, one step after the other, with torchvision's own functions in the documented order."""
    top, left, h, w = (int(v) for v in d.boxes[i])
    mode = T.InterpolationMode(view.interpolation)
    size = [view.size, view.size]
    x = TF.resized_crop(image / 255, top, left, h, w, size, interpolation=mode, antialias=True).clamp(0, 1)
    steps = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
    values = [float(v[i]) for v in (d.brightness, d.contrast, d.saturation, d.hue)]
    for step in d.order[i].tolist():
        x = steps[step](x, values[step])
    if d.gray[i]:
        x = TF.rgb_to_grayscale(x, num_output_channels=3)
    if d.blur[i]:
        x = TF.gaussian_blur(x, [BLUR_SIDE[view.size]] * 2, [float(d.sigma[i])] * 2)
    if d.solarize[i]:
        x = TF.solarize(x, 0.5)
    if d.invert[i]:
        x = TF.invert(x)
    if d.flip[i]:
        x = TF.horizontal_flip(x)
    return TF.normalize(x, list(MEAN), list(STD))


@pytest.mark.parametrize(
    ("view", "n"),
    [
        (View(), 32),
        (View(), 7),
        (View(), 1),
        (View(size=20), 12),
        (View(interpolation="bicubic", size=40), 12),
        (View(blur_p=1, gray_p=0.5, jitter=(0.8, 0.8, 0.8, 0.2)), 12),
        (View(invert_p=0.5, gray_p=0.5), 12),
    ],
)
def test_render_equals_torchvision_picture_by_picture(view, n):
    images = pictures(n)
    d = sample_params(view, n, (32, 32), generator(1))
    ours = render_view(images, view, d)
    theirs = torch.stack([library_render(image, view, d, i) for i, image in enumerate(images)])
    assert ours.shape == (n, 3, view.size, view.size) and ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)  # 2e-5 before the division by STD


def test_solarize_in_the_chain():
    # an inversion at a threshold jumps, so pictures that stay clear of the threshold
    images = (pictures(40) // 128) * 255
    view = View(size=32, scale=(1, 1), ratio=(1, 1), jitter_p=0, gray_p=0, blur_p=0, solarize_p=0.5)
    d = sample_params(view, 40, (32, 32), generator(2))
    assert 0 < d.solarize.sum() < 40
    theirs = torch.stack([library_render(image, view, d, i) for i, image in enumerate(images)])
    torch.testing.assert_close(render_view(images, view, d), theirs, rtol=0, atol=1e-4)


def test_inversion_takes_no_random_number_of_its_own():
    n, view = 6000, View(solarize_p=0.3)
    one, other = generator(3), generator(3)
    never = sample_params(view, n, (32, 32), one)
    half = sample_params(dataclasses.replace(view, invert_p=0.5), n, (32, 32), other)
    assert torch.equal(one.get_state(), other.get_state())
    assert not never.invert.any() and 0 < half.invert.sum() < n
    assert all(torch.equal(getattr(never, name), getattr(half, name)) for name in TENSORS if name != "invert")
    together = (half.invert & half.solarize).float().mean()  # its bits are independent of solarise's
    assert abs(together - 0.15) < 3.3 * (0.15 * 0.85 / n) ** 0.5
    always = sample_params(View(invert_p=1.0), n, (32, 32), generator(3))
    assert always.invert.all()


def test_draws_are_distributed_as_colorjitters():
    n, strengths = 4000, (0.4, 0.9, 1.5, 0.1)  # 1.5: the factor is cut off at 0
    d = sample_params(View(jitter=strengths, jitter_p=1), n, (32, 32), generator(3))
    library = T.ColorJitter(*strengths)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        draws = [library.make_params([]) for _ in range(n)]
    for name in ("brightness", "contrast", "saturation", "hue"):
        assert ks_2samp(getattr(d, name), [p[f"{name}_factor"] for p in draws]).pvalue > 1e-3, name
    # each of the 24 orders as often as any other: chi-square, 23 degrees of freedom, 49.7 once in a thousand
    code = (d.order * torch.tensor([64, 16, 4, 1])).sum(1)
    _, counts = code.unique(return_counts=True)
    assert len(counts) == 24
    assert ((counts - n / 24) ** 2 / (n / 24)).sum() < 49.7


def test_the_parts_of_a_draw_are_independent():
    n = 40_000
    d = sample_params(View(jitter_p=1), n, (32, 32), generator(3))
    columns = [*d.order.argsort(1).T, d.boxes[:, 0], d.boxes[:, 3]]  # at which place each step comes; the box
    columns += [d.brightness, d.contrast, d.saturation, d.hue, d.sigma, d.flip, d.gray, d.blur]
    related = np.corrcoef(np.stack([c.float().numpy() for c in columns])) - np.eye(len(columns))
    related[:4, :4] = 0  # two steps cannot come at the same place
    related[4:6, 4:6] = 0  # a large box has little room
    assert np.abs(related).max() < 4.5 / n**0.5  # 4.5 standard errors, for the largest of 84 pairs


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_hue_takes_every_place_in_small_batches(n):
    g = generator(5)
    place = torch.cat([sample_params(View(), n, (8, 8), g).order.argmax(1) for _ in range(1200 // n)])
    counts = place.bincount(minlength=4).float()
    assert ((counts - 300) ** 2 / 300).sum() < 16.3  # chi-square, 3 degrees of freedom, once in a thousand


def test_balanced_batches_have_hue_at_each_place_equally_often():
    d = sample_params(View(), 64, (32, 32), generator(6))
    assert d.balanced and d.order.argmax(1).bincount().tolist() == [16] * 4
    assert torch.equal(d.order.sort(1).values, torch.arange(4).expand(64, 4))
    # and which rows those are changes from draw to draw
    other = sample_params(View(), 64, (32, 32), generator(7))
    assert not torch.equal(d.order.argmax(1), other.order.argmax(1))


def test_probabilities():
    view = View(flip_p=0.3, jitter_p=0.7, gray_p=0.2, blur_p=0.6, solarize_p=0.1, invert_p=0.4)
    d, n = sample_params(view, 6000, (32, 32), generator(8)), 6000
    shares = {"flip": 0.3, "gray": 0.2, "blur": 0.6, "solarize": 0.1, "invert": 0.4}
    for name, p in shares.items():
        assert abs(getattr(d, name).float().mean() - p) < 3.3 * (p * (1 - p) / n) ** 0.5, name
    off = (d.brightness == 1) & (d.contrast == 1) & (d.saturation == 1) & (d.hue == 0)
    assert abs(off.float().mean() - 0.3) < 3.3 * (0.21 / n) ** 0.5
    assert d.sigma.min() >= 0.1 and d.sigma.max() <= 2.0 and abs(d.sigma.mean() - 1.05) < 0.03


def test_whole_chain_has_torchvisions_statistics():
    n, view = 1200, View()
    images = pictures(n)
    ours = render_view(images, view, sample_params(view, n, (32, 32), generator(9)), normalise=False)
    chain = T.Compose(
        [
            T.ToDtype(torch.float32, scale=True),
            T.RandomResizedCrop(32, scale=(0.2, 1.0)),
            T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            T.RandomGrayscale(0.2),
            T.RandomApply([T.GaussianBlur(3, (0.1, 2.0))], p=0.5),
            T.RandomHorizontalFlip(),
        ]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(10)
        theirs = torch.stack([chain(image) for image in images])
    quantities = {
        "red": lambda x: x[:, 0].mean((1, 2)),
        "green": lambda x: x[:, 1].mean((1, 2)),
        "blue": lambda x: x[:, 2].mean((1, 2)),
        "variance": lambda x: x.var((1, 2, 3)),
        "colour": lambda x: (x.amax(1) - x.amin(1)).mean((1, 2)),
        "edges": lambda x: (x[..., 1:] - x[..., :-1]).abs().mean((1, 2, 3)),
        "left minus right": lambda x: x[..., :16].mean((1, 2, 3)) - x[..., 16:].mean((1, 2, 3)),
        "change": lambda x: (x - images / 255).square().mean((1, 2, 3)),
    }
    for name, quantity in quantities.items():
        assert ks_2samp(quantity(ours), quantity(theirs)).pvalue > 1e-3, name


def test_every_picture_of_a_batch_gets_its_own_draw():
    images = pictures(1).expand(64, -1, -1, -1)  # the same picture 64 times
    d = sample_params(EVERYTHING, 64, (32, 32), generator(11))
    out = render_view(images, EVERYTHING, d)
    distance = torch.cdist(out.flatten(1), out.flatten(1)) + 1e9 * torch.eye(64)
    assert distance.min() > 0.1
    for name in ("boxes", "sigma", "order"):
        assert len(getattr(d, name).unique(dim=0)) > 15, name


def test_same_seed_same_draw_and_same_pixels():
    images = pictures(16)
    g, h = generator(12), generator(12)
    for _ in range(2):  # the second draw of each generator agrees too
        a, b = (sample_params(EVERYTHING, 16, (32, 32), x) for x in (g, h))
        assert all(torch.equal(getattr(a, name), getattr(b, name)) for name in TENSORS)
        assert torch.equal(render_view(images, EVERYTHING, a), render_view(images, EVERYTHING, b))
    assert torch.equal(g.get_state(), h.get_state())


def test_one_knob_changes_one_thing():
    """The number of random draws is the same for every view, so the rest of the draw stays where it was."""
    a, b = generator(13), generator(13)
    before = sample_params(View(), 32, (32, 32), a)
    after = sample_params(View(gray_p=0, blur_p=0, jitter=(0.1, 0.4, 0.4, 0.1)), 32, (32, 32), b)
    changed = {name for name in TENSORS if not torch.equal(getattr(before, name), getattr(after, name))}
    assert changed == {"brightness", "gray", "blur"}
    assert torch.equal(a.get_state(), b.get_state())


def test_rows_travel_with_their_pictures():
    images = pictures(20)
    d = sample_params(EVERYTHING, 20, (32, 32), generator(14))
    out = render_view(images, EVERYTHING, d)
    shuffled = torch.randperm(20, generator=generator(15))
    for index in (shuffled, shuffled[:7], torch.tensor([3])):
        part = render_view(images[index], EVERYTHING, d.rows(index))
        torch.testing.assert_close(part, out[index], rtol=0, atol=1e-5)
    assert len(d.rows(shuffled[:7])) == 7
    assert all(len(getattr(d, name)) == 20 for name in TENSORS)


def test_what_is_switched_off_is_not_done():
    images = pictures(8)
    d = sample_params(NOTHING, 8, (32, 32), generator(16))
    unit = images / 255
    torch.testing.assert_close(render_view(images, NOTHING, d, normalise=False), unit, rtol=0, atol=1e-6)
    torch.testing.assert_close(render_view(images, NOTHING, d), whole_images(images), rtol=0, atol=1e-5)
    no_strength = dataclasses.replace(NOTHING, jitter_p=1.0, jitter=(0, 0, 0, 0))
    d = sample_params(no_strength, 8, (32, 32), generator(16))
    torch.testing.assert_close(render_view(images, no_strength, d, normalise=False), unit, rtol=0, atol=1e-6)


def test_normalise_plain_and_back():
    images = pictures(6)
    unit = images / 255
    expected = TF.normalize(unit, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(normalise(unit), expected)
    torch.testing.assert_close(whole_images(images), expected)
    torch.testing.assert_close(denormalise(normalise(unit)), unit, rtol=0, atol=1e-6)
    torch.testing.assert_close(denormalise(expected[0]), unit[0], rtol=0, atol=1e-6)  # a single one
    for size in (16, 48):
        resized = TF.resize(unit, [size, size], TF.InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
        torch.testing.assert_close(denormalise(whole_images(images, size)), resized, rtol=0, atol=1e-5)


def test_images_are_enlarged_for_evaluation_as_the_release_enlarges_them():
    """It resizes PIL images bicubically, whose grey levels are rounded twice."""
    images = pictures(6)
    large = [TF.resize(TF.to_pil_image(each), 56, TF.InterpolationMode.BICUBIC) for each in images]
    theirs = torch.stack([TF.pil_to_tensor(each) for each in large]) / 255
    torch.testing.assert_close(denormalise(whole_images(images, 56)), theirs, rtol=0, atol=1.5 / 255)


def test_nothing_is_read_back_from_the_device():
    """A fake tensor has shapes but no values, so any .item() or boolean-mask indexing would raise."""
    g = generator(0)
    with FakeTensorMode(allow_non_fake_inputs=True):
        for n, view in ((8, EVERYTHING), (7, EVERYTHING), (8, View(size=16, interpolation="bicubic"))):
            d = sample_params(view, n, (32, 32), g)
            out = render_view(torch.zeros(n, 3, 32, 32, dtype=torch.uint8), view, d)
            assert out.shape == (n, 3, view.size, view.size)


def test_render_compiles_without_a_break():
    images, view = pictures(8), EVERYTHING
    d = sample_params(view, 8, (32, 32), generator(17))
    compiled = torch.compile(lambda x, rows: render_view(x, view, rows), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images, d), render_view(images, view, d), rtol=0, atol=1e-5)
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("size", 0, "at least 2"),
        ("size", 32.0, "whole number"),
        ("size", True, "whole number"),
        ("scale", (1.0, 0.2), "smaller number first"),
        ("scale", (0.0, 1.0), "share"),
        ("scale", (0.2, 1.5), "at most 1"),
        ("scale", 0.5, "expected 2 finite numbers"),
        ("scale", (0.2, "1"), "expected 2 finite numbers"),
        ("ratio", (0, 1), "ratio"),
        ("ratio", (1.3, 0.7), "smaller number first"),
        ("blur_sigma", (0, 2), "pixels above 0"),
        ("blur_sigma", (0.1, float("nan")), "finite"),
        ("jitter", (0.4, 0.4, 0.4), "expected 4 finite numbers"),
        ("jitter", (0.4, 0.4, 0.4, float("nan")), "finite"),
        ("jitter", (0.4, -0.1, 0.4, 0.1), "none negative"),
        ("jitter", (0.4, 0.4, 0.4, 0.6), "at most 0.5"),
        ("flip_p", 1.2, "probability"),
        ("jitter_p", -0.1, "probability"),
        ("gray_p", None, "probability"),
        ("blur_p", True, "probability"),
        ("solarize_p", float("nan"), "probability"),
        ("invert_p", 1.5, "probability"),
        ("interpolation", "bilinar", "did you mean 'bilinear'"),
    ],
)
def test_a_view_checks_itself(field, value, message):
    with pytest.raises(InputError, match=f"{field}.*{message}"):
        View(**{field: value})


def test_lists_become_tuples_and_views_compare():
    assert View(scale=[0.2, 1.0], jitter=[0.4, 0.4, 0.4, 0.1]) == View()
    assert hash(View()) == hash(View(ratio=[3 / 4, 4 / 3]))


def test_one_row_per_picture():
    d = sample_params(View(), 4, (32, 32), generator(0))
    with pytest.raises(InputError, match="5 images but a draw of 4 rows"):
        render_view(pictures(5), View(), d)
    with pytest.raises(InputError, match=r"\(4, 1, 32, 32\).*expected colour"):
        render_view(pictures(4)[:, :1], View(), d)


# --- a part of the picture ---------------------------------------------------------------------------------------------

QUARTERS = {(0.0, 0.0, 0.8, 0.8): (0, 0), (0.2, 0.0, 0.8, 0.8): (6, 0), (0.0, 0.2, 0.8, 0.8): (0, 6)}  # -> top, left of 32


@pytest.mark.parametrize(("region", "corner"), QUARTERS.items())
@pytest.mark.parametrize("size", [16, 32])
def test_a_view_of_a_region_is_a_view_of_the_picture_cut_out_first(region, corner, size):
    images, (top, left) = pictures(12), corner
    view = View(size=size, source_region=region, solarize_p=0.3)
    d = sample_params(view, 12, (32, 32), generator(18))
    cut = images[..., top : top + 26, left : left + 26]  # 0.8 of 32, in whole pixels
    alone = dataclasses.replace(view, source_region=(0, 0, 1, 1))
    e = sample_params(alone, 12, (26, 26), generator(18))
    expected = {name: getattr(e, name) for name in TENSORS} | {"boxes": e.boxes + torch.tensor([top, left, 0, 0])}
    assert all(torch.equal(getattr(d, name), expected[name]) for name in TENSORS)
    torch.testing.assert_close(render_view(images, view, d), render_view(cut, alone, e), rtol=0, atol=1e-4)


def test_boxes_fill_their_region_and_never_leave_it():
    view = View(source_region=(0.25, 0.5, 0.75, 0.5), scale=(0.2, 1.0))
    top, left, height, width = sample_params(view, 4000, (40, 24), generator(19)).boxes.T
    assert (top.min(), (top + height).max()) == (10, 40) and (left.min(), (left + width).max()) == (12, 24)
    share = height * width / (30 * 12)  # the scale is a share of the region's area, not of the picture's
    assert share.min() < 0.25 and 0.5 < share.max() <= 12 * 16 / 360  # 12 wide, and at most 4/3 as high


def test_the_whole_picture_is_the_region_unless_told():
    a, b = (sample_params(v, 64, (32, 32), generator(20)) for v in (View(), View(source_region=[0, 0, 1.0, 1.0])))
    assert all(torch.equal(getattr(a, name), getattr(b, name)) for name in TENSORS)
    assert View(source_region=[0, 0, 1, 1]) == View() and hash(View(source_region=[0, 0, 1, 1])) == hash(View())


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ((0, 0, 1.2, 1), "inside it"),
        ((0.3, 0, 0.8, 1), "inside it"),
        ((0, 0.3, 1, 0.8), "inside it"),
        ((-0.1, 0, 0.5, 0.5), "inside it"),
        ((0, -0.1, 0.5, 0.5), "inside it"),
        ((0, 0, 0, 1), "inside it"),
        ((0, 0, 1, 0), "inside it"),
        ((0, 0, 1), "expected 4 finite numbers"),
        ((0, 0, 1, float("nan")), "finite"),
    ],
)
def test_a_region_checks_itself(region, message):
    with pytest.raises(InputError, match=f"region.*{message}"):
        View(source_region=region)
