"""The toy box: what it promises about classes, factors, masks and cheap solutions."""

import math

import numpy as np
import pytest
import torch

from mnclglf_lite import toybox
from mnclglf_lite.errors import InputError

TRAIN, TEST = 3000, 600


@pytest.fixture(scope="module")
def box():
    return toybox.draw(TRAIN + TEST, seed=0)


def segments(name):
    """The parts of a toy as (points along the segment, radius), straight from the published layout."""
    sticks, beads = toybox.TOYS[name]
    t = np.linspace(-toybox.STICK_HALF, toybox.STICK_HALF, 101)[:, None]
    parts = []
    for x, y, degrees in sticks:
        way = np.array([[math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]])
        parts.append((np.array([[x, y]]) + t * way, toybox.STICK_RADIUS))
    return parts + [(np.array([[x, y]], dtype=float), toybox.BEAD_RADIUS) for x, y in beads]


def test_shapes_types_and_names(box):
    images, labels, factors, masks = box
    n = TRAIN + TEST
    assert images.shape == (n, 3, 32, 32) and images.dtype == torch.uint8
    assert labels.shape == (n,) and labels.dtype == torch.int64
    assert masks.shape == (n, 32, 32) and masks.dtype == torch.bool
    assert len(set(toybox.CLASSES)) == 10
    assert set(factors) == set(toybox.FACTORS)
    for name, span in toybox.FACTORS.items():
        values = factors[name]
        assert values.shape == (n,)
        if isinstance(span, int):
            assert values.dtype == torch.int64 and set(values.tolist()) == set(range(span))
        else:
            assert values.dtype == torch.float32
            assert span[0] <= values.min() and values.max() <= span[1]
            assert values.max() - values.min() > 0.98 * (span[1] - span[0])


def test_same_seed_same_bytes_whatever_chunks_threads_and_n(box, monkeypatch):
    def same(a, b, n):
        return all(torch.equal(x, y[:n]) for x, y in ((a[0], b[0]), (a[1], b[1]), (a[3], b[3]))) and all(
            torch.equal(a[2][k], b[2][k][:n]) for k in b[2]
        )

    threads = torch.get_num_threads()
    monkeypatch.setattr(toybox, "CHUNK_PIXELS", 7 * 32 * 32)
    torch.set_num_threads(1)
    try:
        again = toybox.draw(333, seed=0)
    finally:
        torch.set_num_threads(threads)
    assert same(again, box, 333)
    assert not torch.equal(toybox.draw(333, seed=1)[0], again[0])


def test_global_random_state_is_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    toybox.draw(5, seed=0)
    assert torch.equal(before, torch.get_rng_state())


