"""Maps: features of many dimensions laid out in the plane. Something is always lost; know what.

    pca     a projection: exact, the same every time. What overlaps may be apart in other directions.
    tsne    keeps neighbours together. Distances between groups, and their sizes, mean little.
    umap    the same idea from another side; a seed makes it repeatable, on a single thread.

A map is no measurement: neighbours and accuracies are computed in the features (`knn`).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import InputError, unknown
from ..core.files import write_atomically
from .knn import nearest_neighbours

PERPLEXITY = 30.0  # scikit-learn's default
# The library's own choice for small sets is 500. Measured on 1,500 points in 128 dimensions: trustworthiness
# 0.961 after 200, 0.962 after 500
UMAP_EPOCHS = 200
POINTS = 2000  # pictures on a map: more hide one another, and t-SNE takes ten seconds already (measured)


def check(features: Tensor, least: int, what: str) -> Tensor:
    """Features (N, D) as finite float32 on the CPU, at least `least` rows."""
    x = torch.as_tensor(features).detach().float().cpu()
    if x.ndim != 2 or len(x) < least:
        raise InputError(f"{what} takes features (N, D) with N >= {least}; got shape {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise InputError(f"{what}: some features are not finite: the encoder diverged or the file is damaged")
    return x


def subsample(count: int, most: int = POINTS, seed: int = 0) -> Tensor:
    """Positions of at most `most` of `count` pictures, drawn without repeats, ascending: int64 (M,)."""
    if most < 1:
        raise InputError(f"a map needs at least one point; got most={most}")
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return drawn[:most].sort().values


def pca(features: Tensor, d: int = 2) -> Tensor:
    """The d directions of most variance: float32 (N, d). An axis' largest weight is positive."""
    x = check(features, 2, "pca")
    if not 1 <= d <= min(x.shape):
        raise InputError(f"pca to {d} dimensions needs as many rows and columns; got {tuple(x.shape)}")
    x = (x - x.mean(dim=0)).double()
    directions = torch.linalg.svd(x, full_matrices=False).Vh[:d]  # (d, D)
    largest = directions.abs().argmax(dim=1, keepdim=True)
    directions = directions * directions.gather(1, largest).sign()  # a singular vector's sign is free: fix it
    return (x @ directions.T).float()  # (N, D) -> (N, d)


def tsne(features: Tensor, seed: int = 0, perplexity: float = PERPLEXITY) -> Tensor:
    """t-SNE of the L2-normalised features (scikit-learn, from PCA): float32 (N, 2). Needs N > perplexity."""
    from sklearn.manifold import TSNE

    x = F.normalize(check(features, 3, "tsne"), dim=1)
    if not 0 < perplexity < len(x):
        raise InputError(f"t-SNE's perplexity must be between 0 and {len(x)} (pictures); got {perplexity}")
    made = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    return torch.from_numpy(made.fit_transform(x.numpy()))


def umap(
    features: Tensor, seed: int | None = None, n_neighbors: int = 15, min_dist: float = 0.1, start: Tensor | None = None
) -> Tensor:
    """UMAP under cosine distance (umap-learn): float32 (N, 2). Without a seed, different every time.

    It is given our exact neighbours, which spares it a search and more than half of its compiling, and
    starts from PCA, or from the places `start` (N, 2) of an earlier map, so that one can be followed into the other.
    Needs N > n_neighbors.
    """
    if importlib.util.find_spec("umap") is None:
        raise InputError(
            "UMAP needs umap-learn, which is not installed: `pip install umap-learn`; or take kind='pca' or kind='tsne'"
        )
    try:
        from umap import UMAP
    except ImportError as error:  # the index has another package named umap; or numba refuses this NumPy
        raise InputError(
            f"umap-learn cannot be imported ({error}): `pip uninstall umap`, then "
            "`pip install -U umap-learn`; or take kind='pca' or kind='tsne'"
        ) from error
    x = F.normalize(check(features, 4, "umap"), dim=1)
    if not 2 <= n_neighbors < len(x):
        raise InputError(f"UMAP's n_neighbors must be from 2 to pictures - 1 = {len(x) - 1}; got {n_neighbors}")
    similarity, index = nearest_neighbours(x, x, n_neighbors - 1, exclude_self=True)
    own = torch.arange(len(x))[:, None]  # umap-learn counts a point as its own first neighbour
    index = torch.cat([own, index], dim=1)  # (N, k)
    distance = torch.cat([torch.zeros(len(x), 1), (1 - similarity).clamp(min=0)], dim=1)  # (N, k)
    with warnings.catch_warnings():
        # about placing new points later, which we don't
        warnings.filterwarnings("ignore", message=r"precomputed_knn\[2\]")
        return torch.from_numpy(
            UMAP(
                n_neighbors=n_neighbors,
                min_dist=min_dist,
                metric="cosine",
                n_epochs=UMAP_EPOCHS,
                init="pca" if start is None else start.numpy().copy(),
                random_state=seed,
                n_jobs=-1 if seed is None else 1,  # what a seed forces anyway, said before it has to warn
                precomputed_knn=(index.int().numpy(), distance.numpy(), None),
                force_approximation_algorithm=True,  # has it take the neighbours given, at any N
            ).fit_transform(x.numpy())
        )


KINDS: dict[str, Callable[..., Tensor]] = {"pca": pca, "tsne": tsne, "umap": umap}
NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}  # as they are written
LIBRARIES = {"pca": "torch", "tsne": "scikit-learn", "umap": "umap-learn"}


def compute_layout(
    features: Tensor, kind: str = "pca", cache_dir: str | Path | None = None, **params: float | None
) -> Tensor:
    """A map by name, float32 (N, 2) on the CPU; kept in `cache_dir` and read from there when asked again.

    The file is named by features, parameters and library version: change any, and the map is made anew.
    A map without a seed is kept too, as the one that happened to be drawn.
    """
    if kind not in KINDS:
        raise unknown("map", kind, KINDS)
    if cache_dir is None:
        return KINDS[kind](features, **params)
    x = check(features, 2, kind).contiguous()
    try:
        version = importlib.metadata.version(LIBRARIES[kind])
    except importlib.metadata.PackageNotFoundError:
        version = "none"  # a map that lies there already is still good
    key = json.dumps([kind, params, list(x.shape), version, UMAP_EPOCHS, torch.__version__], sort_keys=True)
    name = hashlib.sha256(key.encode() + x.numpy().tobytes()).hexdigest()[:20]
    path = Path(cache_dir) / f"{kind}-{name}.npy"
    if path.exists():
        return torch.from_numpy(np.load(path))
    points = KINDS[kind](x, **params)
    buffer = io.BytesIO()
    np.save(buffer, points.numpy())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())
    return points


def describe(kind: str, **params: float | None) -> str:
    """One line for under a map: what it is, and whether it can be had again."""
    if kind not in KINDS:
        raise unknown("map", kind, KINDS)
    if kind == "pca":
        return "PCA: exact, the same every time"
    if kind == "tsne":
        return f"t-SNE, perplexity {params.get('perplexity', PERPLEXITY):g}, seed {params.get('seed', 0)}"
    seed = params.get("seed")
    repeat = "no seed: different every time" if seed is None else f"seed {seed} (one thread)"
    shape = f"{params.get('n_neighbors', 15)} neighbours, min_dist {params.get('min_dist', 0.1)}"
    return f"UMAP, {shape}, {repeat}"


NEIGHBOURS = 8  # lines from a point, pictures in a strip (ours)
