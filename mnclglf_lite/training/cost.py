"""What a method costs, known before it is run: learnable parameters, image views, relative FLOPs.

    image views      whole views an image; a view of half the side counts a quarter: what the loop has to cut and encode
    relative FLOPs   FLOPs of one training step / FLOPs of showing its images to the backbone once

A backward pass counts two, so that supervised training costs about 3, SimCLR 6, and MNCLGLF 13: three views that learn (9),
four quarters of two views (2), two views of the momentum encoder (2). Heads and losses come on top: next to nothing beside a
ResNet-18, up to a few more beside the slim net of `quick`. Counted are matrix products and convolutions (two FLOPs a
multiply-add), as torch's counter does; not BatchNorm, cutting the views, the optimiser, the moving average.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from statistics import mean

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..core.errors import InputError
from ..methods.base import Method
from ..recipe.recipe import Recipe


@dataclass(frozen=True)
class Cost:
    """The cost of a method: learnable parameters, whole views per image, relative FLOPs per step."""

    parameters: int
    views: float
    relative_flops: float


def cost_of(recipe: Recipe, method: Method) -> Cost:
    """The cost of a method as its recipe builds it. Give one to throw away: its statistics and gradients are spoilt."""
    learnable = sum(p.numel() for p in method.parameters() if p.requires_grad)
    return Cost(learnable, views_per_image(recipe, method), relative_flops(recipe, method))


def views_per_image(recipe: Recipe, method: Method) -> float:
    """Whole views that one picture gives in one step, by area: 2 for SimCLR, 3 for MNCLGLF, 1 for supervised.

    GLNet's eight views of half the side count 2. Where whole views grow, it is the mean over the run.
    """
    view, sizes = recipe.views.view, recipe.views.progressive_sizes or (recipe.views.view.size,)
    wholes = [dataclasses.replace(view, size=size) for size in sizes]
    return mean(sum((slot.resolve(whole).size / view.size) ** 2 for slot in method.slots) for whole in wholes)


def steps_for_views(image_views: int, recipe: Recipe, views: float) -> int:
    """How many steps show a method as nearly `image_views` whole views as whole batches can."""
    if image_views < 1:
        raise InputError(f"image_views must be at least 1; got {image_views}")
    return max(1, round(image_views / (recipe.optim.batch_size * views)))


def relative_flops(recipe: Recipe, method: Method) -> float:
    """FLOPs of a training step of the recipe's batch, over FLOPs of one forward of its backbone on as many whole views.

    Counted on two tiny batches. A step's FLOPs are a * N + b * N^2 in the number N of its pictures (networks and queues; and
    similarities within the batch), so two counts tell those of any batch.
    """
    few = 2 * recipe.method.bn_splits  # BatchNorm needs two pictures a group
    flops, double = step_flops(method, few), step_flops(method, 2 * few)
    quadratic = (double - 2 * flops) / (2 * few**2)  # b, from a n + b n^2 and 2 a n + 4 b n^2
    linear = flops / few - quadratic * few  # a
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        method.backbone(_pictures(method, few, recipe.views.view.size))
    return (linear + quadratic * recipe.optim.batch_size) / (counter.get_total_flops() / few)


def step_flops(method: Method, pictures: int) -> int:
    """FLOPs of the forward and the backward pass of one step, by torch's counter."""
    views = [_pictures(method, pictures, view.size) for view in method.views]
    labels = torch.zeros(pictures, dtype=torch.long, device=views[0].device)
    with FlopCounterMode(display=False) as counter:
        method(views, labels)["loss"].backward()
    return counter.get_total_flops()


def _pictures(method: Method, count: int, size: int) -> Tensor:
    return torch.zeros(count, 3, size, size, device=next(method.parameters()).device)  # what they show costs nothing