def test_labels_are_balanced_and_shuffled(box):
    labels = box[1]
    assert (torch.bincount(labels, minlength=10) == len(labels) // 10).all()
    runs = labels.view(-1, 10)
    assert (runs.sort(1).values == torch.arange(10)).all()
    assert len(runs.unique(dim=0)) > 0.99 * len(runs)
    odd = torch.bincount(toybox.draw(37, seed=5)[1], minlength=10)
    assert odd.max() - odd.min() <= 1


def shuffle_p(a, b, groups, rounds=300):
    """Permutation p-value: how often do shuffled labels `b` spread the group means of `a` as far as these?"""
    rng = np.random.default_rng(0)

    def spread(keys):
        means = np.bincount(keys, a, minlength=groups) / np.bincount(keys, minlength=groups)
        return means.var()

    seen = spread(b)
    return np.mean([spread(rng.permutation(b)) >= seen for _ in range(rounds)])


def features(values, span):
    """What a factor may leak through: its value, or both directions of the colour circle, and its spread."""
    v = values.double().numpy()
    if span == (0.0, 1.0):
        return [np.cos(2 * np.pi * v), np.sin(2 * np.pi * v)]
    return [v, (v - v.mean()) ** 2]


def test_factors_tell_nothing_about_the_class(box):
    labels, factors = box[1].numpy(), box[2]
    for name, span in toybox.FACTORS.items():
        for view in features(factors[name], span):
            assert shuffle_p(view, labels, 10) > 0.003, name
    # The test can fail: it notices a hue of which a fifth comes from the class.
    leaky = 0.8 * factors["stick_hue"] + 0.02 * box[1]
    assert min(shuffle_p(view, labels, 10) for view in features(leaky, (0.0, 1.0))) <= 0.003


def test_factors_are_independent_of_each_other(box):
    columns = [view for name, span in toybox.FACTORS.items() for view in features(box[2][name], span)[:1]]
    r = np.corrcoef(np.stack(columns)) - np.eye(len(columns))
    assert np.abs(r).max() < 4.5 / math.sqrt(TRAIN + TEST)  # 4.5 standard errors of a zero correlation


@pytest.mark.parametrize("name", toybox.CLASSES)
def test_every_toy_is_the_same_kit_without_overlap(name):
    sticks, beads = toybox.TOYS[name]
    assert len(sticks) == 4 and len(beads) == 4
    parts = segments(name)
    for i, (p, r) in enumerate(parts):
        for q, s in parts[:i]:
            assert np.sqrt(((p[:, None] - q[None]) ** 2).sum(-1)).min() >= r + s - 1e-9
        assert np.abs(p).max() + r <= 1.1


@pytest.mark.parametrize("name", toybox.CLASSES)
def test_every_toy_is_its_own_mirror_image(name):
    sticks, beads = toybox.TOYS[name]
    assert {(-x, y, -a % 180) for x, y, a in sticks} == {(x, y, a % 180) for x, y, a in sticks}
    assert {(-x, y) for x, y in beads} == set(beads)


def test_masks_equal_a_slow_drawing_from_the_factors():
    _, labels, factors, masks = toybox.draw(20, seed=4, side=48)
    centres = (np.arange(48) + 0.5) / 48
    right, down = np.meshgrid(centres, centres)
    for i in range(20):
        f = {name: float(values[i]) for name, values in factors.items()}
        a = math.radians(f["rotation"])
        inside = np.full((48, 48), -np.inf)
        for points, radius in segments(toybox.CLASSES[labels[i]]):
            turned = points @ np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
            px = f["x"] + turned[:, 0] * f["size"] / 2
            py = f["y"] + turned[:, 1] * f["size"] / 2
            away = np.sqrt((right[..., None] - px) ** 2 + (down[..., None] - py) ** 2).min(-1)
            inside = np.maximum(inside, radius * f["size"] / 2 - away)
        # Pixels that two touching parts each cover by less than half may be in the mask: 2 % are forgiven.
        assert ((inside > 0) != masks[i].numpy()).mean() < 0.02


def test_toys_stand_out_from_the_ground(box):
    images, _, factors, masks = (x[:500] if not isinstance(x, dict) else x for x in box)
    light = (images.double() * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1) / 255
    ground = factors["ground_light"][:500].double()
    away = (light - ground[:, None, None]).abs()
    slack = toybox.FACTORS["grain"][1] + toybox.GROUND_SWING + 0.01
    near = torch.nn.functional.max_pool2d(masks[:, None].float(), 3, 1, 1)[:, 0] > 0
    assert away[~near].max() <= slack  # clear of every part: nothing but table
    core = torch.nn.functional.max_pool2d(-masks[:, None].float(), 3, 1, 1)[:, 0] < 0
    low = toybox.FACTORS["contrast"][0]
    assert (away[core] > slack).double().mean() > 0.9  # seams between two parts of unlike light are the rest
    assert low - toybox.GROUND_SWING >= 0.15
    both = factors["stick_light"][:500] == factors["bead_light"][:500]
    assert (away[both][core[both]]).quantile(0.02) > low - slack


def test_area_is_no_cue(box):
    """Regress the mask's pixels on size squared: what is left must not differ between classes."""
    _, labels, factors, masks = box
    whole = ~(masks[:, 0].any(1) | masks[:, -1].any(1) | masks[:, :, 0].any(1) | masks[:, :, -1].any(1))
    area = masks.sum((1, 2)).double() / (factors["size"].double() * 32 / 2) ** 2
    means = torch.stack([area[whole & (labels == c)].mean() for c in range(10)])
    sticks = 4 * toybox.STICK_RADIUS * toybox.STICK_HALF + math.pi * toybox.STICK_RADIUS**2
    kit = 4 * (sticks + math.pi * toybox.BEAD_RADIUS**2)
    assert (means / kit - 1).abs().max() < 0.04
    assert whole.double().mean() > 0.6


def knn_accuracy(x, y, **options):
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(**options).fit(x[:TRAIN], y[:TRAIN])
    return model.score(x[TRAIN:], y[TRAIN:])


def test_pixels_and_colours_do_not_solve_it(box):
    pytest.importorskip("sklearn")
    images, labels = box[0], box[1].numpy()
    pixels = images.flatten(1).float().numpy() / 255
    centred = pixels - pixels[:TRAIN].mean(0)
    for x in (pixels, centred):
        weights = lambda d: np.exp((1 - d) / 0.1)  # noqa: E731
        assert knn_accuracy(x, labels, n_neighbors=20, metric="cosine", weights=weights) < 0.40
    assert knn_accuracy(pixels, labels, n_neighbors=10) < 0.40
    bins = (images.long() // 32 * torch.tensor([64, 8, 1]).view(1, 3, 1, 1)).sum(1).flatten(1)
    colours = torch.zeros(len(bins), 512).scatter_add_(1, bins, torch.ones(bins.shape)).numpy()
    assert knn_accuracy(colours, labels, n_neighbors=20) < 0.20
    # The oracle sees what there is to see: told the class of a picture, it finds it.
    told = np.eye(10, dtype=np.float32)[labels]
    assert knn_accuracy(told, labels, n_neighbors=20) == 1.0


@pytest.mark.parametrize("side", [16, 33, 96])
def test_other_sides(side):
    images, _, _, masks = toybox.draw(3, seed=2, side=side)
    assert images.shape == (3, 3, side, side) and masks.shape == (3, side, side)
    assert 0.05 < masks.double().mean() < 0.3


@pytest.mark.parametrize(
    "name, bad",
    [("n", 0), ("n", -3), ("n", 2.5), ("n", True), ("seed", -1), ("seed", "x"), ("seed", 2**63)]
    + [("side", 15), ("side", 513), ("side", None)],
)
def test_bad_input_is_named(name, bad):
    given = {"n": 4, "seed": 0, "side": 32, name: bad}
    with pytest.raises(InputError, match=name) as error:
        toybox.draw(**given)
    assert repr(bad) in str(error.value)
