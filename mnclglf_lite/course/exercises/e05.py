"""Exercises of notebook 05: the learning rate's schedule, one step of training, and two measures of collapse."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core.schedules import cosine_decay
from ...evaluation import collapse
from ...evaluation.collapse import feature_std
from ...recipe.presets import preset
from ...training.run import Run, lr_factor, new_run
from ...training.step import Outputs, Step, set_lr
from ...views.batch import make_views
from ...views.view import View
from ..exercise import Case, Exercise, KnownMistake, Property

# ---- 05.1: the schedule

TENTH = preset("quick", "simclr", "toybox", warmup=0.1)  # a tenth of the steps to warm up


def warm_steps(recipe: Any, total: int) -> float:
    return recipe.optim.warmup * total


def from_nought(recipe: Any, step: int, total: int) -> float:
    warm = warm_steps(recipe, total)
    return step / warm if step < warm else cosine_decay(step - warm, total - warm)


def from_the_first_step(recipe: Any, step: int, total: int) -> float:
    warm = warm_steps(recipe, total)
    return (step + 1) / (warm + 1) if step < warm else cosine_decay(step, total)


def whole_cosine(recipe: Any, step: int, total: int) -> float:
    warm = warm_steps(recipe, total)
    share = (step - warm) / (total - warm)
    return (step + 1) / (warm + 1) if step < warm else 0.5 * (1 + math.cos(2 * math.pi * share))


def quarter_cosine(recipe: Any, step: int, total: int) -> float:
    warm = warm_steps(recipe, total)
    return (step + 1) / (warm + 1) if step < warm else math.cos(math.pi / 2 * (step - warm) / (total - warm))


def twice_the_cosine(recipe: Any, step: int, total: int) -> float:
    warm = warm_steps(recipe, total)
    return (step + 1) / (warm + 1) if step < warm else 2 * cosine_decay(step - warm, total - warm)


def one_too_early(recipe: Any, step: int, total: int) -> float:
    warm = warm_steps(recipe, total)
    return (step + 1) / warm if step < warm else cosine_decay(step - warm, total - warm)


def a_share_for_steps(recipe: Any, step: int, total: int) -> float:
    warm = recipe.optim.warmup
    return (step + 1) / (warm + 1) if step < warm else cosine_decay(step - warm, total - warm)


def a_straight_line(recipe: Any, step: int, total: int) -> float:
    warm = warm_steps(recipe, total)
    return (step + 1) / (warm + 1) if step < warm else 1 - (step - warm) / (total - warm)


# ---- 05.2: one step

# A network of a few hundred numbers, with all that a step has to look after: heads, a twin, views, a rate that changes.
TINY = preset(
    "quick", "byol", "toybox", width=2, blocks=(1,), projector=(8, 4), predictor_hidden=8, batch_size=8, steps=10, warmup=0.3,
    ema=0.5, ema_end=0.0, precision="fp32", view=View(size=8, blur_p=0.0),
)  # fmt: skip
PICTURES = torch.randint(0, 256, (3, 8, 3, 8, 8), generator=torch.Generator().manual_seed(5), dtype=torch.uint8)


class Young(Run):
    """A run at its first step. A copy is made anew; and as a step is there to change it, all of them count as the same."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Young:
        return young()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Young)

    __hash__ = None

    def __repr__(self) -> str:
        return "a run at its first step"


def young() -> Young:
    fresh = new_run(TINY, 64, 10, torch.device("cpu"))
    return Young(**{spec.name: getattr(fresh, spec.name) for spec in dataclasses.fields(fresh)})


def one_step(run: Run, images: Tensor) -> Outputs:
    """One step of training on pictures (N, 3, H, W): the method's outputs, the loss among them. Changes the run."""
    set_lr(run)
    cut = make_views(images, run.method.views, run.generator)
    outputs = run.method(cut)
    run.optimiser.zero_grad()
    outputs["loss"].backward()
    run.optimiser.step()
    run.method.after_step(outputs)
    run.step += 1
    return outputs


def stepwise(*left_out: str, gives: Any = lambda outputs: outputs) -> Any:
    """`one_step` with some of its lines left out: what slips are made of."""

    def slipped(run: Run, images: Tensor) -> Any:
        if "rate" not in left_out:
            set_lr(run)
        outputs = run.method(make_views(images, run.method.views, run.generator))
        if "zero" not in left_out:
            run.optimiser.zero_grad()
        outputs["loss"].backward()
        if "wiped" in left_out:
            run.optimiser.zero_grad()
        if "optimiser" not in left_out:
            run.optimiser.step()
        if "after" not in left_out:
            run.method.after_step(outputs)
        if "count" not in left_out:
            run.step += 1
        return gives(outputs)

    return slipped


