"""The methods as one family: what each is made of, read off the built method itself, and a table of it.

Nothing here is written down twice. Networks and queues are counted; whether negatives come from the batch, from a queue or
from nowhere is found by experiment: the other pictures of a batch, then the entries of the queue, are exchanged, and the
gradient that the loss sends to one picture either notices or does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..core.errors import InputError
from ..drawing import canvas
from ..drawing.canvas import new_canvas
from ..drawing.palette import AGREE, FAINT, GREY, INK
from ..methods.base import Method
from ..methods.registry import METHODS
from ..models.memory_queue import Queue
from ..models.resnet import ResNet
from ..recipe.recipe import Recipe, build_method
from ..training.cost import cost_of

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURES = 4  # in the batch of the experiment (ours): one to look at, three to exchange
NOTICED = 1e-3  # relative change of a gradient that is no rounding (ours): what notices changes by a tenth and more


@dataclass(frozen=True)
class MethodTraits:
    """What a method is made of.

    views               whole views that an image gives in a step, by area (see `cost`)
    learning            backbones that learn by gradient
    momentum_encoders   backbones that are moving averages of another
    predictor           whether there is a prediction head
    queues              memories of earlier images
    negatives           where other images come from that the loss looks at: "batch", "queue" or "none"
    neighbour           whether an image's positive is another, similar image
    parts               whether a backbone is fed less than a whole view
    relative_flops      of a step (see `cost`)
    """

    views: float
    learning: int
    momentum_encoders: int
    predictor: bool
    queues: int
    negatives: str
    neighbour: bool
    parts: bool
    relative_flops: float


def traits(recipe: Recipe) -> MethodTraits:
    """The traits of the method that a recipe builds; the method itself is thrown away."""
    cost = cost_of(recipe, build_method(recipe, 10))
    method = build_method(recipe, 10).eval()  # BatchNorm must not let the pictures of a batch see each other
    method.progress.fill_(0.5)
    backbones = [module for module in method.modules() if isinstance(module, ResNet)]
    queues = [module for module in method.modules() if isinstance(module, Queue)]
    draws = torch.Generator().manual_seed(0)
    views = [torch.rand(PICTURES, 3, view.size, view.size, generator=draws) for view in method.views]
    fed: list[int] = []
    hooks = [net.conv1.register_forward_pre_hook(lambda _, x: fed.append(x[0].shape[-1])) for net in backbones]
    outputs = method(views, torch.zeros(PICTURES, dtype=torch.long))
    for hook in hooks:
        hook.remove()
    smallest = min(*fed, *(view.size for view in method.views))
    return MethodTraits(
        views=cost.views,
        learning=sum(next(net.parameters()).requires_grad for net in backbones),
        momentum_encoders=sum(not next(net.parameters()).requires_grad for net in backbones),
        predictor=any("predictor" in name for name, _ in method.named_children()),
        queues=len(queues),
        negatives=negatives(method, views, queues),
        neighbour="agreement" in outputs,
        parts=smallest < recipe.views.view.size,
        relative_flops=cost.relative_flops,
    )


def negatives(method: Method, views: list[Tensor], queues: Sequence[Queue]) -> str:
    """Whose exchange does the loss of the first picture notice: that of the others in the batch, of the queue, of nobody?"""
    before = gradient(method, views)
    others = [torch.cat([view[:1], 1 - view[1:]]) for view in views]
    if noticed(before, gradient(method, others)):
        return "batch"
    with torch.no_grad():
        for queue in queues:
            queue.entries.copy_(-queue.entries)
    return "queue" if noticed(before, gradient(method, views)) else "none"


def gradient(method: Method, views: list[Tensor]) -> Tensor:
    """What the loss sends back to the first picture's views, all in one row."""
    method.generator = torch.Generator().manual_seed(0)  # a method that shuffles does it alike each time
    leaves = [view.clone().requires_grad_() for view in views]
    method(leaves, None)["loss"].backward()
    return torch.cat([leaf.grad[0].flatten() for leaf in leaves if leaf.grad is not None])


def noticed(before: Tensor, after: Tensor) -> bool:
    return bool((after - before).norm() > NOTICED * before.norm())


# ---- the table

HEADS = (
    "views an\nimage", "networks\nthat learn", "momentum\nencoders", "predictor", "negatives\nfrom", "queue",
    "neighbour as\npositive", "parts of\nviews", "loss", "relative FLOPs\na step",
)  # fmt: skip
WIDTHS = (62, 74, 54, 74, 74, 54, 92, 66, 170, 150)
ROW, NAME = 30, 96


def picture(rows: dict[str, MethodTraits], title: str = "", note: str = "") -> Image:
    """A row a method; what differs from the first row is blue and has a mark in front of it."""
    if not rows:
        raise InputError("a family needs at least one member: give {name: traits}")
    head = 44
    sheet, draw, top = new_canvas(NAME + sum(WIDTHS), head + ROW * len(rows), title, note)
    most = max(row.relative_flops for row in rows.values())
    starts = [canvas.MARGIN + NAME + sum(WIDTHS[:i]) for i in range(len(WIDTHS))]
    for x, text in zip(starts, HEADS, strict=True):
        draw.multiline_text((x, top), text, GREY, canvas.font(canvas.SMALL), spacing=2)
    parent = None
    for i, (name, row) in enumerate(rows.items()):
        middle = top + head + ROW * i + ROW / 2
        draw.line((canvas.MARGIN, middle - ROW / 2, sheet.width - canvas.MARGIN, middle - ROW / 2), FAINT)
        draw.text((canvas.MARGIN, middle), name, INK, canvas.font(15), anchor="lm")
        words = cells(name, row)
        parent = parent or words
        for x, text, first in zip(starts, words, parent, strict=False):
            new = text != first
            if new:
                draw.rectangle((x - 9, middle - 8, x - 6, middle + 8), AGREE)
            draw.text((x, middle), text, AGREE if new else INK, canvas.font(14), anchor="lm")
        x, wide = starts[-1], (WIDTHS[-1] - 44) * row.relative_flops / most
        draw.rectangle((x, middle - 7, x + wide, middle + 7), GREY)
        draw.text((x + wide + 6, middle), f"{row.relative_flops:.1f}", INK, canvas.font(14), anchor="lm")
    return sheet


def cells(name: str, row: MethodTraits) -> list[str]:
    """What stands in a row, but for the bar at its end."""
    yes = {True: "yes", False: "-"}
    loss = METHODS[name].loss_name if name in METHODS else "its own"
    counts = [f"{row.views:.3g}", str(row.learning), str(row.momentum_encoders or "-"), yes[row.predictor], row.negatives]
    return [*counts, str(row.queues or "-"), yes[row.neighbour], yes[row.parts], loss]
