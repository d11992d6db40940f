"""k nearest neighbours: what do the labelled pictures next to this one say?

No training and nothing to tune, but k, the temperature and whether neighbours vote with weights all move the number by
points, and libraries differ in each. So a protocol is an object, and it is saved beside every result.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import InputError, unknown

TRANSFORMS = ("raw", "centred", "whitened")


@dataclass(frozen=True)
class KnnProtocol:
    """Cosine kNN on L2-normalised features.

    k: neighbours. temperature: a neighbour votes with exp(similarity / temperature). weighted: False lets all k votes
    count the same. transform: what is done to the features before, fitted on the bank alone (see `transformed`).
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


def transformed(bank: Tensor, queries: Tensor, transform: str) -> tuple[Tensor, Tensor]:
    """Both sets of features (., D) under one transform that was fitted on the bank alone.

    raw: as they are. centred: less the bank's mean. whitened: centred, then rotated and scaled to unit variance in every
    direction that carries any (PCA whitening; directions below a millionth of the largest variance are left out).
    """
    if transform == "raw":
        return bank, queries
    mean = bank.mean(dim=0)
    bank, queries = bank - mean, queries - mean
    if transform == "centred":
        return bank, queries
    variances, directions = torch.linalg.eigh((bank.T.double() @ bank.double()) / len(bank))  # (D,), (D, D)
    kept = variances > 1e-6 * variances[-1]
    whiten = (directions[:, kept] / variances[kept].sqrt()).to(bank.dtype)  # (D, D')
    return bank @ whiten, queries @ whiten


def check(features: Tensor, labels: Tensor, what: str) -> None:
    """Refuse features and labels that do not belong together."""
    if features.ndim != 2 or len(features) != len(labels):
        raise InputError(
            f"{what}: expected features (N, D) and as many labels; got {tuple(features.shape)} and {len(labels)} labels"
        )
    if not torch.isfinite(features).all():
        raise InputError(f"{what}: some features are not finite numbers; the encoder has diverged or the file is damaged")


@torch.no_grad()
def knn(
    bank: Tensor, bank_labels: Tensor, queries: Tensor, query_labels: Tensor, protocol: KnnProtocol, classes: int
) -> dict[str, float]:
    """Top-1 and top-5 accuracy (0 to 1) of `queries` (M, D) among the labelled `bank` (N, D).

    Ties go to the class of lower number; top-5 asks whether the true class is among the five with most votes. Where there
    are five classes or fewer, top-5 is 1.
    """
    check(bank, bank_labels, "kNN bank")
    check(queries, query_labels, "kNN queries")
    if protocol.k > len(bank):
        raise InputError(f"kNN asks for {protocol.k} neighbours of a bank of {len(bank)}; use k <= {len(bank)}")
    bank, queries = transformed(bank, queries, protocol.transform)
    bank, queries = F.normalize(bank, dim=1), F.normalize(queries, dim=1)
    first, five = 0, 0
    for chunk, truth in zip(queries.split(512), query_labels.split(512), strict=True):
        similarity, index = (chunk @ bank.T).topk(protocol.k, dim=1)  # (m, N) -> (m, k)
        weight = (similarity / protocol.temperature).exp() if protocol.weighted else torch.ones_like(similarity)
        votes = similarity.new_zeros(len(chunk), classes).scatter_add_(1, bank_labels[index], weight)
        ranking = votes.argsort(dim=1, descending=True, stable=True)[:, :5]  # (m, classes) -> (m, 5)
        hits = ranking == truth[:, None]
        first, five = first + hits[:, 0].sum(), five + hits.any(1).sum()
    return {"top1": float(first) / len(queries), "top5": float(five) / len(queries)}
