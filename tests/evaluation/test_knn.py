"""kNN protocols against a slow loop and scikit-learn; ties; feature transforms."""

import math

import pytest
import torch
from conftest import clouds
from oracles import cosine, slow_knn

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.evaluation import knn
from mnclglf_lite.evaluation.knn import KnnProtocol


@pytest.mark.parametrize("k, temperature", [(20, 0.1), (50, 0.07), (10, None)])
def test_knn_is_the_slow_loop(k, temperature, monkeypatch):
    monkeypatch.setattr(knn, "QUERIES_AT_ONCE", 32)  # 80 queries: two whole chunks and a half
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


@pytest.mark.parametrize("k", [1, 3, 5, 8, 11, 12])
def test_equally_near_pictures_come_in_the_banks_order(k):
    # on the axes every similarity is exactly 0 or 1; the three queries have 4, 8 and no equals in front
    axis = torch.tensor([1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 1, 1])
    bank, queries = torch.eye(3)[axis], torch.eye(3)
    similarity, index = knn.nearest_neighbours(queries, bank, k)
    for query in range(3):
        slow = sorted(range(12), key=lambda place: (int(axis[place]) != query, place))[:k]
        assert index[query].tolist() == slow
        assert similarity[query].tolist() == [float(axis[place] == query) for place in slow]


@pytest.mark.parametrize("exclude_self", [False, True])
def test_nearest_neighbours_are_those_of_a_double_loop(exclude_self, monkeypatch):
    monkeypatch.setattr(knn, "QUERIES_AT_ONCE", 16)  # 40 rows: two whole chunks and a half
    x, _ = clouds(40)
    similarity, index = knn.nearest_neighbours(x, x, 5, exclude_self)
    for i, row in enumerate(x.tolist()):
        expected = sorted(((cosine(row, other), j) for j, other in enumerate(x.tolist()) if j != i or not exclude_self))
        assert index[i].tolist() == [j for _, j in expected[:-6:-1]]
        assert similarity[i].tolist() == pytest.approx([c for c, _ in expected[:-6:-1]], abs=1e-5)


def test_no_row_is_its_own_neighbour_even_among_doubles():
    index = knn.nearest_neighbours(torch.ones(1500, 4), torch.ones(1500, 4), 3, exclude_self=True)[1]
    assert index[:5].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2]]
    assert not (index == torch.arange(1500)[:, None]).any()


def test_a_collapsed_encoder_scores_chance_and_always_the_same():
    bank, labels = torch.ones(300, 6), torch.arange(300) % 10
    assert torch.equal(knn.nearest_neighbours(bank[:4], bank, 20)[1], torch.arange(20).expand(4, 20))
    assert knn.knn(bank, labels, bank, labels, KnnProtocol(k=20), 10) == {"top1": 0.1, "top5": 0.5}


def test_a_longer_search_serves_smaller_protocols():
    bank, labels = clouds(400, classes=8)
    queries, truth = clouds(80, classes=8, seed=1)
    similarity, index = knn.nearest_neighbours(queries, bank, 200)
    for protocol in (knn.KNN_20, knn.KNN_PLAIN):
        alone = knn.knn(bank, labels, queries, truth, protocol, 8)
        assert knn.vote(similarity, labels[index], truth, protocol, 8) == alone


def test_the_coldest_temperature_asks_the_nearest_neighbour():
    bank, labels = clouds(400)
    queries, truth = clouds(80, seed=1)
    nearest = knn.knn(bank, labels, queries, truth, KnnProtocol(k=1), 4)["top1"]
    assert knn.knn(bank, labels, queries, truth, KnnProtocol(k=50, temperature=1e-4), 4)["top1"] == nearest


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


def test_centring_and_the_protocols_own_transform():
    bank, labels = clouds(400, classes=8)
    queries, truth = clouds(200, classes=8, seed=1)
    bank, queries = ((x + 2) * torch.tensor([1, 1, 1, 1, 1, 9]) for x in (bank, queries))
    a, b = knn.transformed(bank, queries, "centred")
    torch.testing.assert_close(a.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(b, queries - bank.mean(0))
    found = {}
    for transform in knn.TRANSFORMS:
        found[transform] = knn.knn(bank, labels, queries, truth, KnnProtocol(k=20, transform=transform), 8)
        a, b = knn.transformed(bank, queries, transform)
        assert found[transform] == knn.knn(a, labels, b, truth, KnnProtocol(k=20), 8)
    assert len({tuple(accuracy.values()) for accuracy in found.values()}) == 3  # the transforms do differ here


def test_whitening_leaves_out_directions_that_carry_nothing():
    bank, _ = clouds(300)
    wide = torch.cat([bank, bank[:, :2], torch.zeros(300, 3)], 1)  # two copies and three dead coordinates
    assert knn.transformed(wide, wide, "whitened")[0].shape == (300, 6)


def test_knn_refuses_what_cannot_be():
    bank, labels = clouds(30)
    for k, alone in ((0, False), (31, False), (30, True)):
        with pytest.raises(InputError, match=f"asks for {k} neighbours of a bank of 30; use 1 <= k <= {30 - alone}"):
            knn.nearest_neighbours(bank, bank, k, exclude_self=alone)
    for call, words in (
        (lambda: knn.knn(bank, labels, bank, labels, KnnProtocol(), 4), "200 neighbours of a bank of 30"),
        (lambda: knn.knn(bank, labels[:-1], bank, labels, KnnProtocol(k=3), 4), "as many labels"),
        (lambda: knn.knn(bank, labels, bank[:0], labels[:0], KnnProtocol(k=3), 4), "as many labels"),
        (lambda: knn.knn(bank, labels, bank, labels, KnnProtocol(k=3), 3), "labels from 0 to 2; got 0 to 3"),
        (lambda: knn.knn(bank * math.nan, labels, bank, labels, KnnProtocol(k=3), 4), "not finite"),
        (lambda: KnnProtocol(transform="white"), "did you mean 'whitened'"),
        (lambda: KnnProtocol(temperature=0.0), "temperature > 0"),
    ):
        with pytest.raises(InputError, match=words):
            call()
