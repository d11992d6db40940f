"""Probes against scikit-learn and slow loops; the paper's linear protocol."""

import math

import pytest
import torch
from conftest import clouds

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.data import dataset
from mnclglf_lite.evaluation import evaluate, paper_probe
from mnclglf_lite.evaluation.linear import (
    FEW_L2,
    LinearProtocol,
    factor_probe,
    few_label_curve,
    few_labels,
    fit_linear,
    linear_probe,
    ridge_r2,
    standardize,
)

QUIET = {"log": lambda text: None}


@pytest.mark.parametrize("l2", [1e-4, 1e-2, 1.0])
def test_linear_probe_is_scikit_learns_regression(l2):
    linear = pytest.importorskip("sklearn.linear_model")
    train, labels = clouds(600)
    test, truth = clouds(300, seed=1)
    # a near copy of every coordinate: here plain L-BFGS creeps
    train, test = (torch.cat([x, x + 0.01 * x.flip(1).square()], 1) for x in (train, test))
    protocol = LinearProtocol(l2=l2)
    x, queries = standardize(train, test)
    weight, bias = fit_linear(x, labels, 4, protocol)
    theirs = linear.LogisticRegression(C=1 / (l2 * len(x)), tol=1e-10, max_iter=10_000).fit(x.double(), labels)
    # 0.01: between near copies the loss is so flat that float32 tells their weights apart no better
    torch.testing.assert_close(weight.double(), torch.from_numpy(theirs.coef_), atol=1e-2, rtol=5e-3)
    centred = bias.double() - bias.double().mean()  # a shift of all biases changes nothing
    torch.testing.assert_close(centred, torch.from_numpy(theirs.intercept_), atol=5e-3, rtol=5e-3)
    got = linear_probe(train, labels, test, truth, 4, protocol)
    assert got["top1"] == pytest.approx(theirs.score(queries.double(), truth), abs=0.004)
    assert got["top5"] == 1.0  # there are only four classes


def test_top_five_is_counted():
    train, labels = clouds(600, classes=12)
    test, truth = clouds(240, classes=12, seed=1)
    x, queries = standardize(train, test)
    weight, bias = fit_linear(x, labels, 12, LinearProtocol())
    scores = (queries @ weight.T + bias).tolist()
    slow = sum(t in sorted(range(12), key=lambda c: -row[c])[:5] for row, t in zip(scores, truth.tolist(), strict=True))
    got = linear_probe(train, labels, test, truth, 12)
    assert got["top5"] == pytest.approx(slow / 240) and got["top1"] < got["top5"] < 1


def test_the_probe_is_the_same_every_time_and_ignores_scale_and_dead_coordinates():
    train, labels = clouds(400)
    test, truth = clouds(200, seed=1)
    first = linear_probe(train, labels, test, truth, 4)
    assert linear_probe(train, labels, test, truth, 4) == first
    scaled = [torch.cat([100 * x + 3, torch.full((len(x), 1), 0.7)], 1) for x in (train, test)]
    assert linear_probe(scaled[0], labels, scaled[1], truth, 4)["top1"] == pytest.approx(first["top1"], abs=0.005)


def test_a_coordinate_that_is_only_rounding_noise_becomes_zero():
    train, _ = clouds(400)
    noise = torch.where(torch.arange(400) % 2 == 0, 0.7, 0.7 + 1e-7)[:, None]
    x, queries = standardize(torch.cat([train, noise], 1), torch.cat([train + 1, noise + 1], 1))
    assert x[:, 6].abs().max() == 0 and queries[:, 6].abs().max() == 0
    torch.testing.assert_close(x[:, :6].std(0, unbiased=False), torch.ones(6))


def test_probes_refuse_what_cannot_be():
    train, labels = clouds(40)
    for call, words in (
        (lambda: linear_probe(train, labels, train, labels, 5), "1 of 5 classes have no picture, the first is class 4"),
        (lambda: linear_probe(train, labels, train, labels, 3), "labels from 0 to 2"),
        (lambda: linear_probe(train, labels, train / 0, labels, 4), "not finite"),
        (lambda: LinearProtocol(l2=0.0), "l2 > 0"),
        (lambda: paper_probe.PaperProtocol(epochs=0), "epochs"),
    ):
        with pytest.raises(InputError, match=words):
            call()


def test_few_labels_are_balanced_and_the_curve_rises():
    train, labels = clouds(2000)
    test, truth = clouds(500, seed=1)
    index = few_labels(labels, 7, 4, seed=3)
    assert labels[index].bincount().tolist() == [7] * 4 and len(index.unique()) == 28
    assert not torch.equal(index, few_labels(labels, 7, 4, seed=4))
    curve = few_label_curve(train, labels, test, truth, 4, each=(1, 100))
    assert list(curve) == [1, 100, 500]
    assert len(set(curve[1])) > 1 and sum(curve[100]) > sum(curve[1]) and len(curve[1]) == 3
    assert curve[500] == [linear_probe(train, labels, test, truth, 4)["top1"]]  # all: the table's own number
    assert few_label_curve(train, labels, test, truth, 4, each=(1, 100)) == curve
    with pytest.raises(InputError, match="600 labels a class"):
        few_label_curve(train, labels, test, truth, 4, each=(1, 600))


def test_few_labels_have_an_l2_of_their_own():
    train, labels = clouds(800, d=40, classes=8)
    test, truth = clouds(800, d=40, classes=8, seed=1)
    curve = few_label_curve(train, labels, test, truth, 8, each=(12,))

    def alone(protocol):
        drawn = [few_labels(labels, 12, 8, seed) for seed in range(3)]
        return [linear_probe(train[i], labels[i], test, truth, 8, protocol)["top1"] for i in drawn]

    assert curve[12] == alone(LinearProtocol(l2=FEW_L2))
    assert curve[12] != alone(LinearProtocol())


