"""The least value that a loss can have at a temperature, whatever the embeddings; each bound with its reason."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import losses
from .loss_batch import Batch
from .loss_forms import teacher


def best(name: str, batch: Batch, temperature: float, second: float) -> float:
    """The least value that the loss can have for this many pictures, whatever the embeddings (of a teacher: its own stay).

    info_nce, nt_xent and supervised_contrastive with classes of equal size: by Jensen's inequality a row's loss is at least
    that of its mean difference between negative and positive similarities, and that mean is least, -C / (C - 1), where the C
    pictures (or classes) sit in the corners of a simplex. Reached in C - 1 dimensions and more.
    queue_nce: own key at cosine 1, the whole queue at -1; reached, if the queue may be anything.
    soft_cross_entropy: the best logits between -1/T and 1/T. Above the target's entropy where the student's temperature
    keeps it from being as sure as the teacher. A bound; reached by one row, not always by all at once.
    """
    if name == "negative_cosine":
        return -1.0
    if name == "soften":
        return 0.0  # a student that says what the teacher says
    if name == "queue_nce":
        return math.log1p(len(batch.queue) * math.exp(-2 / temperature))
    if name == "soft_cross_entropy":
        return box_bound(teacher(name, batch, temperature, second), 1 / temperature)
    n = len(batch)
    if name == "info_nce":
        return math.log1p((n - 1) * math.exp(-n / (n - 1) / temperature))
    label = torch.arange(n) if name == "nt_xent" else batch.labels
    sizes = 2 * torch.unique(label, return_counts=True)[1]  # members of each class among the 2N
    c = len(sizes)
    if c == 1:
        return math.log(2 * n - 1)  # nothing to push away
    gap = c / (c - 1) if len(set(sizes.tolist())) == 1 else 2.0  # unequal classes: below all that is possible
    rows = [size * math.log(size - 1 + (2 * n - size) * math.exp(-gap / temperature)) for size in sizes.tolist()]
    return sum(rows) / (2 * n)


def box_bound(target: Tensor, limit: float) -> float:
    """The least mean cross-entropy of rows `target` (N, K) with logits between -limit and limit.

    Convex, so what its conditions say is enough: softmax(l)_k = t_k, or l_k at a limit that it would like to pass. So l_k is
    ln t_k + c, clipped, where c is the log of the sum of exp(l); that sum grows less fast than c, so halving finds it.
    """
    log_t = target.clamp(min=1e-300).log()
    low = -limit - log_t.amax(dim=1, keepdim=True)  # (N, 1): all logits at the lower limit
    high = limit - log_t.amin(dim=1, keepdim=True)
    for _ in range(60):
        middle = (low + high) / 2
        above = (log_t + middle).clamp(-limit, limit).logsumexp(dim=1, keepdim=True) > middle
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return float(losses.soft_cross_entropy((log_t + low).clamp(-limit, limit), target))
