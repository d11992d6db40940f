"""Exercises of notebook 04: divide, combine, the local targets, the local term, and the whole loss of MNCLGLF."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from ...losses import info_nce, nt_xent
from ...recipe.presets import preset
from ...recipe.recipe import build_method
from ...views.patches import average_combinations, grid_patches
from ..exercise import Case, Exercise, KnownMistake, Property, noise, rows

# ---- 04.1: divide


def row_by_row(views: Tensor) -> Tensor:
    return grid_patches(views)[[0, 2, 1, 3]]


def scrambled(views: Tensor) -> Tensor:
    n, c, h, w = views.shape
    return views.reshape(n, c, 4, h // 2, w // 2).movedim(2, 0)


def across_pictures(views: Tensor) -> Tensor:
    n, c, h, w = views.shape
    return views.reshape(4, n, c, h // 2, w // 2)


def overlapping(views: Tensor) -> Tensor:
    h, w = (side // 2 for side in views.shape[-2:])
    starts = [(top, left) for left in (0, w // 2) for top in (0, h // 2)]
    return torch.stack([views[..., top : top + h, left : left + w] for top, left in starts])


NUMBERED = torch.arange(1.0, 33.0).view(2, 1, 4, 4)  # two pictures: 1 to 16, row by row, and 17 to 32
QUARTERS = torch.tensor([[[1.0, 2], [5, 6]], [[9, 10], [13, 14]], [[3, 4], [7, 8]], [[11, 12], [15, 16]]])


def turned(views: Tensor) -> Tensor:
    """Patches whose rows have become columns."""
    return grid_patches(views).transpose(-1, -2)


def loses_nothing(answer) -> bool:
    """Every pixel of a view is in one patch, and once."""
    views = noise(3, 3, 8, 8)
    return torch.equal(answer(views).flatten().sort().values, views.flatten().sort().values)


# ---- 04.2: combine


def chosen(choices):
    return lambda h: torch.stack([(h[a] + h[b]) / 2 for a, b in choices])


# ---- 04.3: local targets


def local_targets(view: Tensor, backbone: nn.Module, projector: nn.Module) -> Tensor:
    """What the stop-gradient network says of the pairs of patches of views (N, 3, S, S): (6, N, D), without gradient."""
    with torch.no_grad():
        patches = grid_patches(view)  # (4, N, 3, S/2, S/2)
        features = backbone(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])  # (4, N, dim)
        pairs = average_combinations(features)  # (6, N, dim)
        return projector(pairs.flatten(0, 1)).unflatten(0, pairs.shape[:2])  # (6, N, D)


class Pooled(nn.Module):
    """A small backbone with BatchNorm: pictures of any size to 5 features."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.convolution(x))).mean(dim=(2, 3))


def networks() -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Pooled(), nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))


def targets_of(answer):
    """What an answer makes of four random views, with small networks in train mode."""
    return answer(noise(4, 3, 8, 8, seed=1), *networks())


def holds_still(answer) -> bool:
    return not targets_of(answer).requires_grad


def is_the_method(answer) -> bool:
    method = build_method(preset("quick", "mnclglf", "toybox", steps=1), 10)
    view = noise(4, 3, 16, 16, seed=2)
    mine, theirs = answer(view, method.backbone, method.projector), method.local_targets(grid_patches(view))
    return torch.allclose(mine, theirs, atol=1e-5)


