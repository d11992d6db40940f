"""Every loss of the package, pair by pair: similarities, softmax rows, the gradient on each pair, the least value possible.

The losses look at embeddings only through cosine similarities s_ij: R anchors in rows, C candidates in columns.
`from_similarities` writes each as a function of s by the package's own functions of logits. Its value and, through the chain
rule, its gradient are those of the loss on the embeddings (`from_embeddings`); tests compare the two.

The gradient dL/ds_ij says what training does to a pair: where it is negative, descent makes the pair more similar (pull),
where it is positive, less (push). From a softmax over s_i / T against a target t follows, for each of R anchors,

    dL/ds_ij = (p_ij - t_ij) / (R T)          the pulls and pushes of a row sum to zero

`best` is the least value that a loss can have at a temperature, whatever the embeddings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ... import losses
from ...core.errors import InputError, unknown
from ...losses import cosine_logits, distillation_kl, info_nce_queue
from .batch import Batch

# function in `losses`: its name in words
LOSSES = {
    "info_nce": "InfoNCE",
    "nt_xent": "NT-Xent",
    "info_nce_queue": "Queue InfoNCE",
    "negative_cosine": "Negative cosine",
    "soft_cross_entropy": "Soft cross-entropy",
    "distillation_kl": "Softened KL",
    "supervised_contrastive": "Supervised contrastive",
}
WITH_QUEUE = ("info_nce_queue", "soft_cross_entropy", "distillation_kl")  # columns are the queue's entries
BOTH_SIDES = ("nt_xent", "supervised_contrastive")  # both views are anchors, and meet all others of both
SOFT = ("soft_cross_entropy", "distillation_kl")  # the target is a teacher's distribution
SECOND = {  # the other temperature of a loss: what it is called, and its method's value
    "soft_cross_entropy": ("teacher's temperature", 0.04),  # CGH's release
    "distillation_kl": ("softening temperature", 3.0),  # MCL's release
}


def similarities(name: str, batch: Batch) -> Tensor:
    """Cosines (R, C) of the pairs that the loss compares."""
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)
    if name in BOTH_SIDES:
        both = torch.cat([batch.a, batch.b])  # (N, D), (N, D) -> (2N, D)
        return cosine_logits(both, both, 1.0)  # (2N, 2N)
    if name == "info_nce_queue":
        return losses.queue_logits(batch.a, batch.b, batch.queue, 1.0)  # (N, 1 + K), the own key first
    return cosine_logits(batch.a, batch.queue if name in SOFT else batch.b, 1.0)  # (N, K) or (N, N)


def positives(name: str, batch: Batch) -> Tensor:
    """bool (R, C): which pairs belong together. Of a soft target that is for the teacher to say: none here."""
    n = len(batch)
    if name in BOTH_SIDES:
        label = batch.labels.repeat(2) if name == "supervised_contrastive" else torch.arange(n).repeat(2)
        return (label[:, None] == label) & ~torch.eye(2 * n, dtype=torch.bool)
    if name in SOFT:
        return torch.zeros(n, len(batch.queue), dtype=torch.bool)
    if name == "info_nce_queue":
        return torch.arange(1 + len(batch.queue)).expand(n, -1) == 0
    return torch.eye(n, dtype=torch.bool)


def teacher(name: str, batch: Batch, temperature: float, second: float) -> Tensor:
    """What the second views, the teacher's, say of the queue: probabilities (`soft_cross_entropy`) or logits."""
    if name == "soft_cross_entropy":
        return cosine_logits(batch.b, batch.queue, second).softmax(dim=1)  # (N, K)
    return cosine_logits(batch.b, batch.queue, temperature)  # (N, K)


def from_similarities(name: str, s: Tensor, batch: Batch, temperature: float, second: float) -> Tensor:
    """The loss as a function of the similarities s (R, C) -> scalar."""
    if name == "negative_cosine":
        return -s.diagonal().mean()
    if name == "distillation_kl":
        return distillation_kl(s / temperature, teacher(name, batch, temperature, second), second)
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
    if name == "info_nce_queue":
        return info_nce_queue(a, b, queue, temperature)
    if name in SOFT:
        student = cosine_logits(a, queue, temperature)
        target = teacher(name, batch, temperature, second)
        soft = name == "soft_cross_entropy"
        return losses.soft_cross_entropy(student, target) if soft else distillation_kl(student, target, second)
    if name == "supervised_contrastive":
        both = torch.cat([a, b])
        return losses.supervised_contrastive(cosine_logits(both, both, temperature), batch.labels.repeat(2))
    return {"info_nce": losses.info_nce, "nt_xent": losses.nt_xent}[name](a, b, temperature)