def test_ridge_is_scikit_learns():
    linear = pytest.importorskip("sklearn.linear_model")
    x, _ = clouds(400, dtype=torch.float64)
    q, _ = clouds(100, seed=1, dtype=torch.float64)
    target, truth = (torch.stack([f[:, 0].sin() + f[:, 1], f[:, 2]], 1) for f in (x, q))
    a, b = standardize(x, q)
    model = linear.Ridge(alpha=0.1 * len(a)).fit(a, target)
    error = (truth - torch.from_numpy(model.predict(b))).square().sum()
    expected = 1 - error / (truth - truth.mean(0)).square().sum()
    assert ridge_r2(x, target, q, truth, l2=0.1) == pytest.approx(float(expected), abs=1e-6)


def test_factor_probe_reads_what_is_there_and_nothing_that_is_not():
    generator = torch.Generator().manual_seed(0)
    angle, noise = torch.rand(800, generator=generator) * 360, torch.rand(800, generator=generator)
    kind = torch.randint(3, (800,), generator=generator)
    x = torch.stack([angle.deg2rad().sin(), angle.deg2rad().cos(), (kind == 0).float(), (kind == 1).float()], 1)
    factors = {"angle": angle, "noise": noise, "kind": kind}
    first, last = ({k: v[part] for k, v in factors.items()} for part in (slice(0, 600), slice(600, None)))
    found = factor_probe(x[:600], first, x[600:], last, {"angle": 360.0})
    assert found["angle"]["value"] > 0.99 and abs(found["noise"]["value"]) < 0.1 and found["kind"]["value"] == 1.0
    assert found["kind"]["chance"] == pytest.approx(kind[:600].bincount().max().item() / 600)
    assert factor_probe(x[:600], first, x[600:], last, {})["angle"]["value"] < 0.9  # a circle is no line


# --- the paper's linear protocol ------------------------------------------------------------------------


def test_lars_is_the_released_update():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 4, dtype=torch.float64, generator=generator)
    bias = torch.zeros(3, dtype=torch.float64)
    params, buffers = [weight.clone(), bias.clone()], [torch.zeros_like(weight), torch.zeros_like(bias)]
    slow = [[*weight.flatten().tolist()], [0.0] * 3]
    velocity = [[0.0] * 12, [0.0] * 3]
    for _ in range(3):
        for i, p in enumerate(params):
            p.grad = torch.randn(p.shape, dtype=p.dtype, generator=generator)
            g = p.grad.flatten().tolist()
            lengths = [math.sqrt(sum(v * v for v in row)) for row in (slow[i], g)]
            local = 0.001 * lengths[0] / lengths[1] if lengths[0] > 0 else 1.0
            velocity[i] = [0.9 * v + s for v, s in zip(velocity[i], g, strict=True)]  # the raw gradient, not the rate
            slow[i] = [w - 0.8 * local * v for w, v in zip(slow[i], velocity[i], strict=True)]
        paper_probe.lars_(params, buffers, 0.8, 0.9, 0.001)
    for p, row in zip(params, slow, strict=True):
        assert p.flatten().tolist() == pytest.approx(row, rel=1e-6)


def test_paper_probe_reports_last_and_best_apart(toys, monkeypatch):
    scripted = iter([(0.2, 0.9), (0.5, 0.6), (0.3, 0.7)])
    monkeypatch.setattr(paper_probe, "accuracy", lambda *_: dict(zip(("top1", "top5"), next(scripted), strict=True)))
    protocol = paper_probe.PaperProtocol(epochs=5, test_every=2, batch=64)
    lines = []
    result = paper_probe.paper_probe(evaluate.Thumbnails(4), toys.train, toys.test, protocol, log=lines.append)
    assert [row["epoch"] for row in result["tests"]] == [2, 4, 5]
    assert result["last"] == {"top1": 0.3, "top5": 0.7}
    assert result["best_on_test"] == {"top1": 0.5, "top5": 0.9}  # each on its own, as in the release
    assert len(lines) == 5 and all("left" in line for line in lines)
    assert ["top-1" in line for line in lines] == [False, True, False, True, True]


def flat_colours(n, side=8):
    """Pictures of one of three flat colours, stored class by class."""
    labels = torch.arange(n) * 3 // n
    colours = torch.tensor([[220, 30, 30], [30, 220, 30], [30, 30, 220]], dtype=torch.uint8)
    images = colours[labels][:, :, None, None].expand(-1, -1, side, side).contiguous()
    return dataset.ImageSet(images, labels, ("red", "green", "blue"), "flat", "train")


def test_paper_probe_learns_what_is_plain_to_see_and_sees_it_at_the_size_asked_for():
    seen = set()

    class Mean(torch.nn.Module):
        def forward(self, x):
            seen.add(tuple(x.shape[1:]))
            return x.mean(dim=(2, 3))

    protocol = paper_probe.PaperProtocol(epochs=24, batch=10, test_every=12)
    pictures = flat_colours(300)
    result = paper_probe.paper_probe(Mean(), pictures, pictures, protocol, size=10, **QUIET)
    assert result["last"] == {"top1": 1.0, "top5": 1.0}
    assert seen == {(3, 10, 10)}
    short = paper_probe.PaperProtocol(epochs=2, batch=10, test_every=1)
    first, again = (paper_probe.paper_probe(Mean(), pictures, pictures, short, **QUIET) for _ in range(2))
    assert first["tests"] == again["tests"]  # the seed decides everything
    with pytest.raises(InputError, match="no picture"):
        paper_probe.paper_probe(Mean(), pictures.subset(torch.arange(100)), pictures, protocol, **QUIET)
