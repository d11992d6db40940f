"""Exercises of notebook 02: similarities, InfoNCE, NT-Xent, and the gradient that they send."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ...losses import cosine_logits
from ..exercise import Case, Exercise, KnownMistake, Property, rows

A, B = rows(5, 4, 0), rows(5, 4, 1)
AXES = torch.eye(3)  # three embeddings at right angles
ORDER = torch.tensor([3, 0, 4, 1, 2])


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Cosine similarity of every row of a (N, D) with every row of b (K, D): (N, K)."""
    return cosine_logits(a, b, temperature=1.0)


def info_nce(anchors: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """InfoNCE: (N, D), (N, D) -> scalar. That of the package also shares a batch among processes."""
    logits = (F.normalize(anchors, dim=1) / temperature) @ F.normalize(targets, dim=1).T  # (N, N)
    return F.cross_entropy(logits, torch.arange(len(logits)))


def nt_xent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """NT-Xent: (N, D), (N, D) -> scalar. That of the package also shares a batch among processes."""
    both = F.normalize(torch.cat([a, b]), dim=1)  # (2N, D)
    logits = (both / temperature) @ both.T  # (2N, 2N)
    logits = logits.fill_diagonal_(-torch.inf)  # no anchor meets itself
    return F.cross_entropy(logits, torch.arange(len(both)).roll(len(a)))


def pull_and_push(similarity: Tensor, temperature: float) -> Tensor:
    """Gradient of InfoNCE with respect to the similarities (N, N), positives on the diagonal: (N, N)."""
    share = (similarity / temperature).softmax(dim=1)
    return (share - torch.eye(len(share))) / temperature / len(share)


def is_autograd(answer) -> bool:
    """Whether the gradient worked by hand is the one that autograd finds."""
    s = cosines(A, B).requires_grad_()
    F.cross_entropy(s / 0.3, torch.arange(len(s))).backward()
    return torch.allclose(answer(s.detach(), 0.3).to(s.grad), s.grad, atol=1e-6)


def logits(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    return cosines(a, b) / temperature


def without_positive(p: Tensor, c: Tensor, temperature: float) -> Tensor:
    s = logits(p, c, temperature)
    others = s.masked_fill(torch.eye(len(s), dtype=torch.bool), -torch.inf)
    return (others.logsumexp(dim=1) - s.diagonal()).mean()


def itself_left_in(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    both = torch.cat([a, b])
    return F.cross_entropy(logits(both, both, temperature), torch.arange(len(both)).roll(len(a)))


def next_picture(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    return nt_xent(a, b.roll(1, 0), temperature)


def permutes(loss) -> bool:
    """The order of the pictures in a batch means nothing."""
    return math.isclose(float(loss(A, B, 0.2)), float(loss(A[ORDER], B[ORDER], 0.2)), rel_tol=1e-5, abs_tol=1e-5)


def scales(loss) -> bool:
    """The length of an embedding means nothing."""
    return math.isclose(float(loss(A, B, 0.2)), float(loss(7 * A, B / 3, 0.2)), rel_tol=1e-5, abs_tol=1e-5)


def reaches(loss) -> bool:
    """Gradient reaches both sides, and is finite."""
    a, b = A.clone().requires_grad_(), B.clone().requires_grad_()
    came = loss(a, b, 0.2)
    if not isinstance(came, Tensor) or not came.requires_grad:
        return False
    came.backward()
    return all(x.grad is not None and bool(x.grad.isfinite().all()) and bool(x.grad.any()) for x in (a, b))


LOSS_RULES = (
    Property(
        "shuffling the pictures of a batch changed the loss; the positive of row i must be row i of the other side", permutes
    ),
    Property(
        "making an embedding longer changed the loss; only directions may count, so divide each row by its length", scales
    ),
    Property(
        "no gradient reached one of the two sides; compute with tensors to the end, without .item() or .detach()", reaches
    ),
)

EXERCISES = {
    "02.1": Exercise(
        goal="the cosine similarity of every row of a with every row of b",
        reference=cosines,
        trials=[
            Case(
                "two vectors at 60 degrees",
                (torch.tensor([[3.0, 0.0]]), torch.tensor([[0.5, math.sqrt(0.75)]])),
                torch.tensor([[0.5]]),
            ),
            Case("three vectors at right angles with themselves", (AXES, AXES), torch.eye(3)),
            Case("five random rows against four", (A, B[:4])),
        ],
        slips=[
            KnownMistake(
                lambda a, b: a @ b.T,
                "these are dot products: long vectors count for more. Divide every row by its length first",
            ),
            KnownMistake(
                lambda a, b: F.normalize(a, dim=0) @ F.normalize(b, dim=0).T,
                "the columns were made length one, not the rows: an embedding is a row, so normalise over dim=1",
            ),
            KnownMistake(
                lambda a, b: (
                    F.cosine_similarity(a, b[: len(a)]) if len(a) == len(b) else F.cosine_similarity(a[: len(b)], b)
                ),
                "only row i with row i was compared: a table of every row with every row is wanted, shape (N, K)",
            ),
            KnownMistake(
                lambda a, b: F.normalize(b, dim=1) @ F.normalize(a, dim=1).T,
                "the table is transposed: row i of the result belongs to row i of a",
            ),
        ],
        hints=(
            "Only the direction of an embedding is to count. What do you have to do to every row before a dot product is a cosine?",
            "cos(a, b) = (a / |a|) · (b / |b|); a matrix product makes all dot products at once.",
            "(N, D) and (K, D), each row divided by its length (N, 1): F.normalize(x, dim=1). Then (N, D) @ (D, K) -> (N, K).",
        ),
        difficulty=1,
        minutes=4,
        home="mnclglf_lite.losses.cosine_logits (with the temperature divided out)",
    ),
    "02.2": Exercise(
        goal="InfoNCE: each anchor is to find its own target among all targets of the batch",
        reference=info_nce,
        trials=[
            Case("two pictures, as worked out in the text", (AXES[:2], AXES[:2], 1.0), math.log(1 + math.exp(-1))),
            Case("all embeddings equal, five pictures: ln 5", (torch.ones(5, 4), torch.ones(5, 4), 0.2), math.log(5)),
            Case("five random pictures at temperature 0.2", (A, B, 0.2)),
        ],
        slips=[
            KnownMistake(
                lambda p, c, t: F.cross_entropy(p @ c.T / t, torch.arange(len(p))),
                "this equals the loss without normalisation: long embeddings count for more. Take cosines, not dot products",
            ),
            KnownMistake(
                lambda p, c, t: F.cross_entropy(cosines(p, c) * t, torch.arange(len(p))),
                "this equals the loss with the similarities multiplied by the temperature; they are to be divided by it",
            ),
            KnownMistake(
                lambda p, c, t: F.cross_entropy(logits(c, p, t), torch.arange(len(p))),
                "the softmax ran over the anchors: each *target* looked for its anchor. Put anchors in the rows, targets in the columns",
            ),
            KnownMistake(
                lambda p, c, t: F.cross_entropy(logits(p, c, t), torch.arange(len(p)), reduction="sum"),
                "this is the sum over the anchors; the loss is their mean, so that it does not grow with the batch",
            ),
            KnownMistake(
                without_positive,
                "this equals the loss with the positive left out of the denominator; the sum runs over all N targets",
            ),
            KnownMistake(
                lambda p, c, t: -info_nce(p, c, t),
                "the sign is turned round: the loss must fall when the positive gets more similar",
            ),
        ],
        rules=LOSS_RULES,
        hints=(
            "It is a quiz: N targets stand in a row, and the anchor has to say which one comes from its own picture. The usual loss for a quiz with N answers will do.",
            "-(1/N) sum_i log( exp(s_ii / T) / sum_k exp(s_ik / T) ): cross-entropy of the rows of s / T with answer i in row i.",
            "cosines(p, c) / T is (N, N); F.cross_entropy(that, torch.arange(N)) is a scalar.",
        ),
        difficulty=2,
        minutes=6,
        home="mnclglf_lite.losses.info_nce",
    ),
    "02.3": Exercise(
        goal="NT-Xent: both sides are anchors, and views of one's own side are negatives too",
        reference=nt_xent,
        trials=[
            Case("two pictures, as worked out in the text", (AXES[:2], AXES[:2], 1.0), math.log(1 + 2 * math.exp(-1))),
            Case("all embeddings equal, five pictures: ln 9", (torch.ones(5, 4), torch.ones(5, 4), 0.2), math.log(9)),
            Case("five random pictures at temperature 0.2", (A, B, 0.2)),
        ],
        slips=[
            KnownMistake(
                itself_left_in,
                "this equals the result with self-similarity left in the denominator: the diagonal must count as minus infinity",
            ),
            KnownMistake(
                lambda a, b, t: (info_nce(a, b, t) + info_nce(b, a, t)) / 2,
                "the views of an anchor's own side are missing among its negatives: put both sides below each other, (2N, D), first",
            ),
            KnownMistake(lambda a, b, t: 2 * nt_xent(a, b, t), "there are 2N anchors: the mean is over 2N, not over N"),
            KnownMistake(
                next_picture,
                "the positive was taken from the next picture: row i of one side belongs to row i of the other, N rows further down",
            ),
            KnownMistake(
                lambda a, b, t: F.cross_entropy(
                    torch.cat([a, b]) @ torch.cat([a, b]).T / t + torch.diag(torch.full((2 * len(a),), -torch.inf)),
                    torch.arange(2 * len(a)).roll(len(a)),
                ),
                "the rows were not made length one before the products",
            ),
            KnownMistake(
                lambda a, b, t: F.cross_entropy(
                    logits(a, torch.cat([b, a]), t).masked_fill(
                        torch.eye(len(a), 2 * len(a)).roll(len(a), 1).bool(), -torch.inf
                    ),
                    torch.arange(len(a)),
                ),
                "only the views of a were anchors; those of b ask too: the table is (2N, 2N), and the mean runs over all 2N rows",
            ),
        ],
        rules=LOSS_RULES,
        hints=(
            "Put all 2N views into one table of similarities. An anchor may not pick itself; its answer is the other view of its picture.",
            "Rows i and i + N are partners. Set the diagonal of s / T to minus infinity, then cross-entropy.",
            "torch.cat([a, b]) -> (2N, D); cosines -> (2N, 2N); fill_diagonal_(-inf); answers: torch.arange(2N).roll(N).",
        ),
        difficulty=3,
        minutes=8,
        home="mnclglf_lite.losses.nt_xent",
    ),
    "02.4": Exercise(
        goal="the gradient of InfoNCE by hand: how hard is each pair pulled together or pushed apart?",
        reference=pull_and_push,
        trials=[
            Case(
                "two pictures, everything equally similar, T = 1",
                (torch.zeros(2, 2), 1.0),
                torch.tensor([[-0.25, 0.25], [0.25, -0.25]]),
            ),
            Case("five random pictures at temperature 0.3", (cosines(A, B), 0.3)),
        ],
        slips=[
            KnownMistake(
                lambda s, t: (s / t).softmax(1) / t / len(s),
                "the positive is missing: it is pulled with 1 - share, so take 1 off the diagonal",
            ),
            KnownMistake(
                lambda s, t: ((s / t).softmax(1) - torch.eye(len(s))) / len(s),
                "the factor 1/T is missing: s is divided by T inside the loss, so the chain rule brings out 1/T",
            ),
            KnownMistake(
                lambda s, t: ((s / t).softmax(1) - torch.eye(len(s))) / t,
                "the mean over the N anchors is missing: divide by N",
            ),
            KnownMistake(
                lambda s, t: (s.softmax(1) - torch.eye(len(s))) / t / len(s), "the softmax was taken of s, not of s / T"
            ),
            KnownMistake(
                lambda s, t: -pull_and_push(s, t),
                "the signs are turned round: a positive pair has a negative gradient, so that a step downhill brings it closer",
            ),
            KnownMistake(
                lambda s, t: ((s / t).softmax(0) - torch.eye(len(s))) / t / len(s),
                "the softmax ran down the columns; each anchor is a row",
            ),
        ],
        rules=[Property("autograd finds another gradient on five random pictures", is_autograd)],
        hints=(
            "Cross-entropy has a famously simple gradient with respect to its logits. What is it?",
            "d/d logit_ik = (softmax_ik - [i = k]) / N, and logit = s / T brings another factor 1/T.",
            "(s / T).softmax(dim=1) - torch.eye(N), all of it divided by T and by N: (N, N).",
        ),
        difficulty=2,
        minutes=6,
        home="mnclglf_lite.explorers.loss.pairs.loss_table, which the loss explorer draws",
    ),
}