def weights(run: Run) -> Tensor:
    """All parameters of a run's networks in one row; the twin's too."""
    return torch.cat([p.detach().flatten() for p in run.method.parameters()])


def after(answer: Any, steps: int) -> Run:
    """A young run that an answer has trained for some steps."""
    fresh = young()
    for images in PICTURES[:steps]:
        answer(fresh, images)
    return fresh


def gradient_is_left(answer: Any) -> bool:
    grads = [p.grad for p in after(answer, 1).method.parameters() if p.requires_grad]
    return all(g is not None for g in grads) and any(bool(g.any()) for g in grads)


def online_moves(answer: Any) -> bool:
    return not torch.equal(after(answer, 1).method.predictor[0].weight, young().method.predictor[0].weight)


def twin_moves(answer: Any) -> bool:
    moved, still = after(answer, 1).method, young().method
    return not torch.equal(moved.momentum_projector[0].weight, still.momentum_projector[0].weight)


def counts(answer: Any) -> bool:
    return after(answer, 2).step == 2


def rate_is_set(answer: Any) -> bool:
    mine, theirs = after(answer, 2), after(one_step, 2)
    return mine.optimiser.param_groups[0]["lr"] == theirs.optimiser.param_groups[0]["lr"]


def gradients_are_fresh(answer: Any) -> bool:
    pairs = zip(after(answer, 2).method.parameters(), after(one_step, 2).method.parameters(), strict=True)
    return all(a.grad is None or torch.allclose(a.grad, b.grad, atol=1e-6) for a, b in pairs)


def as_the_package(answer: Any) -> bool:
    """Three steps end in the weights of the package's own loop."""
    theirs = young()
    step = Step(theirs, PICTURES.flatten(0, 1), torch.zeros(24, dtype=torch.long), "eager")
    for i in range(3):
        step(torch.arange(8 * i, 8 * i + 8))
    return torch.allclose(weights(after(answer, 3)), weights(theirs), atol=1e-6)


# ---- 05.3 and 05.4: gauges