@torch.no_grad()
def pixels_averaged(view: Tensor, backbone: nn.Module, projector: nn.Module) -> Tensor:
    both = average_combinations(grid_patches(view).flatten(2)).unflatten(2, (3, view.shape[-2] // 2, view.shape[-1] // 2))
    return projector(backbone(both.flatten(0, 1))).unflatten(0, both.shape[:2])


@torch.no_grad()
def projected_first(view: Tensor, backbone: nn.Module, projector: nn.Module) -> Tensor:
    parts = grid_patches(view)
    return average_combinations(projector(backbone(parts.flatten(0, 1))).unflatten(0, parts.shape[:2]))


@torch.no_grad()
def one_by_one(view: Tensor, backbone: nn.Module, projector: nn.Module) -> Tensor:
    both = average_combinations(torch.stack([backbone(patch) for patch in grid_patches(view)]))
    return projector(both.flatten(0, 1)).unflatten(0, both.shape[:2])


@torch.no_grad()
def projected_one_by_one(view: Tensor, backbone: nn.Module, projector: nn.Module) -> Tensor:
    parts = grid_patches(view)
    return torch.stack(
        [projector(pair) for pair in average_combinations(backbone(parts.flatten(0, 1)).unflatten(0, parts.shape[:2]))]
    )


@torch.no_grad()
def mixed_up(view: Tensor, backbone: nn.Module, projector: nn.Module) -> Tensor:
    """The 4N features are read as N times 4, though the patches came first."""
    features = backbone(grid_patches(view).flatten(0, 1)).unflatten(0, (len(view), 4)).transpose(0, 1)
    return projector(average_combinations(features).flatten(0, 1)).unflatten(0, (6, len(view)))


@torch.no_grad()
def not_projected(view: Tensor, backbone: nn.Module, projector: nn.Module) -> Tensor:
    parts = grid_patches(view)
    return average_combinations(backbone(parts.flatten(0, 1)).unflatten(0, parts.shape[:2]))


# ---- 04.4: the local term


def local_loss(p1: Tensor, p2: Tensor, c1: Tensor, c2: Tensor, temperature: float) -> Tensor:
    """Predictions (N, D) of two views, and the six targets (6, N, D) of each: the mean of 12 InfoNCE terms."""
    terms = [info_nce(p1, c, temperature) for c in c2] + [info_nce(p2, c, temperature) for c in c1]
    return torch.stack(terms).mean()


def one_softmax(p1: Tensor, p2: Tensor, c1: Tensor, c2: Tensor, temperature: float) -> Tensor:
    """All 6N targets in one softmax, the first combination as the answer."""

    def term(p, c):
        logits = nn.functional.normalize(p, dim=1) @ nn.functional.normalize(c.flatten(0, 1), dim=1).T / temperature
        return nn.functional.cross_entropy(logits, torch.arange(len(p)))

    return (term(p1, c2) + term(p2, c1)) / 2


TERMS = (rows(5, 4, 0), rows(5, 4, 1), noise(6, 5, 4, seed=2), noise(6, 5, 4, seed=3), 0.3)
ALIKE = (torch.ones(3, 4), torch.ones(3, 4), torch.ones(6, 3, 4), torch.ones(6, 3, 4), 0.2)


def teaches(loss) -> bool:
    """Whether gradient reaches both predictions."""
    p1, p2 = (x.clone().requires_grad_() for x in TERMS[:2])
    came = loss(p1, p2, *TERMS[2:])
    if not isinstance(came, Tensor) or not came.requires_grad:
        return False
    return all(g is not None and bool(g.any()) for g in torch.autograd.grad(came, (p1, p2), allow_unused=True))


def any_order(loss) -> bool:
    """The order of the patches means nothing, and so that of the pairs."""
    p1, p2, c1, c2, temperature = TERMS
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    return torch.allclose(loss(*TERMS), loss(p1, p2, c1[order], c2[order.flip(0)], temperature), atol=1e-5)


# ---- 04.5: the whole


def whole_loss(local, p1: Tensor, p3: Tensor, n1: Tensor, n3: Tensor, temperature: float, weights: tuple) -> Tensor:
    """weights[0] times the local term, and weights[1] times the global one of predictions and neighbours (N, D)."""
    across = (nt_xent(n3, p1, temperature) + nt_xent(n1, p3, temperature)) / 2
    return weights[0] * local + weights[1] * across


WHOLE = (torch.tensor(2.5), *(rows(5, 4, seed) for seed in range(4)), 0.3, (0.5, 3.0))
ONES = (torch.tensor(1.0), *(torch.ones(3, 4),) * 4, 0.2, (1.0, 6.0))


def reached(loss) -> list[bool]:
    """Whether gradient reaches the local term, p1, p3."""
    given = [x.clone().requires_grad_() for x in WHOLE[:3]]
    came = loss(*given, *WHOLE[3:])
    if not isinstance(came, Tensor) or not came.requires_grad:
        return [False] * 3
    return [g is not None and bool(g.any()) for g in torch.autograd.grad(came, given, allow_unused=True)]


EXERCISES = {
    "04.1": Exercise(
        goal="cut every view into four quarters that do not overlap",
        reference=grid_patches,
        trials=[
            Case(
                "two squares of 4 x 4: 1 to 16, and 17 to 32",
                (NUMBERED,),
                torch.stack([QUARTERS, QUARTERS + 16], 1)[:, :, None],
            ),
            Case("three random views of 8 x 6 pixels", (noise(3, 3, 8, 6),)),
        ],
        slips=[
            KnownMistake(
                row_by_row,
                "the right tiles, row by row. No loss would mind, but the package counts column by column: "
                "top left, bottom left, top right, bottom right",
            ),
            KnownMistake(
                scrambled,
                "the shape is right and the pixels are scrambled: reshape cut the *list* of pixels in four. "
                "Split height and width into (2, H/2) and (2, W/2) first, then permute",
            ),
            KnownMistake(
                across_pictures,
                "the reshape ran across the pictures of the batch: a tile must hold pixels of one picture, from one quarter",
            ),
            KnownMistake(overlapping, "these tiles overlap: the second begins where the first one ends, at half the side"),
            KnownMistake(
                lambda views: grid_patches(views).movedim(0, 1),
                "the tiles are right, but their axis comes first: (4, N, C, H/2, W/2), so that tiles[0] is a batch of its own",
            ),
            KnownMistake(
                turned, "the right tiles, but each with rows and columns exchanged: after the permute H/2 stands before W/2"
            ),
            KnownMistake(
                lambda views: torch.stack(views.chunk(4, dim=2)),
                "these are four strips; cut the height in two and the width in two",
            ),
        ],
        rules=[Property("a pixel was lost or used twice", loses_nothing)],
        hints=(
            "Two cuts: the height in two, the width in two. Slices do it; so does a reshape, followed by a permute.",
            "tile (across, down) = views[:, :, down * h : (down + 1) * h, across * w : (across + 1) * w], h and w half a side.",
            "reshape to (N, C, 2, H/2, 2, W/2), then permute(4, 2, 0, 1, 3, 5), then reshape to (4, N, C, H/2, W/2).",
        ),
        difficulty=2,
        minutes=8,
    ),
    "04.2": Exercise(
        goal="the mean of each pair of the four patches' features: six of them",
        reference=average_combinations,
        trials=[
            Case(
                "four patches with one feature each: 0, 2, 4, 8",
                (torch.tensor([0.0, 2.0, 4.0, 8.0]).view(4, 1, 1),),
                torch.tensor([1.0, 2.0, 4.0, 3.0, 5.0, 6.0]).view(6, 1, 1),
            ),
            Case("three random pictures, five features", (noise(4, 3, 5),)),
        ],
        slips=[
            KnownMistake(
                chosen(list(itertools.permutations(range(4), 2))),
                "twelve: every pair came twice, once in each order. The mean of a and b is that of b and a: take a < b",
            ),
            KnownMistake(
                chosen(list(itertools.product(range(4), repeat=2))),
                "sixteen: pairs in both orders, and every patch with itself. Take a < b",
            ),
            KnownMistake(
                chosen(list(itertools.combinations_with_replacement(range(4), 2))),
                "ten: four of them are a patch with itself. A pair has two different members",
            ),
            KnownMistake(lambda h: 2 * average_combinations(h), "these are sums; the mean of two is half of that"),
            KnownMistake(
                chosen([(0, 1), (1, 2), (2, 3)]),
                "three: only patches that follow each other were paired. Any two make a pair",
            ),
            KnownMistake(
                lambda h: torch.stack([torch.cat([h[a], h[b]], dim=1) for a, b in itertools.combinations(range(4), 2)]),
                "the features were put beside each other; a mean keeps their number, so that the same projector takes them",
            ),
        ],
        hints=(
            "How many ways are there to choose two of four, if the order does not count? itertools can list them.",
            "For all a < b: (h_a + h_b) / 2.",
            "itertools.combinations(range(4), 2) gives six pairs; features[a] is (N, D); torch.stack makes (6, N, D).",
        ),
        difficulty=1,
        minutes=4,
    ),
    "04.3": Exercise(
        goal="divide, encode, combine, project, all without gradient: the six local targets of every view",
        reference=local_targets,
        trials=[Case("four random views through a small network", (), call=targets_of)],
        slips=[
            KnownMistake(
                pixels_averaged,
                "two pictures on top of each other went into the network: average the *features*, after the backbone",
            ),
            KnownMistake(
                projected_first,
                "the projections were averaged: the release averages what the backbone says, and projects the six means",
            ),
            KnownMistake(
                one_by_one,
                "each patch went through the backbone in a batch of its own, so BatchNorm saw other company: "
                "all 4N patches go in one batch, patches.flatten(0, 1)",
            ),
            KnownMistake(
                projected_one_by_one,
                "each pair went through the projector in a batch of its own: all 6N go in one batch, pairs.flatten(0, 1)",
            ),
            KnownMistake(
                mixed_up,
                "the patches were dealt to the wrong pictures: flatten(0, 1) of (4, N, ...) keeps the patch first, "
                "so the way back is unflatten(0, (4, N))",
            ),
            KnownMistake(
                not_projected, "the projector is missing: targets live where predictions live, behind the projector"
            ),
            KnownMistake(
                lambda view, backbone, projector: projector(
                    average_combinations(backbone(grid_patches(view).flatten(0, 1)).unflatten(0, (4, len(view)))).flatten(
                        0, 1
                    )
                ).unflatten(0, (6, len(view))),
                "the numbers are right, but they carry gradient: a target holds still. Put torch.no_grad() around it",
            ),
        ],
        rules=[
            Property("gradient would flow into the targets", holds_still),
            Property("MNCLGLF's own method finds other targets", is_the_method),
        ],
        hints=(
            "Four stations: divide, backbone, combine, projector. What goes through a network goes through it as one batch.",
            "c = g(combine(f(divide(x)))), f the backbone, g the projector, under torch.no_grad().",
            "(4, N, 3, s, s).flatten(0, 1) -> backbone -> (4N, dim).unflatten(0, (4, N)) -> pairs (6, N, dim) -> the same again",
        ),
        difficulty=3,
        minutes=10,
        home="mnclglf_lite.methods.mnclglf.MNCLGLF.local_targets",
    ),
    "04.4": Exercise(
        goal="the local term: each prediction is to find the six targets of the *other* view",
        reference=local_loss,
        trials=[Case("all embeddings equal, three pictures: ln 3", ALIKE, 1.0986123), Case("five random pictures", TERMS)],
        slips=[
            KnownMistake(
                lambda p1, p2, c1, c2, t: local_loss(p1, p2, c2, c1, t),
                "each prediction met the patches of its own view; p1 is to find what c2 says, and p2 what c1 says",
            ),
            KnownMistake(
                one_softmax,
                "all 6N targets stood in one softmax, so that five of a picture's own six were its negatives: one InfoNCE a pair",
            ),
            KnownMistake(
                lambda p1, p2, c1, c2, t: torch.stack(
                    [info_nce(c, p1, t) for c in c2] + [info_nce(c, p2, t) for c in c1]
                ).mean(),
                "the targets were the anchors: p asks, c answers. info_nce(p, c, T)",
            ),
            KnownMistake(
                lambda p1, p2, c1, c2, t: 12 * local_loss(p1, p2, c1, c2, t),
                "this is the sum of the twelve terms; take their mean",
            ),
            KnownMistake(
                lambda p1, p2, c1, c2, t: torch.stack([info_nce(p1, c, t) for c in c2]).mean(),
                "only p1 asked: p2 and the patches of x1 make the other six terms",
            ),
            KnownMistake(
                lambda p1, p2, c1, c2, t: 2 * local_loss(p1, p2, c1, c2, t),
                "twice as much: the two means of six were added. It is one mean of all twelve",
            ),
            KnownMistake(
                lambda p1, p2, c1, c2, t: (info_nce(p1, c2.mean(dim=0), t) + info_nce(p2, c1.mean(dim=0), t)) / 2,
                "the six targets were averaged into one; each of them is a term of its own, and the *terms* are averaged",
            ),
            KnownMistake(
                lambda p1, p2, c1, c2, t: local_loss(p1, p2, c1, c2, 1.0),
                "the temperature was left out: it is the third argument of info_nce",
            ),
            KnownMistake(
                lambda p1, p2, c1, c2, t: torch.stack(
                    [nt_xent(p1, c, t) for c in c2] + [nt_xent(p2, c, t) for c in c1]
                ).mean(),
                "this is NT-Xent, in which targets ask as well; the local term is InfoNCE, where p alone asks",
            ),
            KnownMistake(
                lambda p1, p2, c1, c2, t: local_loss(p1.detach(), p2.detach(), c1, c2, t),
                "the value is right, but p1 and p2 were detached: that is the released form, in which this term teaches nobody",
            ),
        ],
        rules=[
            Property("no gradient reaches p1 or p2: the loss has to stay a tensor, without .item() or .detach()", teaches),
            Property("another order of the pairs changed the loss", any_order),
        ],
        hints=(
            "Two views, six targets each: how many small quizzes is that? Each of them is the InfoNCE of notebook 02.",
            "(1/12) sum_j [ l(p1, c_j(x2)) + l(p2, c_j(x1)) ].",
            "for c in c2: c is (N, D), as p1 is; info_nce(p1, c, T) is one number. Stack all twelve and take the mean.",
        ),
        difficulty=2,
        minutes=6,
        home="mnclglf_lite.methods.mnclglf.MNCLGLF.forward",
    ),
    "04.5": Exercise(
        goal="the whole loss of MNCLGLF: the local term, and predictions that find the neighbour of the other view",
        reference=whole_loss,
        trials=[
            Case("three pictures, all embeddings equal, local term 1, weights 1 and 6: 1 + 6 ln 5", ONES, 10.6566274),
            Case("five random pictures, weights 0.5 and 3", WHOLE),
        ],
        slips=[
            KnownMistake(
                lambda local, p1, p3, n1, n3, t, w: whole_loss(local, p1, p3, n3, n1, t, w),
                "each prediction met the neighbour of its own view: p1 goes with n3, and p3 with n1",
            ),
            KnownMistake(
                lambda local, p1, p3, n1, n3, t, w: whole_loss(local, p1, p3, n1, n3, t, w[::-1]),
                "the weights are swapped: the first is the local term's",
            ),
            KnownMistake(
                lambda local, p1, p3, n1, n3, t, w: w[0] * local + w[1] * (info_nce(p1, n3, t) + info_nce(p3, n1, t)) / 2,
                "this is InfoNCE; the global term is NT-Xent, in which both sides ask and one's own side counts too",
            ),
            KnownMistake(
                lambda local, p1, p3, n1, n3, t, w: whole_loss(local, p1, p3, n1, n3, t, (w[0], 2 * w[1])),
                "the two halves of the global term were added; take their mean before the weight",
            ),
            KnownMistake(
                lambda local, p1, p3, n1, n3, t, w: whole_loss(local.detach(), p1, p3, n1, n3, t, w),
                "the value is right, but the local term was detached: that is the released form",
            ),
            KnownMistake(
                lambda local, p1, p3, n1, n3, t, w: w[0] * local + w[1] * nt_xent(n3, p1, t),
                "only one crossing: p3 with n1 is the other half of the global term",
            ),
            KnownMistake(
                lambda local, p1, p3, n1, n3, t, w: w[0] * local + w[1] * nt_xent(p1, p3, t),
                "the two predictions met each other; what a prediction is to find is the *neighbour* of the other view",
            ),
            KnownMistake(
                lambda local, p1, p3, n1, n3, t, w: whole_loss(local, p1, p3, n1, n3, t, (1.0, 1.0)),
                "both terms came in with a weight of 1: multiply the local one by weights[0], the global one by weights[1]",
            ),
            KnownMistake(
                lambda local, p1, p3, n1, n3, t, w: whole_loss(local, p1, p3, n1, n3, t, (1.0, 6.0)),
                "the weights were written down as 1 and 6; take them from `weights`, which may be others",
            ),
        ],
        rules=[
            Property(
                "no gradient reaches anything: the loss has to stay a tensor, without .item() or .detach()",
                lambda f: any(reached(f)),
            ),
            Property("no gradient reaches the local term", lambda f: reached(f)[0]),
            Property(
                "no gradient reaches p1 or p3: the global term is to teach both predictions", lambda f: all(reached(f)[1:])
            ),
        ],
        hints=(
            "Two terms with a weight each. The global one: a prediction of one view, the neighbour of the other.",
            "w0 L_local + w1 (1/2 NTX(n3, p1) + 1/2 NTX(n1, p3)).",
            "nt_xent(n3, p1, T) is one number, from two (N, D).",
        ),
        difficulty=2,
        minutes=6,
        home="mnclglf_lite.methods.mnclglf.MNCLGLF.forward",
    ),
}
