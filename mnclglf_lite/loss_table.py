"""What a loss sees, and what it does: similarities, softmax rows, and the pull and push on every pair.

The gradient of a loss with respect to a similarity, dL/ds_ij, says what training does to that pair: where it is negative,
descent makes the pair more similar (pull), where it is positive, less (push). From a softmax over s_i / T against a target t
follows, for each of R anchors,

    dL/ds_ij = (p_ij - t_ij) / (R T)          pull and push of a row cancel out: what the positive gains, the others lose
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import InputError
from .loss_batch import Batch
from .loss_bounds import best
from .loss_forms import BOTH_SIDES, SECOND, SOFT, from_embeddings, from_similarities, positives, similarities, teacher


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
    teacher's temperature, or that of `soften`; its method's by default.
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
        softened = second if name == "soften" else 1.0
        probability = (s / (temperature * softened)).masked_fill(unused, float("-inf")).softmax(dim=1)
        if name in SOFT:
            target = teacher(name, batch, temperature, second)
            target = (target / softened).softmax(dim=1) if name == "soften" else target
            positive = target == target.amax(dim=1, keepdim=True)
        else:
            target = positive.to(s.dtype) / positive.sum(dim=1, keepdim=True)
    return Table(
        name, temperature, second, s, probability, target, gradient, positive, unused,
        value=float(from_embeddings(name, batch, temperature, second)),
        level=float(from_similarities(name, torch.ones_like(s), batch, temperature, second)),
        best=best(name, batch, temperature, second),
    )  # fmt: skip
