"""Exercises of notebook 07: a vote of neighbours, statistics from the right side, how sure a number is, doubles."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ...evaluation import knn
from ...evaluation.linear import standardize
from ..exercise import Case, Exercise, KnownMistake, Property, rows

# ---- 07.1: neighbours vote


def votes(bank: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float) -> Tensor:
    """Weight of each class's votes: bank (N, D) with labels (N,), queries (M, D) -> (M, classes)."""
    similarity, index = knn.nearest_neighbours(queries, bank, k)  # (M, k) each
    weight = (similarity / temperature).exp()
    return (weight[:, :, None] * F.one_hot(labels)[index]).sum(dim=1)  # (M, k, classes) -> (M, classes)


def poll(
    bank: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float,
    table: Callable[[Tensor, Tensor], Tensor] = lambda b, q: F.normalize(q, dim=1) @ F.normalize(b, dim=1).T,
    weigh: Callable[[Tensor, float], Tensor] = lambda s, t: (s / t).exp(),
) -> Tensor:  # fmt: skip
    """The same step by step, so that a slip changes one of them."""
    near, index = table(bank, queries).topk(k, dim=1)
    return (weigh(near, temperature)[:, :, None] * F.one_hot(labels)[index]).sum(dim=1)


BANK, ASKED = rows(9, 4, 0), rows(5, 4, 1)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2])
FAN = torch.tensor([[2.0, 0.0], [0.5, math.sqrt(0.75)], [0.0, 3.0]])  # at 0, 60 and 90 degrees
EAST = torch.tensor([[1.0, 0.0]])
BY_HAND = torch.tensor([[math.e, math.exp(0.5)]])  # k = 2, T = 1: similarities 1 and 1/2, of classes 0 and 1


def agrees_with_the_package(answer: Callable[..., Tensor]) -> bool:
    """The class with most votes is right as often as the package's kNN says."""
    truth = torch.tensor([0, 1, 2, 0, 1])
    protocol = knn.KnnProtocol(k=4, temperature=0.1)
    theirs = knn.knn(BANK, LABELS, ASKED, truth, protocol, 3)["top1"]
    mine = (answer(BANK, LABELS, ASKED, 4, 0.1).argmax(dim=1) == truth).double().mean().item()
    return abs(mine - theirs) < 1e-9


# ---- 07.2: statistics

TRAIN = torch.tensor([[1.0, 10.0], [3.0, 30.0]])  # means 2 and 20, deviations 1 and 10
TEST = torch.tensor([[4.0, 40.0], [2.0, 0.0], [2.0, 20.0]])
WIDE, WIDE_TEST = rows(7, 3, 2), rows(4, 3, 3)


