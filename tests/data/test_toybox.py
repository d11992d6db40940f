"""The toy box: what it promises about toys, factors, masks and cheap solutions.

The oracles are slow and independent: trigonometry pixel by pixel, `colorsys`, scikit-learn.
"""

import colorsys
import functools
import hashlib
import itertools
import math

import numpy as np
import pytest
import torch

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.data import toybox
from mnclglf_lite.evaluation.knn import KnnProtocol, knn

TRAIN, TEST = 10_000, 2_000


@pytest.fixture(scope="module")
def box():
    """One draw for everything that counts; 12,000 pictures."""
    return toybox.draw(TRAIN + TEST, seed=0)


def hold(monkeypatch, **ranges):
    """Narrow some factors' ranges."""
    monkeypatch.setattr(toybox, "FACTORS", {**toybox.FACTORS, **ranges})


@functools.cache
def cells(name, version=2):
    """A toy's rows of bricks, as booleans."""
    return np.array([[mark == "#" for mark in row] for row in toybox.design(version)[0][name].split()])


def same(one, two):
    equal = all(torch.equal(one[i], two[i]) for i in (0, 1, 3))
    return equal and all(torch.equal(one[2][name], two[2][name]) for name in toybox.FACTORS)


# --- the bytes ---


@pytest.mark.parametrize(("version", "sums"), [(1, "6735efb8555fbedd"), (2, "03d435b59b69b89c")])
def test_each_version_is_what_it_was(version, sums):
    """Labels and masks of 1,500 toys, and their images, byte for byte."""
    images, labels, _, masks = toybox.draw(1500, seed=0, version=version)
    found = hashlib.sha256()
    for tensor in (images, labels, masks):
        found.update(tensor.numpy().tobytes())
    assert found.hexdigest()[:16] == sums


def test_versions_are_two():
    with pytest.raises(InputError, match="version is 3; there are 1 and 2"):
        toybox.draw(4, seed=0, version=3)


def test_shapes_and_types(box):
    images, labels, factors, masks = box
    n = TRAIN + TEST
    assert images.shape == (n, 3, 32, 32) and images.dtype == torch.uint8
    assert labels.shape == (n,) and labels.dtype == torch.int64
    assert masks.shape == (n, 32, 32) and masks.dtype == torch.bool
    assert list(factors) == list(toybox.FACTORS) and all(column.shape == (n,) for column in factors.values())


def test_same_seed_same_bytes_on_any_number_of_threads():
    threads = torch.get_num_threads()
    try:
        drawn = []
        for count in (1, 2):
            torch.set_num_threads(count)
            drawn.append(toybox.draw(1010, seed=7))  # more than a chunk
    finally:
        torch.set_num_threads(threads)
    assert same(*drawn)
    other = toybox.draw(1010, seed=8)
    assert not torch.equal(other[0], drawn[0][0]) and not torch.equal(other[1], drawn[0][1])
    assert all(not torch.equal(other[2][name], drawn[0][2][name]) for name in toybox.FACTORS)