def cloud(n: int, d: int, seed: int) -> Tensor:
    """Embeddings (N, D) of different lengths, their coordinates of different widths."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * torch.arange(1, d + 1)
    return (x + 0.5) * torch.arange(1, n + 1)[:, None]


CROSS = torch.cat([torch.eye(4), -torch.eye(4)])  # eight directions at right angles or opposite
FLAT = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # two directions of three


def shares(z: Tensor) -> Tensor:
    values = torch.linalg.svdvals(z.double())
    return values / values.sum()


def entropy_of(share: Tensor) -> Tensor:
    return -(share * share.clamp_min(1e-12).log()).sum()


def nan_at_nought(z: Tensor) -> Tensor:
    """0 * log 0. On some machines the last singular value of a flat cloud comes out as a hair instead of 0: it is 0 here."""
    share = shares(z)
    share = torch.where(share < 1e-9, 0.0, share)
    return torch.exp(-(share * share.log()).sum()).float()


EXERCISES = {
    "05.1": Exercise(
        goal="the learning rate's schedule: a short rise in a straight line, then half a cosine down to nought",
        reference=lr_factor,
        trials=[
            Case("the first of 100 steps, 10 of them to warm up", (TENTH, 0, 100), 1 / 11),
            Case("step 4 of 100, 10 of them to warm up", (TENTH, 4, 100), 5 / 11),
            Case("step 10 of 100, the first after the warm-up", (TENTH, 10, 100), 1.0),
            Case("step 55 of 100, half way down", (TENTH, 55, 100), 0.5),
            Case("step 90 of 100", (TENTH, 90, 100)),
            Case("step 7 of 1,000", (TENTH, 7, 1000)),
        ],
        slips=[
            KnownMistake(
                from_nought,
                "the first step has a rate of nought, so nothing is learned in it: count the steps from 1 while the rate rises",
            ),
            KnownMistake(
                from_the_first_step,
                "the cosine began with the first step, so the rate jumps down where the warm-up ends: count its steps from there",
            ),
            KnownMistake(
                whole_cosine, "that is a whole turn of the cosine, which comes up again at the end: half a turn, up to pi"
            ),
            KnownMistake(
                quarter_cosine,
                "a quarter of a turn, which ends steeply; half a turn, from 1 to -1, lifted and halved: (1 + cos(pi * done)) / 2",
            ),
            KnownMistake(twice_the_cosine, "1 + cos starts at 2: halve it"),
            KnownMistake(
                one_too_early,
                "the rise reached the full rate one step too early: (step + 1) / (warm + 1), so that step `warm` is the first in full",
            ),
            KnownMistake(
                a_share_for_steps,
                "recipe.optim.warmup was taken for a number of steps; it is a share of them: recipe.optim.warmup * total",
            ),
            KnownMistake(
                a_straight_line, "after the warm-up the rate falls in a straight line; half a cosine was asked for"
            ),
            KnownMistake(
                lambda recipe, step, total: recipe.optim.lr * lr_factor(recipe, step, total),
                "this is the rate itself; its share of the full rate is asked for, between 0 and 1, without recipe.optim.lr",
            ),
        ],
        hints=(
            "Two cases. While the step lies in the warm-up, the share rises in equal stairs; after it, the rest of the run is half a turn of a cosine.",
            "warm = recipe.optim.warmup * total. Rising: (step + 1) / (warm + 1). Falling: (1 + cos(pi * done)) / 2, with done = (step - warm) / (total - warm).",
            "All are plain numbers: an `if step < warm:` with one `return` in it, and one behind it. math.cos and math.pi are at hand.",
        ),
        difficulty=1,
        minutes=6,
    ),
    "05.2": Exercise(
        goal="one step of training: rate, views, forward, backward, optimiser, what comes after the step, count",
        reference=one_step,
        trials=[Case("the first step of a tiny BYOL", (young(), PICTURES[0]))],
        slips=[
            KnownMistake(
                stepwise("wiped"),
                "after the step there is no gradient: either backward() is missing, or zero_grad() stands behind it and wipes it out",
            ),
            KnownMistake(
                stepwise("optimiser"), "the online network has not moved: run.optimiser.step() belongs behind backward()"
            ),
            KnownMistake(
                stepwise("after"),
                "the twin has not moved: run.method.after_step(outputs) does what comes after the step, averages and queues",
            ),
            KnownMistake(
                stepwise(gives=lambda outputs: outputs["loss"]),
                "the step is right, but it gave back the loss alone: give back the whole dict of outputs",
            ),
            KnownMistake(stepwise("count"), "the step was not counted: run.step += 1, or the schedule stands still"),
            KnownMistake(stepwise("rate"), "the learning rate was not set for this step: set_lr(run) comes first"),
            KnownMistake(
                stepwise("zero"),
                "the gradient of the step before was still there, and the new one was added to it: zero_grad() before backward()",
            ),
        ],
        rules=[
            Property(
                "after the step no gradient is there: is backward() missing, or zero_grad() behind it?", gradient_is_left
            ),
            Property("the online network's weights are those of before", online_moves),
            Property("the twin's weights are those of before", twin_moves),
            Property("run.step must be one more after each step", counts),
            Property("the optimiser's rate is not that of the schedule", rate_is_set),
            Property("in the second step the gradient is not that of the second step alone", gradients_are_fresh),
            Property(
                "after three steps the weights are not those of the package's own loop; first the optimiser, then after_step",
                as_the_package,
            ),
        ],
        hints=(
            "Seven things happen in a step, in this order: the rate, the views, the forward pass, the backward pass, the optimiser, what the method does afterwards, the count.",
            "set_lr(run); make_views(images, run.method.views, run.generator); run.method(...); zero_grad, backward, step; run.method.after_step(outputs); run.step += 1.",
            'images are uint8 (N, 3, H, W); make_views gives a list with a float tensor (N, 3, S, S) for each view; run.method(list) gives a dict whose "loss" is a scalar. Return that dict.',
        ),
        difficulty=2,
        minutes=8,
        home="mnclglf_lite.training.step.Step, which `train` calls for each batch",
    ),
    "05.3": Exercise(
        goal="spread: how widely do the directions of embeddings differ, from 0 (all the same) to about 1 (evenly)?",
        reference=feature_std,
        trials=[
            Case("eight directions in four dimensions, one along each half axis", (CROSS,), 1.0),
            Case("six embeddings, all the same", (torch.ones(6, 4),), 0.0),
            Case("eight random embeddings of different lengths", (cloud(8, 4, 0),)),
        ],
        slips=[
            KnownMistake(
                lambda z: z.std(dim=0, unbiased=False).mean() * z.shape[1] ** 0.5,
                "long embeddings count for more: make every row length one before anything else",
            ),
            KnownMistake(
                lambda z: F.normalize(z, dim=1).std(dim=0, unbiased=False).mean(),
                "the factor sqrt(D) is missing: a unit vector of D coordinates has about 1 / sqrt(D) in each, so the gauge would end there",
            ),
            KnownMistake(
                lambda z: F.normalize(z, dim=1).std(dim=1, unbiased=False).mean() * z.shape[1] ** 0.5,
                "this is the deviation within each embedding; take each coordinate over all embeddings, dim=0",
            ),
            KnownMistake(
                lambda z: F.normalize(z, dim=1).std(dim=0).mean() * z.shape[1] ** 0.5,
                "nearly: the mean square is over N here, not N - 1, so that the gauge does not depend on the batch: unbiased=False",
            ),
            KnownMistake(
                lambda z: F.normalize(z, dim=0).std(dim=0, unbiased=False).mean() * z.shape[1] ** 0.5,
                "the columns were made length one; an embedding is a row: F.normalize(z, dim=1)",
            ),
            KnownMistake(
                lambda z: feature_std(z) * (z.shape[0] / z.shape[1]) ** 0.5,
                "the factor is the root of D, the number of coordinates; this was the root of N",
            ),
            KnownMistake(
                lambda z: F.normalize(z, dim=1).std(unbiased=False) * z.shape[1] ** 0.5,
                "one deviation over all numbers at once: it stays large when all embeddings are the same. One a coordinate, then their mean",
            ),
        ],
        rules=[
            Property(
                "making embeddings longer changed the gauge; only directions may count",
                lambda f: torch.allclose(torch.as_tensor(f(3 * CROSS)), torch.as_tensor(f(CROSS))),
            )
        ],
        hints=(
            "Only directions count. If all embeddings point the same way, no coordinate changes from one to the next.",
            "Unit rows u. Standard deviation of each coordinate over the N embeddings, its mean over the D coordinates, times sqrt(D).",
            "F.normalize(z, dim=1) is (N, D); .std(dim=0, unbiased=False) is (D,); .mean() a scalar; times z.shape[1] ** 0.5.",
        ),
        difficulty=1,
        minutes=4,
    ),
    "05.4": Exercise(
        goal="effective rank: how many directions do embeddings use, from 1 (a line) to D?",
        reference=collapse.effective_rank,
        trials=[
            Case("two directions of three, used alike", (FLAT,), 2.0),
            Case("six embeddings on one line", (torch.arange(1.0, 7)[:, None] * torch.tensor([[3.0, 0.0, 0.0]]),), 1.0),
            Case("eight random embeddings", (cloud(8, 4, 0),)),
        ],
        slips=[
            KnownMistake(
                nan_at_nought,
                "a direction that is not used at all has the share 0, and 0 * log 0 is nan: keep the shares above nought, such as .clamp_min(1e-12)",
            ),
            KnownMistake(
                lambda z: entropy_of(shares(z)).float(),
                "this is the entropy; exp of it is the number of directions: ln 2 means two of them",
            ),
            KnownMistake(
                lambda z: torch.exp(entropy_of(torch.linalg.svdvals(z.double()))).float(),
                "these were no shares: divide the singular values by their sum first, so that they add up to 1",
            ),
            KnownMistake(
                lambda z: torch.exp(-entropy_of(shares(z))).float(),
                "the minus sign is missing: log p is negative, and entropy is not",
            ),
            KnownMistake(
                lambda z: torch.exp(entropy_of(torch.softmax(torch.linalg.svdvals(z.double()), 0))).float(),
                "softmax makes shares of exp(s); here the share is s over the sum of all s",
            ),
            KnownMistake(
                lambda z: torch.exp(entropy_of(shares(F.normalize(z, dim=1)))).float(),
                "the rows were made length one first; that is for the other gauge, this one takes the table as it is",
            ),
            KnownMistake(
                lambda z: torch.exp(entropy_of(shares(z) ** 2 / (shares(z) ** 2).sum())).float(),
                "the singular values were squared: that weighs strong directions more (the shares are of the values themselves)",
            ),
            KnownMistake(
                lambda z: torch.exp(entropy_of(shares(z - z.mean(dim=0)))).float(),
                "the mean was taken off first: then a cloud far from nought looks as wide as one around it. This gauge does not centre",
            ),
            KnownMistake(
                lambda z: torch.linalg.matrix_rank(z.double()).float(),
                "this counts every direction in full that is used at all, be it by a hair; the shares say how much",
            ),
            KnownMistake(
                lambda z: torch.exp(-(shares(z) * shares(z).clamp_min(1e-12).log2()).sum()).float(),
                "log to the base 2 goes with 2 to the power of it, the natural log with exp",
            ),
        ],
        rules=[
            Property(
                "all embeddings twice as long use no more directions; the singular values have to be made shares",
                lambda f: torch.allclose(
                    torch.as_tensor(f(2 * FLAT)).double(), torch.as_tensor(f(FLAT)).double(), atol=1e-4
                ),
            )
        ],
        hints=(
            "The singular values of the table (N, D) say how far it reaches along each direction. Two long ones and the rest nought: two directions. What number says that smoothly?",
            "p = s / sum(s); rank = exp( -sum p log p ). With k equal shares that is exactly k.",
            "torch.linalg.svdvals(z) is (min(N, D),); its shares too; .clamp_min(1e-12) before .log(); a scalar comes out.",
        ),
        difficulty=2,
        minutes=6,
    ),
}