def with_statistics_of(other: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Standardised by the statistics of what `other` makes of both parts."""

    def slipped(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
        source = other(train, test)
        mean, std = source.mean(dim=0), source.std(dim=0, unbiased=False)
        return (train - mean) / std, (test - mean) / std

    return slipped


def each_by_itself(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    return tuple((x - x.mean(dim=0)) / x.std(dim=0, unbiased=False) for x in (train, test))


def by_row(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    def one(x: Tensor) -> Tensor:
        return (x - x.mean(dim=1, keepdim=True)) / x.std(dim=1, unbiased=False, keepdim=True)

    return one(train), one(test)


def scaled(train: Tensor, test: Tensor, unbiased: bool = False, power: int = 1) -> tuple[Tensor, Tensor]:
    mean, std = train.mean(dim=0), train.std(dim=0, unbiased=unbiased) ** power
    return (train - mean) / std, (test - mean) / std


def alone_as_in_company(answer: Callable[..., tuple[Tensor, Tensor]]) -> bool:
    """A test picture comes out the same, whoever is tested beside it."""
    together, alone = answer(WIDE, WIDE_TEST)[1][:1], answer(WIDE, WIDE_TEST[:1])[1]
    return torch.allclose(together, alone, atol=1e-5)


def dead_coordinate(answer: Callable[..., tuple[Tensor, Tensor]]) -> bool:
    """A coordinate that never changes in training gives no nan."""
    dead = torch.cat([WIDE, torch.ones(len(WIDE), 1)], dim=1)
    return bool(answer(dead, dead)[0].isfinite().all())


# ---- 07.3: how sure

Z = 1.96  # of a normal distribution 95 % lies within so many standard deviations


def half_width(share: float, pictures: int) -> float:
    """Half the width of the 95 % interval around an accuracy (0 to 1) that was measured on so many pictures."""
    return Z * math.sqrt(share * (1 - share) / pictures)


# ---- 07.4: doubles


def doubles(queries: Tensor, bank: Tensor) -> Tensor:
    """Which queries (M, 3, H, W) lie in the bank (N, 3, H, W), byte for byte: bool (M,)."""
    known = {picture.numpy().tobytes() for picture in bank}
    return torch.tensor([picture.numpy().tobytes() in known for picture in queries])


def pictures(n: int, seed: int) -> Tensor:
    return torch.randint(0, 256, (n, 3, 4, 4), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


STORE = pictures(8, 0)
MIXED = torch.cat(
    [pictures(2, 1), STORE[5:7], STORE[2:3].flip(3), pictures(1, 2)]
)  # of six, the third and fourth are doubles
SEVEN = torch.cat([pictures(3, 3), STORE[3:4], STORE[:3].flip(2)])  # one double, at its own place; three shuffled ones


def pairs_equal(queries: Tensor, bank: Tensor) -> Tensor:
    """Every pixel of every pair: bool (M, N, 3, H, W)."""
    return queries[:, None] == bank[None]


EXERCISES = {
    "07.1": Exercise(
        goal="a weighted vote: the k nearest of the bank vote for their class with exp(similarity / T)",
        reference=votes,
        trials=[
            Case(
                "three pictures at 0, 60 and 90 degrees, as worked out in the text",
                (FAN, torch.tensor([0, 1, 1]), EAST, 2, 1.0),
                BY_HAND,
            ),
            Case("five random queries, a bank of nine, k = 4, T = 0.5", (BANK, LABELS, ASKED, 4, 0.5)),
            Case("the same with all nine and T = 0.1", (BANK, LABELS, ASKED, 9, 0.1)),
        ],
        slips=[
            KnownMistake(
                lambda b, y, q, k, t: poll(b, y, q, k, t, table=lambda b, q: q @ b.T),
                "these are dot products, in which long features count for more: make every row of both length one first",
            ),
            KnownMistake(
                lambda b, y, q, k, t: poll(b, y, q, k, t, weigh=lambda s, t: torch.ones_like(s)),
                "every neighbour has one vote here; near ones are to count for more, with exp(similarity / T)",
            ),
            KnownMistake(
                lambda b, y, q, k, t: poll(b, y, q, k, t, weigh=lambda s, t: s.exp()),
                "the temperature is missing: a vote weighs exp(similarity / T)",
            ),
            KnownMistake(
                lambda b, y, q, k, t: poll(b, y, q, k, t, weigh=lambda s, t: (s / t).softmax(dim=1)),
                "a softmax: each query's votes were made to sum to one. The winner is the same, but plain exp(similarity / T) is asked",
            ),
            KnownMistake(
                lambda b, y, q, k, t: poll(b, y, q, k, t, weigh=lambda s, t: s / t),
                "the votes are the similarities themselves; exp() of them is what makes near neighbours count for much more",
            ),
            KnownMistake(
                lambda b, y, q, k, t: poll(b, y, q, k, t).argmax(dim=1),
                "this is the winner of each vote; the votes of all classes are asked for, (M, classes): the winner comes after",
            ),
        ],
        rules=[
            Property("the class with most votes is not the one that the package's kNN finds", agrees_with_the_package),
            Property(
                "making a query longer changed its votes; only directions may count",
                lambda f: torch.allclose(f(BANK, LABELS, ASKED, 3, 0.5), f(BANK, LABELS, 9 * ASKED, 3, 0.5), rtol=1e-4),
            ),
        ],
        hints=(
            "Three things: how similar is each query to each picture of the bank, which k are the most similar, and what do they say together?",
            "s = cosine table (M, N); s.topk(k, dim=1) gives values and places; the vote of neighbour j is exp(s_j / T) for labels[j].",
            "weight (M, k); F.one_hot(labels)[index] is (M, k, classes); weight[:, :, None] times that, summed over dim=1, is (M, classes).",
        ),
        difficulty=3,
        minutes=8,
        home="mnclglf_lite.evaluation.knn.knn, which counts the winners too",
    ),
    "07.2": Exercise(
        goal="mean 0 and deviation 1 in every coordinate of the training part, and the very same map for the test part",
        reference=standardize,
        trials=[
            Case(
                "two training rows and three test rows, as worked out in the text",
                (TRAIN, TEST),
                (torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), torch.tensor([[2.0, 2.0], [0.0, -2.0], [0.0, 0.0]])),
            ),
            Case("seven random rows and four", (WIDE, WIDE_TEST)),
        ],
        slips=[
            KnownMistake(
                each_by_itself,
                "the test part was measured by its own mean and deviation. That is a leak: what comes out for one picture "
                "then depends on the others. Keep the numbers of the training part",
            ),
            KnownMistake(
                with_statistics_of(lambda a, b: torch.cat([a, b])),
                "mean and deviation were taken over both parts together: the test part has leaked into what is fitted",
            ),
            KnownMistake(
                with_statistics_of(lambda a, b: b),
                "mean and deviation are those of the test part, for both: it is the other way round",
            ),
            KnownMistake(
                by_row,
                "each picture was standardised by itself, along its features; take each feature over all pictures, dim=0",
            ),
            KnownMistake(lambda a, b: scaled(a, b, power=2), "divided by the variance: the deviation is its square root"),
            KnownMistake(
                lambda a, b: scaled(a, b, unbiased=True),
                "nearly: the mean square is over N here, not N - 1 (unbiased=False). With thousands of pictures it makes no difference",
            ),
        ],
        rules=[
            Property("a test picture comes out differently, depending on who is tested beside it", alone_as_in_company),
            Property(
                "a coordinate that never changes gave nan or infinity: its deviation is 0, so do not divide by that",
                dead_coordinate,
            ),
        ],
        hints=(
            "Think of the test pictures as arriving one at a time, next year. What numbers do you have by then?",
            "mean and std of each coordinate over the training rows; (x - mean) / std for both parts.",
            "train.mean(dim=0) and train.std(dim=0, unbiased=False) are (D,); keep std from 0 with .clamp_min(1e-6). Return both parts.",
        ),
        difficulty=1,
        minutes=5,
    ),
    "07.3": Exercise(
        goal="half the width of the 95 % interval around an accuracy that was measured on n pictures",
        reference=half_width,
        trials=[
            Case("half of 100 pictures right", (0.5, 100), 0.098),
            Case("nine tenths of 2,500 pictures right", (0.9, 2500), 0.01176),
            Case("72 % of 2,000", (0.72, 2000)),
        ],
        slips=[
            KnownMistake(
                lambda share, n: Z * share * (1 - share) / n,
                "that is the variance: the root of share * (1 - share) / n is missing",
            ),
            KnownMistake(
                lambda share, n: math.sqrt(share * (1 - share) / n),
                "that is one standard error; 95 % lies within 1.96 of them",
            ),
            KnownMistake(
                lambda share, n: 100 * half_width(share, n),
                "that is in percent; accuracies are shares from 0 to 1 here, and so is the answer",
            ),
            KnownMistake(
                lambda share, n: Z * math.sqrt(share * (1 - share)) / n,
                "n belongs under the root: four times the pictures halve the width",
            ),
            KnownMistake(
                lambda share, n: Z * math.sqrt(share / n),
                "only share stands under the root; it is share * (1 - share): at 0 or 1 nothing is left to doubt",
            ),
            KnownMistake(lambda share, n: 2 * half_width(share, n), "that is the whole width; half of it was asked for"),
        ],
        rules=[Property("an accuracy of 0 or of 1 has no width by this formula", lambda f: f(0.0, 50) == f(1.0, 50) == 0)],
        hints=(
            "Each picture is a coin that falls right with probability p. How much does the share of right ones vary from one draw of n pictures to the next?",
            "standard error = sqrt( p (1 - p) / n ); 95 % of a normal distribution lies within 1.96 standard errors.",
            "All are plain numbers: math.sqrt; share between 0 and 1, and so is the result.",
        ),
        difficulty=1,
        minutes=4,
    ),
    "07.4": Exercise(
        goal="find doubles: which of the queries lie in the bank too, pixel for pixel?",
        reference=doubles,
        trials=[
            Case(
                "seven queries, of which the fourth lies in the bank, at place 3 there too",
                (SEVEN, STORE),
                torch.tensor([False, False, False, True, False, False, False]),
            ),
            Case("six queries, of which the third and fourth lie in the bank, at other places", (MIXED, STORE)),
        ],
        slips=[
            KnownMistake(
                lambda q, b: (q == b[: len(q)]).flatten(1).all(dim=1),
                "query i was compared with picture i of the bank alone; a double may lie anywhere in it",
            ),
            KnownMistake(
                lambda q, b: pairs_equal(q, b).flatten(2).any(dim=2).any(dim=1),
                "one equal pixel is enough for that; all pixels have to be equal",
            ),
            KnownMistake(
                lambda q, b: torch.isin(q.float().mean(dim=(1, 2, 3)), b.float().mean(dim=(1, 2, 3))),
                "the mean brightness was compared: a mirrored picture has the same and is another one. Compare all pixels",
            ),
            KnownMistake(
                lambda q, b: doubles(b, q),
                "this says which pictures of the bank are asked for; it should say it of the queries, one answer each",
            ),
            KnownMistake(lambda q, b: ~doubles(q, b), "turned round: True is to stand for a double"),
            KnownMistake(
                lambda q, b: torch.zeros(len(q), dtype=torch.bool),
                "no double was found. Were tensors put into a set? It tells them apart as objects, whatever is in them: use bytes",
            ),
        ],
        hints=(
            "Comparing every query with every picture of the bank takes long. What do you use for looking up things you have seen?",
            "A set of the bank's pictures as bytes; then ask for each query whether its bytes are in the set.",
            "picture.numpy().tobytes() for one picture (3, H, W); the answer is torch.tensor of M times True or False.",
        ),
        difficulty=2,
        minutes=6,
    ),
}
