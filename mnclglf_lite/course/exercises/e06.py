"""Exercises of notebook 06: what a flat map shows, true neighbours, how many of them a map keeps, hubs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...evaluation import knn, layouts
from ..exercise import Case, Exercise, KnownMistake, Property

DRAWS = torch.Generator().manual_seed(6)
CLOUD = torch.randn(12, 5, generator=DRAWS) * torch.tensor([3.0, 2.0, 1.0, 0.5, 0.1]) + 4.0
PLANE = torch.tensor([[2.0, 0.0, 0.0], [-2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])
# four directions: 0, 10, 90 and 100 degrees, of different lengths
FOUR = torch.tensor([[1.0, 0.0], [0.9848, 0.1736], [0.0, 1.0], [-1.0419, 5.9088]])
# three directions: 0, 10 and 240 degrees. The third has a negative cosine with both others
APART = torch.tensor([[1.0, 0.0], [0.9848, 0.1736], [-0.5, -0.866]])
NEAR = torch.tensor([[1, 2], [0, 2], [3, 0], [2, 4], [3, 0]])
OTHER = torch.tensor([[2, 1], [3, 0], [1, 3], [2, 1], [1, 2]])
LINKS = torch.tensor([[1, 2], [2, 0], [1, 0], [2, 1]])


def share_shown(x: Tensor, d: int) -> Tensor:
    """Share of the variance of x (N, D) that its d first principal directions show: a scalar from 0 to 1."""
    variance = torch.linalg.svdvals(x - x.mean(dim=0)).square()
    return variance[:d].sum() / variance.sum()


def nearest(x: Tensor, k: int) -> Tensor:
    """Positions of the k nearest others of every row of x (N, D) by cosine, nearest first: int64 (N, k)."""
    return knn.nearest_neighbours(x, x, k, exclude_self=True)[1]


def kept(true: Tensor, flat: Tensor) -> Tensor:
    """Mean share of a point's true neighbours (N, k) that are its neighbours on the map (N, k) too: a scalar."""
    return (true[:, :, None] == flat[:, None, :]).any(dim=2).float().mean()


def hubs(neighbours: Tensor) -> Tensor:
    """How often each of N points is a neighbour of another, from a table (N, k): int64 (N,)."""
    return torch.bincount(neighbours.flatten(), minlength=len(neighbours))


def singular(x: Tensor) -> Tensor:
    return torch.linalg.svdvals(x - x.mean(dim=0))


def euclid(x: Tensor, k: int) -> Tensor:
    return torch.cdist(x, x).fill_diagonal_(torch.inf).topk(k, largest=False).indices


def with_itself(x: Tensor, k: int) -> Tensor:
    unit = F.normalize(x, dim=1)
    return (unit @ unit.T).topk(k).indices


def nought_for_itself(x: Tensor, k: int) -> Tensor:
    unit = F.normalize(x, dim=1)
    return (unit @ unit.T).fill_diagonal_(0.0).topk(k).indices


