import importlib.machinery
import sys
import types
import warnings

import numpy as np
import pytest
import torch

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.evaluation import layouts
from mnclglf_lite.evaluation.layouts import compute_layout, subsample


def groups(n=120, d=16, noise=0.3, seed=0):
    """n points in three groups, and which group each is of."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % 3
    centre = torch.randn(3, d, generator=generator)
    return centre[label] + noise * torch.randn(n, d, generator=generator), label


def keeps_groups(points, label):
    """Share of points whose nearest neighbour on the map is of their own group."""
    distance = torch.cdist(points, points).fill_diagonal_(torch.inf)
    return (label[distance.argmin(1)] == label).float().mean().item()


def test_pca_is_scikit_learns():
    decomposition = pytest.importorskip("sklearn.decomposition")
    x, _ = groups()
    expected = decomposition.PCA(3, svd_solver="full").fit_transform(x.double().numpy())
    ours = layouts.pca(x, 3).numpy()
    expected *= np.sign((expected * ours).sum(0))  # the sign is a convention; ours is tested below
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_pca_points_where_its_largest_weight_is_positive():
    x = torch.tensor([[-3.0, 0.1], [0.0, -0.2], [3.0, 0.1]])
    assert layouts.pca(x)[:, 0].tolist() == pytest.approx([-3, 0, 3], abs=1e-5)
    assert torch.equal(layouts.pca(x), layouts.pca(x.clone()))


def test_tsne_keeps_groups_together_and_repeats():
    pytest.importorskip("sklearn")
    x, label = groups(90)
    points = layouts.tsne(x, seed=1)
    assert points.shape == (90, 2) and points.dtype == torch.float32
    assert keeps_groups(points, label) > 0.95
    assert torch.equal(points, layouts.tsne(x, seed=1))


def test_umap_keeps_groups_repeats_with_a_seed_and_does_not_warn():
    pytest.importorskip("umap")
    x, label = groups()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        points = layouts.umap(x, seed=0, n_neighbors=10)
        assert torch.equal(points, layouts.umap(x, seed=0, n_neighbors=10))
        free = layouts.umap(x, n_neighbors=10)
    assert points.shape == (120, 2) and points.dtype == torch.float32
    assert keeps_groups(points, label) > 0.95 and keeps_groups(free, label) > 0.95


def test_umap_that_starts_from_a_map_stays_near_it():
    """Started from a mirror image of a map it ends as the mirror image, and leaves what it was given as it was."""
    pytest.importorskip("umap")
    x, _ = groups()
    points = layouts.umap(x, seed=0, n_neighbors=10)
    for start in (points, points * torch.tensor([-1.0, 1.0])):
        before = start.clone()
        found = layouts.umap(x, seed=0, n_neighbors=10, start=start)
        assert torch.equal(start, before)
        for axis in (0, 1):
            assert torch.corrcoef(torch.stack([start[:, axis], found[:, axis]]))[0, 1] > 0.9


def test_umap_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(layouts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install umap-learn"):
        layouts.umap(groups()[0])


def test_importing_maps_imports_no_heavy_library():
    import subprocess

    heavy = "{'umap', 'numba', 'sklearn', 'matplotlib'}"
    code = f"import sys, mnclglf_lite.evaluation.layouts; print({heavy} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


def test_layout_is_read_back_from_the_cache(tmp_path, monkeypatch):
    x, _ = groups()
    calls = []
    monkeypatch.setitem(layouts.KINDS, "pca", lambda x, **p: calls.append(p) or layouts.pca(x, **p))
    first = compute_layout(x, "pca", tmp_path)
    assert torch.equal(first, layouts.pca(x))
    assert torch.equal(compute_layout(x.clone(), "pca", tmp_path), first) and len(calls) == 1
    changed = x.clone()
    changed[3, 3] += 1
    compute_layout(changed, "pca", tmp_path)  # other features
    assert compute_layout(x, "pca", tmp_path, d=3).shape == (120, 3)  # other parameters
    assert len(calls) == 3 and len(list(tmp_path.iterdir())) == 3


def test_another_package_named_umap_says_which_one_is_meant(monkeypatch):
    impostor = types.ModuleType("umap")
    impostor.__spec__ = importlib.machinery.ModuleSpec("umap", None)
    monkeypatch.setitem(sys.modules, "umap", impostor)
    with pytest.raises(InputError, match="pip install -U umap-learn"):
        layouts.umap(groups()[0])


def test_cap_draws_without_repeats_the_same_every_time():
    index = subsample(100, 30)
    assert len(index.unique()) == 30 and (index.diff() > 0).all() and index.max() < 100
    assert torch.equal(index, subsample(100, 30)) and not torch.equal(index, subsample(100, 30, seed=1))
    assert torch.equal(subsample(20), torch.arange(20))


def test_layout_without_a_cache_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compute_layout(groups()[0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda x: compute_layout(x, "umpa"), "did you mean 'umap'"),
        (lambda x: layouts.pca(x[0]), r"got shape \(16,\)"),
        (lambda x: layouts.pca(x, 17), "17 dimensions"),
        (lambda x: layouts.pca(x * torch.nan), "not finite"),
        (lambda x: layouts.tsne(x[:20]), "perplexity"),
        (lambda x: layouts.umap(x[:10]), "n_neighbors"),
    ],
)
def test_bad_input(call, words):
    if "n_neighbors" in words:
        pytest.importorskip("umap")
    with pytest.raises(InputError, match=words):
        call(groups()[0])


def test_describe_says_whether_it_is_repeatable():
    assert "no seed" in layouts.describe("umap")
    assert "seed 3" in layouts.describe("umap", seed=3) and "one thread" in layouts.describe("umap", seed=3)
    assert "perplexity 30" in layouts.describe("tsne")
