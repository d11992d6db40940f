"""Protocols against slow loops and scikit-learn; and the promise that looking changes nothing."""

import math

import pytest
import torch
from conftest import cosine, tiny

from mnclglf_lite import evaluate, gauges, knn, paper_probe, probes
from mnclglf_lite.errors import InputError
from mnclglf_lite.knn import KnnProtocol
from mnclglf_lite.methods import build


def clouds(n=300, d=6, classes=4, seed=0, dtype=torch.float32):
    """Labelled features with overlapping classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    centres = torch.randn(classes, d, generator=torch.Generator().manual_seed(99))
    return (centres[labels] + 1.2 * torch.randn(n, d, generator=generator)).to(dtype), labels


# --- kNN ---------------------------------------------------------------------------------------------------------------


def slow_knn(bank, bank_labels, queries, query_labels, k, temperature, classes):
    first = five = 0
    for query, truth in zip(queries.tolist(), query_labels.tolist(), strict=True):
        scored = sorted(((cosine(query, row), label) for row, label in zip(bank.tolist(), bank_labels.tolist(), strict=True)))
        votes = [0.0] * classes
        for similarity, label in scored[-k:]:
            votes[label] += math.exp(similarity / temperature) if temperature else 1.0
        ranking = sorted(range(classes), key=lambda c: (-votes[c], c))
        first, five = first + (ranking[0] == truth), five + (truth in ranking[:5])
    return {"top1": first / len(queries), "top5": five / len(queries)}


@pytest.mark.parametrize("k, temperature", [(20, 0.1), (50, 0.07), (10, None)])
def test_knn_is_the_slow_loop(k, temperature):
    bank, labels = clouds(400, classes=8, dtype=torch.float64)
    queries, truth = clouds(80, classes=8, seed=1, dtype=torch.float64)
    protocol = KnnProtocol(k, temperature or 0.1, weighted=temperature is not None)
    fast = knn.knn(bank, labels, queries, truth, protocol, 8)
    assert fast == slow_knn(bank, labels, queries, truth, k, temperature, 8)
    assert 0.2 < fast["top1"] < 0.95 < fast["top5"] < 1  # the case is neither trivial nor hopeless


def test_plain_knn_is_scikit_learns():
    neighbors = pytest.importorskip("sklearn.neighbors")
    bank, labels = clouds(500)
    queries, truth = clouds(200, seed=1)
    theirs = neighbors.KNeighborsClassifier(10, metric="cosine").fit(bank, labels).score(queries, truth)
    assert knn.knn(bank, labels, queries, truth, knn.KNN_PLAIN, 4)["top1"] == pytest.approx(theirs)


def test_whitening_is_scikit_learns_and_fitted_on_the_bank_alone():
    decomposition = pytest.importorskip("sklearn.decomposition")
    bank, _ = clouds(500, dtype=torch.float64)
    queries, _ = clouds(50, seed=1, dtype=torch.float64)
    ours = knn.transformed(bank, queries, "whitened")
    pca = decomposition.PCA(whiten=True).fit(bank)
    for mine, theirs in zip(ours, (pca.transform(bank), pca.transform(queries)), strict=True):
        theirs = torch.from_numpy(theirs) * math.sqrt(500 / 499)  # scikit-learn divides by N - 1
        torch.testing.assert_close(mine @ mine.T, theirs @ theirs.T)  # equal up to signs and order of the axes
    assert torch.equal(knn.transformed(bank, 5 * queries, "whitened")[0], ours[0])


def test_knn_refuses_what_cannot_be():
    bank, labels = clouds(30)
    with pytest.raises(InputError, match="200 neighbours of a bank of 30"):
        knn.knn(bank, labels, bank, labels, KnnProtocol(), 4)
    with pytest.raises(InputError, match="as many labels"):
        knn.knn(bank, labels[:-1], bank, labels, KnnProtocol(k=3), 4)
    with pytest.raises(InputError, match="not finite"):
        knn.knn(bank * float("nan"), labels, bank, labels, KnnProtocol(k=3), 4)
    with pytest.raises(InputError, match="did you mean 'whitened'"):
        KnnProtocol(transform="white")


# --- probes ------------------------------------------------------------------------------------------------------------


def test_linear_probe_is_scikit_learns_regression():
    linear = pytest.importorskip("sklearn.linear_model")
    train, labels = clouds(600)
    test, truth = clouds(300, seed=1)
    protocol = probes.LinearProtocol(l2=1e-2)
    x, queries = probes.standardised(train, test)
    weight, bias = probes.fit_linear(x, labels, 4, protocol)
    theirs = linear.LogisticRegression(C=1 / (protocol.l2 * len(x)), tol=1e-8, max_iter=1000).fit(x.double(), labels)
    torch.testing.assert_close(weight.double(), torch.from_numpy(theirs.coef_), atol=2e-3, rtol=0)
    got = probes.linear_probe(train, labels, test, truth, 4, protocol)
    assert got["top1"] == pytest.approx(theirs.score(queries.double(), truth), abs=0.004)
    assert got["top5"] == 1.0  # there are only four classes


def test_ridge_is_scikit_learns():
    linear = pytest.importorskip("sklearn.linear_model")
    x, _ = clouds(400, dtype=torch.float64)
    q, _ = clouds(100, seed=1, dtype=torch.float64)
    target, truth = (torch.stack([f[:, 0].sin() + f[:, 1], f[:, 2]], 1) for f in (x, q))
    a, b = probes.standardised(x, q)
    model = linear.Ridge(alpha=0.1 * len(a)).fit(a, target)
    error = (truth - torch.from_numpy(model.predict(b))).square().sum()
    expected = 1 - error / (truth - truth.mean(0)).square().sum()
    assert probes.ridge_r2(x, target, q, truth, l2=0.1) == pytest.approx(float(expected), abs=1e-6)


def test_factor_probe_reads_what_is_there_and_nothing_that_is_not():
    generator = torch.Generator().manual_seed(0)
    angle, noise = torch.rand(800, generator=generator) * 360, torch.rand(800, generator=generator)
    kind = torch.randint(3, (800,), generator=generator)
    x = torch.stack([angle.deg2rad().sin(), angle.deg2rad().cos(), (kind == 0).float(), (kind == 1).float()], 1)
    factors = {"angle": angle, "noise": noise, "kind": kind}
    first, last = ({k: v[part] for k, v in factors.items()} for part in (slice(0, 600), slice(600, None)))
    found = probes.factor_probe(x[:600], first, x[600:], last, {"angle": 360.0})
    assert found["angle"]["value"] > 0.99 and abs(found["noise"]["value"]) < 0.1 and found["kind"]["value"] == 1.0
    assert found["kind"]["chance"] == pytest.approx(kind[:600].bincount().max().item() / 600)
    assert probes.factor_probe(x[:600], first, x[600:], last, {})["angle"]["value"] < 0.9  # a circle is no line


def test_few_labels_are_balanced_and_the_curve_rises():
    train, labels = clouds(2000)
    test, truth = clouds(500, seed=1)
    index = probes.few_labels(labels, 7, 4, seed=3)
    assert labels[index].bincount().tolist() == [7] * 4 and len(index.unique()) == 28
    curve = probes.few_label_curve(train, labels, test, truth, 4, each=(1, 100))
    assert len(set(curve[1])) > 1 and sum(curve[100]) > sum(curve[1])
    with pytest.raises(InputError, match="600 labels a class"):
        probes.few_labels(labels, 600, 4, 0)


def test_lars_is_the_published_update():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 4, dtype=torch.float64, generator=generator)
    bias = torch.zeros(3, dtype=torch.float64)
    params, speed = [weight.clone(), bias.clone()], [torch.zeros_like(weight), torch.zeros_like(bias)]
    slow = [[*weight.flatten().tolist()], [0.0] * 3]
    velocity = [[0.0] * 12, [0.0] * 3]
    for _ in range(3):
        for i, p in enumerate(params):
            p.grad = torch.randn(p.shape, dtype=p.dtype, generator=generator)
            g = p.grad.flatten().tolist()
            lengths = [math.sqrt(sum(v * v for v in row)) for row in (slow[i], g)]
            local = 0.001 * lengths[0] / lengths[1] if lengths[0] > 0 and lengths[1] > 0 else 1.0
            velocity[i] = [0.9 * v + 0.8 * local * s for v, s in zip(velocity[i], g, strict=True)]
            slow[i] = [w - v for w, v in zip(slow[i], velocity[i], strict=True)]
        paper_probe.lars_(params, speed, 0.8, 0.9, 0.001)
    for p, row in zip(params, slow, strict=True):
        assert p.flatten().tolist() == pytest.approx(row, rel=1e-12)


# --- gauges ------------------------------------------------------------------------------------------------------------


def test_gauges_have_their_closed_values():
    even = torch.randn(4000, 32, generator=torch.Generator().manual_seed(0))
    assert gauges.spread(even).item() == pytest.approx(1, abs=0.02)
    assert gauges.effective_rank(even).item() == pytest.approx(32, abs=0.2)
    same = torch.ones(50, 32)
    assert gauges.spread(same).item() == pytest.approx(0, abs=1e-6)
    assert gauges.effective_rank(same).item() == pytest.approx(1, abs=1e-3)
    assert gauges.effective_rank(torch.eye(8)).item() == pytest.approx(8, abs=1e-3)
    a = torch.eye(4)
    assert gauges.alignment(a, 3 * a).item() == 0
    assert gauges.alignment(a, a.roll(1, 0)).item() == pytest.approx(2)
    assert gauges.uniformity(a).item() == pytest.approx(-4)  # all distances squared are 2
    assert gauges.uniformity(torch.ones(5, 3)).item() == pytest.approx(0)


# --- the encoder is only looked at -------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_changes_no_byte_of_the_encoder(training, toys):
    method = build(tiny(), 10).train(training)
    method.backbone.bn1.eval()  # one module in another mode than the rest
    state = {k: v.clone() for k, v in method.state_dict().items()}
    modes = [m.training for m in method.modules()]
    evaluate.evaluate(method.backbone, toys, "test")
    paper_probe.paper_probe(
        method.backbone, toys.train, toys.test, paper_probe.PaperProtocol(epochs=2, test_every=1), log=lambda text: None
    )
    evaluate.baselines(method.backbone, toys)
    assert [m.training for m in method.modules()] == modes
    assert all(torch.equal(state[k], v) for k, v in method.state_dict().items())
    assert all(p.grad is None for p in method.parameters())


def test_features_are_those_of_whole_pictures_in_eval_mode(toys):
    from mnclglf_lite import views

    backbone = build(tiny(), 10).backbone.train()
    found = evaluate.features(backbone, toys.test, batch=7)
    images = toys.test.images.double() / 255
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (views.MEAN, views.STD))
    expected = backbone.eval()(((images - mean) / std).float())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_random_encoder_is_judged_under_its_own_statistics(toys):
    backbone = build(tiny(), 10).backbone
    seen = evaluate.with_statistics(backbone, toys.train)
    x = seen.conv1(evaluate.views.plain(toys.train.images)).detach()
    torch.testing.assert_close(seen.bn1.running_mean, x.mean(dim=(0, 2, 3)), rtol=1e-3, atol=1e-4)
    assert torch.equal(backbone.bn1.running_mean, torch.zeros(8))


def test_a_result_holds_protocols_sizes_and_seconds_in_plain_json(toys):
    import json

    result = evaluate.evaluate(evaluate.Pixels(), toys, "test")
    assert json.loads(json.dumps(result)) == result
    assert result["bank"] == 320 and result["queries"] == 40 and result["dim"] == 768
    assert result["protocols"]["knn"] == {"k": 200, "temperature": 0.1, "weighted": True, "transform": "raw"}
    with pytest.raises(InputError, match="did you mean 'holdout'"):
        evaluate.evaluate(evaluate.Pixels(), toys, "hold-out")
    text = evaluate.table({"raw pixels": result}, markdown=True)
    assert text.count("\n") == 2 and text.splitlines()[2].startswith("| raw pixels |")


def test_paper_probe_reports_last_and_best_apart(toys):
    protocol = paper_probe.PaperProtocol(epochs=6, test_every=1, batch=64)
    result = paper_probe.paper_probe(evaluate.Thumbnails(4), toys.train, toys.test, protocol, log=lambda text: None)
    assert len(result["tests"]) == 6 and result["last"]["top1"] == result["tests"][-1]["top1"]
    assert result["best_on_test"]["top1"] == max(row["top1"] for row in result["tests"])