# --- The least value that a loss can have at a temperature, whatever the embeddings; each bound with its reason.


def best(name: str, batch: Batch, temperature: float, second: float) -> float:
    """The least value that the loss can have for this many pictures, whatever the embeddings (of a teacher: its own stay).

    info_nce, nt_xent and supervised_contrastive with classes of equal size: by Jensen's inequality a row's loss is at least
    that of its mean difference between negative and positive similarities, and that mean is least, -C / (C - 1), where the C
    pictures (or classes) sit in the corners of a simplex. Reached in C - 1 dimensions and more.
    info_nce_queue: own key at cosine 1, the whole queue at -1; reached, if the queue may be anything.
    soft_cross_entropy: the best logits between -1/T and 1/T. Above the target's entropy where the student's temperature
    keeps it from being as sure as the teacher. A bound; reached by one row, not always by all at once.
    """
    if name == "negative_cosine":
        return -1.0
    if name == "distillation_kl":
        return 0.0  # a student that says what the teacher says
    if name == "info_nce_queue":
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


# --- What a loss sees, and what it does: similarities, softmax rows, and the pull and push on every pair.


@dataclass(frozen=True)
class Table:
    """A loss on a batch, pair by pair: R anchors in rows, C candidates in columns.

    similarity   (R, C) cosines s_ij
    probability  (R, C) the softmax rows, 0 on the diagonal where no anchor meets itself; None: the loss has no softmax
    target       (R, C) what the rows should be; None likewise
    gradient     (R, C) dL/ds_ij: negative pulls, positive pushes
    positive     bool (R, C) the pairs that belong together; for a teacher's target, its first choice
    unused       bool (R, C) pairs that the loss doesn't look at
    """

    name: str
    temperature: float
    second: float
    similarity: Tensor
    probability: Tensor | None
    target: Tensor | None
    gradient: Tensor
    positive: Tensor
    unused: Tensor
    value: float
    level: float  # its value where all similarities are equal: nothing is known
    best: float  # no embeddings have a lower value

    @property
    def push(self) -> Tensor:
        """(R, C): the gradient where it drives a pair apart, 0 elsewhere; of pairs that are not positive, or any if soft."""
        push = self.gradient.masked_fill(self.gradient < 1e-12, 0)  # less is rounding
        return push if self.name in SOFT else push.masked_fill(self.positive, 0)


def loss_table(name: str, batch: Batch, temperature: float = 0.2, second: float | None = None) -> Table:
    """Everything about one loss on one batch.

    name: one of `LOSSES`. temperature: that of the similarities (for `soft_cross_entropy` the student's). second: the
    teacher's temperature, or that of `distillation_kl`; its method's by default.
    """
    second = SECOND.get(name, ("", 1.0))[1] if second is None else second
    if not (temperature > 0 and second > 0 and math.isfinite(temperature) and math.isfinite(second)):
        raise InputError(f"temperatures are finite numbers above 0; got {temperature} and {second}")
    s = similarities(name, batch).requires_grad_()
    (gradient,) = torch.autograd.grad(from_similarities(name, s, batch, temperature, second), s)
    s = s.detach()
    positive, unused = positives(name, batch), torch.zeros_like(s, dtype=torch.bool)
    if name in BOTH_SIDES:
        unused.fill_diagonal_(True)
    probability = target = None
    if name == "negative_cosine":
        unused = ~positive
    else:
        softened = second if name == "distillation_kl" else 1.0
        probability = (s / (temperature * softened)).masked_fill(unused, float("-inf")).softmax(dim=1)
        if name in SOFT:
            target = teacher(name, batch, temperature, second)
            target = (target / softened).softmax(dim=1) if name == "distillation_kl" else target
            positive = target == target.amax(dim=1, keepdim=True)
        else:
            target = positive.to(s.dtype) / positive.sum(dim=1, keepdim=True)
    return Table(
        name, temperature, second, s, probability, target, gradient, positive, unused,
        value=float(from_embeddings(name, batch, temperature, second)),
        level=float(from_similarities(name, torch.ones_like(s), batch, temperature, second)),
        best=best(name, batch, temperature, second),
    )  # fmt: skip
