"""kNN accuracy: the nearest labelled images (the feature bank) vote for the class of an image.

No training and nothing to tune, but k, the temperature and whether neighbours vote with weights all move the
number by points, and libraries differ in each. So a protocol is an object, and it is saved beside every
result.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import InputError, unknown

TRANSFORMS = ("raw", "centred", "whitened")
QUERIES_AT_ONCE = 512  # 512 x 50,000 similarities are 100 MB (ours)


@dataclass(frozen=True)
class KnnProtocol:
    """Cosine kNN on L2-normalised features.

    k: neighbours. temperature: a neighbour votes with exp(similarity / temperature). weighted: False lets all
    k votes count the same. transform: what is done to the features before, fitted on the bank alone (see
    `transformed`).
    """

    k: int = 200
    temperature: float = 0.1
    weighted: bool = True
    transform: str = "raw"

    def __post_init__(self) -> None:
        if self.k < 1 or not self.temperature > 0:
            raise InputError(f"kNN needs k >= 1 and temperature > 0; got k {self.k}, temperature {self.temperature}")
        if self.transform not in TRANSFORMS:
            raise unknown("feature transform", self.transform, TRANSFORMS)


KNN_DEFAULT = KnnProtocol()  # k 200, T 0.1: that of both published 200-epoch tables
KNN_20 = KnnProtocol(k=20)  # short runs on small banks: 200 neighbours reach beyond the class there
KNN_PLAIN = KnnProtocol(k=10, weighted=False)  # cheap, without a temperature to argue about


def check(features: Tensor, labels: Tensor, what: str, classes: int, every: bool = False) -> None:
    """Refuse features (N, D) and labels (N,) that do not fit; with `every`, also an empty class."""
    if features.ndim != 2 or len(features) != len(labels) or len(features) == 0:
        raise InputError(
            f"{what}: expected features (N, D) and as many labels; got {tuple(features.shape)} and {len(labels)} labels"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise InputError(f"{what}: expected labels from 0 to {classes - 1}; got {low} to {high}")
    if every and not (counts := labels.bincount(minlength=classes)).all():
        empty = [label for label, count in enumerate(counts.tolist()) if count == 0]
        raise InputError(
            f"{what}: {len(empty)} of {classes} classes have no picture, the first is class {empty[0]}; "
            "give at least one of each, or leave those classes out"
        )
    if not torch.isfinite(features).all():
        raise InputError(f"{what}: some features are not finite numbers; the encoder has diverged or the file is damaged")


def transformed(bank: Tensor, queries: Tensor, transform: str) -> tuple[Tensor, Tensor]:
    """Both sets of features (., D) under one transform that was fitted on the bank alone.

    raw: as they are. centred: less the bank's mean. whitened: centred, then rotated and scaled to unit
    variance in every direction that carries any (PCA whitening; directions below a millionth of the largest
    variance are left out).
    """
    if transform == "raw":
        return bank, queries
    mean = bank.mean(dim=0)
    bank, queries = bank - mean, queries - mean
    if transform == "centred":
        return bank, queries
    scatter = sum(part.T @ part for part in (rows.double() for rows in bank.split(4096)))  # (D, D)
    variances, directions = torch.linalg.eigh(scatter / len(bank))  # (D,) rising, (D, D)
    kept = variances > 1e-6 * variances[-1]
    whiten = (directions[:, kept] / variances[kept].sqrt()).to(bank.dtype)  # (D, D')
    return bank @ whiten, queries @ whiten


@torch.no_grad()
def nearest_neighbours(queries: Tensor, bank: Tensor, k: int, exclude_self: bool = False) -> tuple[Tensor, Tensor]:
    """The k rows of the bank (N, D) nearest to each query (M, D) by cosine: similarities and positions, (M, k) each.

    Nearest first. Of equally near rows the earlier in the bank comes first, also where only some of them fit
    into k: `topk` alone leaves that open, and a collapsed encoder or a doubled picture makes it matter.
    exclude_self: the queries are the bank, and no row is its own neighbour. Exact; memory is bounded by
    `QUERIES_AT_ONCE` rows of similarities.
    """
    most = len(bank) - exclude_self
    if not 1 <= k <= most:
        raise InputError(f"kNN asks for {k} neighbours of a bank of {len(bank)}; use 1 <= k <= {most}")
    bank, queries = F.normalize(bank, dim=1), F.normalize(queries, dim=1)
    similarities, positions = [], []
    for start, chunk in zip(range(0, len(queries), QUERIES_AT_ONCE), queries.split(QUERIES_AT_ONCE), strict=True):
        similarity = chunk @ bank.T  # (m, D), (D, N) -> (m, N)
        if exclude_self:
            similarity.diagonal(start).fill_(-2.0)  # below any cosine
        top, index = similarity.topk(min(k + 1, len(bank)), dim=1)  # (m, k + 1)
        index, edge = index[:, :k], top[:, k - 1 : k]  # (m, k), (m, 1)
        tied = (top[:, k:] == edge).any(1).nonzero()[:, 0]  # rows whose last neighbour has equals outside
        if len(tied):
            row, edge = similarity[tied], edge[tied]
            nearer, equal = row > edge, row == edge
            room = k - nearer.sum(dim=1, keepdim=True)
            keep = nearer | (equal & (equal.cumsum(dim=1) <= room))  # exactly k a row
            index[tied] = keep.nonzero()[:, 1].view(-1, k)
        index = index.sort(dim=1).values
        top = similarity.gather(1, index)  # (m, k)
        order = top.argsort(dim=1, descending=True, stable=True)
        similarities.append(top.gather(1, order))
        positions.append(index.gather(1, order))
    return torch.cat(similarities), torch.cat(positions)


@torch.no_grad()
def vote(
    similarity: Tensor, neighbour_labels: Tensor, truth: Tensor, protocol: KnnProtocol, classes: int
) -> dict[str, float]:
    """Top-1 and top-5 accuracy (0 to 1) when each query's first k neighbours (M, at least k) vote.

    Equal votes go to the class of lower number; so do classes without a vote that are needed to fill the top
    five.
    """
    similarity, labels = similarity[:, : protocol.k].double(), neighbour_labels[:, : protocol.k]
    # Less the largest: the same ranking, and no overflow at a small temperature. In float64, so that the
    # order in which a GPU adds the votes up does not show.
    weight = ((similarity - similarity[:, :1]) / protocol.temperature).exp()
    weight = weight if protocol.weighted else torch.ones_like(weight)
    votes = weight.new_zeros(len(weight), classes).scatter_add_(1, labels, weight)  # (M, k) -> (M, classes)
    return accuracy(votes, truth)


def accuracy(scores: Tensor, truth: Tensor) -> dict[str, float]:
    """Top-1 and top-5 accuracy (0 to 1) of scores (M, classes). With five classes or fewer, top-5 is 1."""
    ranking = scores.argsort(dim=1, descending=True, stable=True)[:, :5]  # (M, classes) -> (M, 5)
    hits = ranking == truth[:, None]
    return {"top1": hits[:, 0].double().mean().item(), "top5": hits.any(1).double().mean().item()}


def knn(
    bank: Tensor, bank_labels: Tensor, queries: Tensor, query_labels: Tensor, protocol: KnnProtocol, classes: int
) -> dict[str, float]:
    """Top-1 and top-5 accuracy (0 to 1) of `queries` (M, D) among the labelled `bank` (N, D). Ties: see the
    two halves.

    A class missing from the bank is not an error here (the training monitor's bank is a sample); its queries
    are missed.
    """
    check(bank, bank_labels, "kNN bank", classes)
    check(queries, query_labels, "kNN queries", classes)
    bank, queries = transformed(bank, queries, protocol.transform)
    similarity, index = nearest_neighbours(queries, bank, protocol.k)
    return vote(similarity, bank_labels[index], query_labels, protocol, classes)