def both(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    unit = F.normalize(x, dim=1)
    return tuple((unit @ unit.T).fill_diagonal_(-2.0).topk(k))


def farthest(x: Tensor, k: int) -> Tensor:
    unit = F.normalize(x, dim=1)
    return (unit @ unit.T).topk(k, largest=False).indices


EXERCISES = {
    "06.1": Exercise(
        goal="the share of all variance that the first d principal directions show",
        reference=share_shown,
        trials=[
            Case("a cross of four points, arms 2 and 1 long, one direction", (PLANE, 1), torch.tensor(0.8)),
            Case("the same cross away from the origin", (PLANE + 5.0, 1), torch.tensor(0.8)),
            Case("twelve random points, two directions", (CLOUD, 2)),
        ],
        slips=[
            KnownMistake(
                lambda x, d: torch.linalg.svdvals(x)[:d].square().sum() / torch.linalg.svdvals(x).square().sum(),
                "the points were not centred: where they lie would count as variance. Take the mean of every column off first",
            ),
            KnownMistake(
                lambda x, d: singular(x)[:d].sum() / singular(x).sum(),
                "singular values are lengths; variance is their square",
            ),
            KnownMistake(
                lambda x, d: share_shown(x / x.std(dim=0).clamp(min=1e-9), d),
                "every column was made equally wide first; then the widest direction cannot stand out any more",
            ),
            KnownMistake(
                lambda x, d: (
                    share_shown(x, d) - (share_shown(x, d - 1) if d > 1 else 0) + 0.0 * d if d > 1 else 1 - share_shown(x, d)
                ),
                "this is the share that is NOT in the first directions, or that of the last one alone; add up the first d",
            ),
        ],
        rules=[
            Property(
                "all directions together must show everything: share_shown(x, D) is 1",
                lambda f: abs(float(f(CLOUD, 5)) - 1) < 1e-5,
            )
        ],
        hints=(
            "PCA turns the cloud so that it is widest along the first axis. How wide along each? The singular values of the centred table know.",
            "share = (s_1² + ... + s_d²) / (s_1² + s_2² + ...), with s the singular values of x minus its mean.",
            "x - x.mean(dim=0): (N, D); torch.linalg.svdvals of it: (min(N, D),), largest first; square, sum the first d, divide.",
        ),
        difficulty=1,
        minutes=5,
        home="mnclglf_lite.evaluation.layouts.pca (which returns the directions themselves)",
    ),
    "06.2": Exercise(
        goal="the k nearest others of every picture, in the space of the features",
        reference=nearest,
        trials=[
            Case("four directions at 0, 10, 90 and 100 degrees, nearest one", (FOUR, 1), torch.tensor([[1], [0], [3], [2]])),
            Case(
                "three directions at 0, 10 and 240 degrees: the third is far from both",
                (APART, 1),
                torch.tensor([[1], [0], [0]]),
            ),
            Case("twelve random points, three neighbours", (CLOUD - 4.0, 3)),
        ],
        slips=[
            KnownMistake(
                with_itself, "everybody's first neighbour is himself: set the diagonal to something below every cosine first"
            ),
            KnownMistake(
                nought_for_itself,
                "the diagonal became 0, but cosines go down to -1: a picture far from all others was its own neighbour. Take -2",
            ),
            KnownMistake(
                lambda x, k: both(x, k)[0], "these are the cosines themselves; `.indices` of topk says whose they are"
            ),
            KnownMistake(
                both, "`topk` gives two things, values and positions; only the positions are asked for: `.indices`"
            ),
            KnownMistake(
                euclid,
                "these are the nearest by straight distance; the features are compared by direction, so make every row length one first",
            ),
            KnownMistake(
                farthest,
                "these are the farthest; `topk` takes the largest unless you say otherwise, and near means a large cosine",
            ),
            KnownMistake(
                lambda x, k: nearest(layouts.pca(x, 2), k),
                "these are neighbours on the flat map; take them in the full space",
            ),
        ],
        hints=(
            "Notebook 02 had a table of every row against every row. The neighbours stand in its rows.",
            "Cosines of x with itself, the diagonal out, then the k largest of each row.",
            "F.normalize(x, dim=1) -> (N, D); @ its transpose -> (N, N); fill_diagonal_(-2); .topk(k).indices -> (N, k).",
        ),
        difficulty=2,
        minutes=5,
        home="mnclglf_lite.evaluation.knn.nearest_neighbours",
    ),
    "06.3": Exercise(
        goal="the share of a picture's true neighbours that the map keeps near it",
        reference=kept,
        trials=[
            Case("five points, worked by hand: shares 1, 1/2, 1/2, 1/2 and 0", (NEAR, OTHER), torch.tensor(0.5)),
            Case("the same neighbours in another order: all kept", (NEAR, NEAR.flip(1)), torch.tensor(1.0)),
        ],
        slips=[
            KnownMistake(
                lambda a, b: (a == b).float().mean(),
                "place was compared with place: a neighbour counts wherever in the row it stands",
            ),
            KnownMistake(
                lambda a, b: (a[:, :, None] == b[:, None, :]).any(2).float().sum() / len(a),
                "divide by all N·k neighbours, not by the N points",
            ),
            KnownMistake(
                lambda a, b: torch.isin(a, b).float().mean(),
                "row i was compared with all rows: a neighbour must be kept for the SAME picture",
            ),
            KnownMistake(
                lambda a, b: (a[:, :, None] == b[:, None, :]).any(2).all(1).float().mean(),
                "only pictures that keep all their neighbours were counted; a share of each row is wanted",
            ),
            KnownMistake(
                lambda a, b: (a[:, :, None] == b[:, None, :]).float().mean(),
                "the mean ran over all N·k·k comparisons; ask `any` over the map's k first, so that N·k answers are left",
            ),
        ],
        hints=(
            "Two rows of positions: how many stand in both? The order does not matter.",
            "For each true neighbour ask whether it is any of the map's. Compare every entry with every entry of the same row.",
            "(N, k, 1) == (N, 1, k) -> (N, k, k); .any(dim=2) -> (N, k); .float().mean() -> a number.",
        ),
        difficulty=2,
        minutes=5,
    ),
    "06.4": Exercise(
        goal="how often each picture is among the neighbours of another: its hubness",
        reference=hubs,
        trials=[
            Case("four points: the last is nobody's neighbour", (LINKS,), torch.tensor([2, 3, 3, 0])),
            Case("five points", (NEAR,)),
        ],
        slips=[
            KnownMistake(
                lambda n: torch.bincount(n.flatten()),
                "pictures at the end that are nobody's neighbour have no entry: say minlength=N",
            ),
            KnownMistake(
                lambda n: torch.bincount(n[:, 0], minlength=len(n)),
                "only the first column was counted; all k neighbours of a row count",
            ),
            KnownMistake(
                lambda n: torch.bincount(n.flatten(), minlength=len(n)) + 1, "everyone was counted as his own neighbour"
            ),
            KnownMistake(
                lambda n: torch.bincount(n.flatten(), minlength=len(n)).float() / n.shape[1],
                "a count is wanted, whole numbers, not a share",
            ),
        ],
        hints=(
            "The table says who is near to whom. Turn it round: how often does each number stand anywhere in it?",
            "Count equal numbers in the flattened table.",
            "torch.bincount(neighbours.flatten(), minlength=N) -> (N,).",
        ),
        difficulty=1,
        minutes=3,
    ),
}
