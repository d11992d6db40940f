"""Every loss of the package as a function of similarities, and as the function of embeddings that it is.

The losses look at embeddings only through cosine similarities s_ij: R anchors in rows, C candidates in columns.
`from_similarities` writes each as a function of s by the package's own functions of logits. Its value and, through the chain
rule, its gradient are those of the loss on the embeddings, which tests hold to.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import losses
from .errors import unknown
from .loss_batch import Batch

# function in `losses`: its name in words
LOSSES = {
    "info_nce": "InfoNCE",
    "nt_xent": "NT-Xent",
    "queue_nce": "Queue InfoNCE",
    "negative_cosine": "Negative cosine",
    "soft_cross_entropy": "Soft cross-entropy",
    "soften": "Softened KL",
    "supervised_contrastive": "Supervised contrastive",
}
WITH_QUEUE = ("queue_nce", "soft_cross_entropy", "soften")  # columns are the queue's entries
BOTH_SIDES = ("nt_xent", "supervised_contrastive")  # both views are anchors, and meet all others of both
SOFT = ("soft_cross_entropy", "soften")  # the target is a teacher's distribution
SECOND = {  # the other temperature of a loss: what it is called, and its method's value
    "soft_cross_entropy": ("teacher's temperature", 0.04),  # CGH's release
    "soften": ("softening temperature", 3.0),  # MCL's release
}


def similarities(name: str, batch: Batch) -> Tensor:
    """Cosines (R, C) of the pairs that the loss compares."""
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)
    if name in BOTH_SIDES:
        both = torch.cat([batch.a, batch.b])  # (N, D), (N, D) -> (2N, D)
        return losses.similarities(both, both, 1.0)  # (2N, 2N)
    if name == "queue_nce":
        return losses.queue_logits(batch.a, batch.b, batch.queue, 1.0)  # (N, 1 + K), the own key first
    return losses.similarities(batch.a, batch.queue if name in SOFT else batch.b, 1.0)  # (N, K) or (N, N)


def positives(name: str, batch: Batch) -> Tensor:
    """bool (R, C): which pairs belong together. Of a soft target that is for the teacher to say: none here."""
    n = len(batch)
    if name in BOTH_SIDES:
        label = batch.labels.repeat(2) if name == "supervised_contrastive" else torch.arange(n).repeat(2)
        return (label[:, None] == label) & ~torch.eye(2 * n, dtype=torch.bool)
    if name in SOFT:
        return torch.zeros(n, len(batch.queue), dtype=torch.bool)
    if name == "queue_nce":
        return torch.arange(1 + len(batch.queue)).expand(n, -1) == 0
    return torch.eye(n, dtype=torch.bool)


def teacher(name: str, batch: Batch, temperature: float, second: float) -> Tensor:
    """What the second views, the teacher's, say of the queue: shares for `soft_cross_entropy`, logits for `soften`."""
    if name == "soft_cross_entropy":
        return losses.similarities(batch.b, batch.queue, second).softmax(dim=1)  # (N, K)
    return losses.similarities(batch.b, batch.queue, temperature)  # (N, K)


def from_similarities(name: str, s: Tensor, batch: Batch, temperature: float, second: float) -> Tensor:
    """The loss as a function of the similarities s (R, C) -> scalar."""
    if name == "negative_cosine":
        return -s.diagonal().mean()
    if name == "soften":
        return losses.soften(s / temperature, teacher(name, batch, temperature, second), second)
    if name == "nt_xent":  # two views of a picture are a class of two
        return losses.supervised_contrastive(s / temperature, torch.arange(len(batch)).repeat(2))
    if name == "supervised_contrastive":
        return losses.supervised_contrastive(s / temperature, batch.labels.repeat(2))
    soft = name == "soft_cross_entropy"
    target = teacher(name, batch, temperature, second) if soft else positives(name, batch).to(s.dtype)
    return losses.soft_cross_entropy(s / temperature, target)  # InfoNCE is the case of a target that is certain


def from_embeddings(name: str, batch: Batch, temperature: float, second: float) -> Tensor:
    """The loss as training computes it, -> scalar."""
    a, b, queue = batch.a, batch.b, batch.queue
    if name == "negative_cosine":
        return losses.negative_cosine(a, b)
    if name == "queue_nce":
        return losses.queue_nce(a, b, queue, temperature)
    if name in SOFT:
        student = losses.similarities(a, queue, temperature)
        target = teacher(name, batch, temperature, second)
        return losses.soften(student, target, second) if name == "soften" else losses.soft_cross_entropy(student, target)
    if name == "supervised_contrastive":
        both = torch.cat([a, b])
        return losses.supervised_contrastive(losses.similarities(both, both, temperature), batch.labels.repeat(2))
    return {"info_nce": losses.info_nce, "nt_xent": losses.nt_xent}[name](a, b, temperature)