def test_global_random_state_is_neither_used_nor_moved():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = toybox.draw(30, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(first, toybox.draw(30, seed=5))


def test_labels_are_balanced_and_shuffled(box):
    labels = box[1]
    assert labels.bincount(minlength=10).tolist() == [(TRAIN + TEST) // 10] * 10
    ranks = torch.arange(len(labels)).double()
    assert torch.corrcoef(torch.stack([ranks, labels.double()]))[0, 1].abs() < 4.5 / math.sqrt(len(labels))
    tens = labels.view(-1, 10)
    assert torch.equal(tens.sort(dim=1).values, torch.arange(10).expand_as(tens))  # so any part of the set is balanced
    first = tens[:, 0].bincount(minlength=10) / len(tens)  # each class comes first as often as any other
    assert (first - 0.1).abs().max() < 4.5 * math.sqrt(0.1 * 0.9 / len(tens))
    odd = toybox.draw(37, seed=5)[1].bincount(minlength=10)
    assert odd.max() - odd.min() == 1


@pytest.mark.parametrize("side", [16, 64])
def test_other_sides_show_the_same_toys(side):
    images, labels, factors, masks = toybox.draw(200, seed=3, side=side)
    assert images.shape == (200, 3, side, side) and masks.shape == (200, side, side)
    usual = toybox.draw(200, seed=3)
    assert torch.equal(labels, usual[1]) and all(torch.equal(factors[k], usual[2][k]) for k in factors)
    small, large = (torch.nn.functional.avg_pool2d(m.double(), m.shape[-1] // 16) for m in (masks, usual[3]))
    assert (small - large).abs().mean() < 0.05  # the same toys at the same places
    assert (small - large.roll(1, 0)).abs().mean() > 0.1  # which the line above would notice


@pytest.mark.parametrize(
    "bad",
    [{"n": 0}, {"n": -1}, {"n": 2.5}, {"n": True}, {"n": "9"}, {"seed": -1}, {"seed": 0.5}, {"seed": None}]
    + [{"side": 7}, {"side": 32.0}, {"side": None}],
)
def test_bad_input_is_named(bad):
    ((name, value),) = bad.items()
    with pytest.raises(InputError, match=rf"toy box: {name} is {value!r}; give a whole number of at least \d"):
        toybox.draw(**{"n": 4, "seed": 0, "side": 32, **bad})


# --- the toys ---


def turns_and_mirrors(art):
    """The eight pictures that quarter turns and mirrors make of one, as bytes with their shape."""
    each = [np.rot90(part, k) for part in (art, art[:, ::-1]) for k in range(4)]
    return {(part.shape, np.ascontiguousarray(part).tobytes()) for part in each}


TOYS = [(version, name) for version in (1, 2) for name in toybox.design(version)[0]]


def test_there_are_ten_toys():
    assert toybox.CLASSES == tuple(toybox.STENCILS)
    assert all(len(toybox.design(version)[0]) == 10 for version in (1, 2))


@pytest.mark.parametrize(("version", "name"), TOYS)
def test_every_toy_has_as_many_bricks_fits_and_is_its_own_mirror_image(version, name):
    rows = toybox.design(version)[0][name].split()
    assert len({len(row) for row in rows}) == 1 and set("".join(rows)) <= {"#", "."}
    art = cells(name, version)
    assert art.sum() == {1: 12, 2: toybox.BRICKS}[version] and toybox.BRICKS == 24
    assert max(art.shape) <= toybox.SPAN == 7
    assert art.any(0)[[0, -1]].all() and art.any(1)[[0, -1]].all()  # no empty border: its middle is the toy's
    assert (art == art[:, ::-1]).all()  # so a flipped view is still of its class


@pytest.mark.parametrize("version", [1, 2])
def test_no_toy_turned_or_mirrored_is_another(version):
    looks = {name: turns_and_mirrors(cells(name, version)) for name in toybox.design(version)[0]}
    for one, two in itertools.combinations(looks, 2):
        assert not looks[one] & looks[two], (one, two)
    assert looks["comb"] & turns_and_mirrors(np.rot90(cells("comb", version), 3))  # the comparison can find one


def soft_cover(monkeypatch, n, side, **ranges):
    """How much of each pixel is toy, (N, S, S) from 0 to 1, read back from grey pictures without grain."""
    grey = {"toy_saturation": (0.0, 0.0), "ground_saturation": (0.0, 0.0), "light": (0.0, 0.0), "contrast": (0.7, 0.7)}
    hold(monkeypatch, **grey, toy_is_bright=(1, 1), **ranges)
    monkeypatch.setattr(toybox, "NOISE", 0.0)
    images, labels, factors, masks = toybox.draw(n, seed=1, side=side)
    assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])
    return (images[:, 0].double() / 255 - 0.2) / 0.7, labels, factors, masks


def test_every_toy_covers_the_same_area(monkeypatch):
    """Toys wholly inside the frame, at any size, turn and place, cover 24 bricks' worth of pixels."""
    cover, labels, factors, _ = soft_cover(monkeypatch, 1000, 32)
    edge = torch.ones(32, 32, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    inside = cover[:, edge].amax(1) < 0.01
    bricks = cover.sum((1, 2)) / (factors["size"].double() * 32 / 7) ** 2
    means = torch.stack([bricks[inside & (labels == label)].mean() for label in range(10)])
    assert (
        min(inside[labels == label].sum() for label in range(10)) > 15
    )  # even of the class that is cut by the frame most often, some are left
    assert (means / 24 - 1).abs().max() < 0.01


def test_masks_are_cover_above_half(monkeypatch):
    cover, _, _, masks = soft_cover(monkeypatch, 200, 32)
    telling = (cover - 0.5).abs() > 0.006  # covers are read back to a 1/180
    assert telling.double().mean() > 0.95 and torch.equal(masks[telling], (cover > 0.5)[telling])


def test_masks_have_about_the_same_area_where_pixels_are_small(monkeypatch):
    """At 128 pixels (at 32, edges that cover just half a pixel are left out of thin toys' masks)."""
    hold(monkeypatch, x=(0.0, 0.0), y=(0.0, 0.0), size=(0.65, 0.65))
    _, labels, _, masks = toybox.draw(100, seed=2, side=128)
    share = masks.double().sum((1, 2)) / (24 * (0.65 * 128 / 7) ** 2)
    means = torch.stack([share[labels == label].mean() for label in range(10)])
    assert (means - 1).abs().max() < 0.06 and (means.max() - means.min()) < 0.05


def on_a_brick(name, factors, i, row, column, side):
    """Is this point (pixels; may be fractional) on a brick? Plain trigonometry, one point at a time."""
    f = {key: float(factors[key][i]) for key in ("x", "y", "size", "stretch", "rotation")}
    right = 2 * column / side - 1 - f["x"]  # from the toy's middle, in half sides
    down = 2 * row / side - 1 - f["y"]
    turn = math.radians(f["rotation"])  # clockwise on the screen, where y goes down: undo it
    along = right * math.cos(turn) + down * math.sin(turn)
    across = -right * math.sin(turn) + down * math.cos(turn)
    wide = 2 * f["size"] / 7 * math.sqrt(f["stretch"])  # of a brick, half sides
    high = wide / f["stretch"]
    art = cells(name)
    at_row, at_column = (math.floor(across / high + art.shape[0] / 2), math.floor(along / wide + art.shape[1] / 2))
    return 0 <= at_row < art.shape[0] and 0 <= at_column < art.shape[1] and bool(art[at_row, at_column])


def test_masks_lie_where_trigonometry_says():
    side, n = 40, 10
    _, labels, factors, masks = toybox.draw(n, seed=4, side=side)
    assert labels.unique().numel() == 10
    agree = clear = bricks = 0
    for i in range(n):
        name = toybox.CLASSES[labels[i]]
        for row, column in itertools.product(range(side), repeat=2):
            around = [
                on_a_brick(name, factors, i, row + down, column + right, side)
                for down, right in ((0.5, 0.5), (0, 0), (0, 1), (1, 0), (1, 1))
            ]
            if len(set(around)) == 1:  # away from the edges: middle and corners agree
                clear += 1
                bricks += around[0]
                agree += around[0] == bool(masks[i, row, column])
    assert clear > 0.75 * n * side**2 and bricks > 0.04 * n * side**2
    assert agree >= 0.99 * clear
    # a mirrored, an unturned or a doubled toy would be noticed: the factors really matter
    turned = {**factors, "rotation": -factors["rotation"]}
    points = [(i, r, c) for i in range(n) for r in range(0, side, 3) for c in range(0, side, 3)]
    missed = [
        sum(
            on_a_brick(toybox.CLASSES[labels[i]], f, i, r + 0.5, c + 0.5, side) != bool(masks[i, r, c]) for i, r, c in points
        )
        for f in (factors, turned)
    ]
    assert missed[1] > 2 * missed[0]


# --- colours ---


def test_rgb_is_colorsys():
    hues = [0.0, 1 / 6, 0.25, 1 / 3, 0.5, 2 / 3, 0.8, 0.999, 1.0]
    points = [(h, s, v) for h in hues for s in (0.0, 0.3, 1.0) for v in (0.0, 0.4, 1.0)]
    ours = toybox._rgb(*torch.tensor(points, dtype=torch.float64).T)
    theirs = torch.tensor([colorsys.hsv_to_rgb(*point) for point in points], dtype=torch.float64)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_pixels_have_the_colours_that_the_factors_say(monkeypatch):
    hold(monkeypatch, light=(0.0, 0.0))
    monkeypatch.setattr(toybox, "NOISE", 0.0)
    images, _, factors, masks = toybox.draw(300, seed=6)
    soft = masks.float()[:, None]
    core = torch.nn.functional.max_pool2d(1 - soft, 3, 1, 1)[:, 0] == 0
    far = torch.nn.functional.max_pool2d(soft, 5, 1, 2)[:, 0] == 0
    far &= torch.nn.functional.pad(torch.ones(28, 28, dtype=torch.bool), (2, 2, 2, 2))  # a toy may peep in at the rim
    seen = 0
    for i in range(300):
        f = {name: float(column[i]) for name, column in factors.items()}
        sign = 1 if f["toy_is_bright"] else -1
        for what, region, lift in (("toy", core[i], sign), ("ground", far[i], -sign)):
            rgb = colorsys.hsv_to_rgb(f[f"{what}_hue"], f[f"{what}_saturation"], 0.55 + lift * f["contrast"] / 2)
            if region.any():
                middle = images[i][:, region].double().median(1).values  # a gap between bricks may be among them
                assert (middle - 255 * torch.tensor(rgb, dtype=torch.float64)).abs().max() <= 1, (i, what)
                seen += 1
    assert seen > 350


def test_the_light_comes_from_where_its_angle_says(monkeypatch):
    hold(monkeypatch, light=(0.05, 0.2), contrast=(0.35, 0.35), x=(2.5, 2.5))  # no toy in sight, nothing cut off
    images, _, factors, masks = toybox.draw(60, seed=9)
    assert not masks.any()
    span = torch.linspace(-0.5, 0.5, 32, dtype=torch.float64)
    mean = images.double().mean(1) / 255  # (N, S, S)
    right, down = ((mean * way).sum((1, 2)) / 32 / span.square().sum() for way in (span, span[:, None]))
    turn = torch.deg2rad(factors["light_angle"].double())
    torch.testing.assert_close(right, factors["light"] * turn.cos(), atol=0.01, rtol=0, check_dtype=False)
    torch.testing.assert_close(down, factors["light"] * turn.sin(), atol=0.01, rtol=0, check_dtype=False)


def test_toys_stand_out_from_the_ground(box):
    """The mean colour of a toy and that of the ground beside it (a ring of two pixels) are apart."""
    images, masks = box[0][:3000].double() / 255, box[3][:3000]
    soft = masks.float()[:, None]
    ring = torch.nn.functional.max_pool2d(soft, 7, 1, 3)[:, 0].bool()
    ring &= torch.nn.functional.max_pool2d(soft, 3, 1, 1)[:, 0] == 0
    toy, ground = ((images * part[:, None]).sum((2, 3)) / part.sum((1, 2)).clamp_min(1)[:, None] for part in (masks, ring))
    apart = (toy - ground).norm(dim=1)
    assert (apart > 0.15).double().mean() > 0.99 and apart.median() > 0.4


# --- the factors ---


def bins(column, name, count=10):
    """Which tenth of its range each value lies in."""
    low, high = toybox.FACTORS[name]
    if not column.is_floating_point():
        return column.numpy()
    return ((column.double() - low) / (high - low) * count).long().clamp(0, count - 1).numpy()


def dependence(one, two):
    """The G statistic of two columns of small integers, in standard deviations of its null distribution.

    2 N times the mutual information (scikit-learn's) is chi-square with (a-1)(b-1) degrees of freedom for
    independent columns; Wilson and Hilferty's cube root makes that a standard normal.
    """
    metrics = pytest.importorskip("sklearn.metrics")
    free = (len(np.unique(one)) - 1) * (len(np.unique(two)) - 1)
    g = 2 * len(one) * metrics.mutual_info_score(one, two)
    return ((g / free) ** (1 / 3) - (1 - 2 / (9 * free))) / math.sqrt(2 / (9 * free))


def test_factors_fill_their_ranges_evenly(box):
    for name, (low, high) in toybox.FACTORS.items():
        column = box[2][name]
        assert column.dtype == (torch.int64 if name == "toy_is_bright" else torch.float32), name
        assert low <= column.min() and column.max() <= high, name
        counts = np.bincount(bins(column, name))
        expected = len(column) / len(counts)
        assert ((counts - expected) ** 2 / expected).sum() < 33, name  # chi-square, 9 degrees: p = 0.0001
        assert len(counts) == (2 if name == "toy_is_bright" else 10), name


def test_factors_tell_nothing_about_the_class(box):
    labels = box[1].numpy()
    for name in toybox.FACTORS:
        assert dependence(bins(box[2][name], name), labels) < 4, name
    leaning = torch.where(torch.arange(len(labels)) % 10 == 0, box[1] / 10, box[2]["toy_hue"])  # one hue in ten does
    assert dependence(bins(leaning, "toy_hue"), labels) > 6


def test_factors_tell_nothing_about_each_other(box):
    columns = {name: bins(box[2][name], name) for name in toybox.FACTORS}
    for one, two in itertools.combinations(columns, 2):
        assert dependence(columns[one], columns[two]) < 4.5, (one, two)  # 78 pairs: p = 0.0003 for any of them
    leaning = torch.where(torch.arange(len(box[1])) % 10 == 0, box[2]["ground_hue"], box[2]["toy_hue"])
    assert dependence(bins(leaning, "toy_hue"), columns["ground_hue"]) > 6


def test_circular_factors_are_those_with_a_period():
    for name, period in toybox.PERIODS.items():
        assert toybox.FACTORS[name] == (0.0, period)


# --- cheap solutions ---


def neighbours_accuracy(features, labels, k, train=TRAIN):
    neighbours = pytest.importorskip("sklearn.neighbors")
    model = neighbours.KNeighborsClassifier(k, metric="cosine").fit(features[:train], labels[:train])
    return model.score(features[train:], labels[train:])


def colour_counts(images):
    """How many pixels have each of 8 x 8 x 8 colours: (N, 512)."""
    codes = (images.long() // 32 * torch.tensor([64, 8, 1])[:, None, None]).sum(1).flatten(1)
    return torch.zeros(len(codes), 512).scatter_add_(1, codes, torch.ones(codes.shape)).numpy()


@pytest.mark.parametrize("k", [20, 10])
def test_comparing_pixels_does_not_solve_it(box, k):
    """Measured: 19 %. Chance is 10 %."""
    accuracy = neighbours_accuracy(box[0].flatten(1).float().numpy() / 255, box[1].numpy(), k)
    assert accuracy <= 0.40


def test_comparing_pixels_less_their_mean_does_not_solve_it(box):
    """Measured: 23 %."""
    pixels = box[0].flatten(1).float().numpy() / 255
    assert neighbours_accuracy(pixels - pixels[:TRAIN].mean(0), box[1].numpy(), 20) <= 0.40


@pytest.mark.parametrize(("version", "low", "high"), [(1, 0.6, 0.75), (2, 0.4, 0.5)])
def test_comparing_thumbnails_solves_less_than_half_of_version_2(box, version, low, high):
    """8x8 thumbnails, whitened, kNN with k 20 and T 0.1. Measured: 70 % of version 1, 49 % of version 2."""
    images, labels, *_ = box if version == 2 else toybox.draw(TRAIN + TEST, seed=0, version=1)
    small = torch.nn.functional.avg_pool2d(images.float() / 255, 4).flatten(1)
    whitened = KnnProtocol(k=20, transform="whitened")
    assert low <= knn(small[:TRAIN], labels[:TRAIN], small[TRAIN:], labels[TRAIN:], whitened, 10)["top1"] <= high


def test_counting_colours_does_not_solve_it(box):
    """Measured: 10 %, chance."""
    assert neighbours_accuracy(colour_counts(box[0]), box[1].numpy(), 20) <= 0.20


def test_the_cheap_solutions_would_find_what_there_is_to_find(monkeypatch):
    """Every toy in one pose and one light: then pixels tell it all. Hue by class: then colours do."""
    train = 400
    with monkeypatch.context() as patch:
        still = {"x": (0.0, 0.0), "y": (0.0, 0.0), "size": (0.6, 0.6), "stretch": (1.0, 1.0), "rotation": (0.0, 0.0)}
        hold(patch, **still, light=(0.0, 0.0), toy_is_bright=(1, 1))
        images, labels, _, masks = toybox.draw(500, seed=11)
    assert neighbours_accuracy(masks.flatten(1).float().numpy(), labels.numpy(), 10, train) > 0.9
    assert neighbours_accuracy(images.flatten(1).float().numpy() / 255, labels.numpy(), 10, train) > 0.9
    real = toybox._factors

    def by_class(*given):
        factors = real(*given)
        n = len(factors["x"])
        known = torch.rand(n // 10, 10, generator=torch.Generator().manual_seed(11)).argsort(1).flatten()  # as in `draw`
        return {**factors, "toy_hue": known / 10, "toy_saturation": torch.ones(n)}

    monkeypatch.setattr(toybox, "_factors", by_class)
    hold(monkeypatch, light=(0.0, 0.0), contrast=(0.7, 0.7))
    images, labels, _, _ = toybox.draw(500, seed=11)
    assert neighbours_accuracy(colour_counts(images), labels.numpy(), 5, train) > 0.2


def test_a_fixed_factor_is_the_same_in_every_picture_and_leaves_the_others_as_they_were():
    images, labels, factors, masks = toybox.draw(200, 3)
    still, same, held, middle = toybox.draw(200, 3, fixed={"x": 0.0, "y": 0.0})
    assert torch.equal(labels, same) and not torch.equal(images, still)
    for name in toybox.FACTORS:
        assert torch.equal(held[name], torch.zeros(200) if name in ("x", "y") else factors[name]), name
    places = torch.arange(32.0) - 15.5
    assert abs((middle.sum(1) * places).sum(1) / middle.sum((1, 2))).max() < 3.5  # every stencil is its own mirror image
    assert ((masks.sum(1) * places).sum(1) / masks.sum((1, 2))).std() > 2
    with pytest.raises(InputError, match="did you mean 'light'"):
        toybox.draw(10, 0, fixed={"ligth": 1.0})
