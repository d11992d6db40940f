"""What views a recipe cuts out of one picture, again and again: boxes for 200 draws, and the first draw's views.

    cuts = cut(picture, recipe, seed)
    cuts.names, cuts.boxes, cuts.shown

MNCLGLF's views, made by the very functions that a training step calls: `batch.make_views` draws for a batch that holds the
picture 200 times, and `patches_of` cuts what the local targets see. The first row of the batch is the draw that is shown,
all rows together say what is usual.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.errors import InputError
from ...methods.mnclglf import patches_of, slots_of
from ...recipe.recipe import Recipe
from ...views.batch import make_views
from ...views.patches import patch_boxes
from ...views.view import View, ViewParams, render_view

DRAWS = 200  # of the picture: a share of them is known to about 3 percentage points (ours)
LEAST_SIDE = 8  # pixels of a picture, as for every image set
WHOLE = 3  # global views: x1, x2, x3


@dataclass(frozen=True, eq=False)
class Cuts:
    """V views of one picture: whole (A, B, C), what the local targets of A and B see (A1, A2 ...), small (D ...).

    names    V of them, in this order
    boxes    float32 (V, DRAWS, 4): top, left, height, width in the picture's pixels
    shown    V pictures (3, s, s) in [0, 1], those of the first draw
    draws    V of them: what happened in each draw; a patch has the draw of the view that it is cut out of
    """

    names: tuple[str, ...]
    boxes: Tensor
    shown: list[Tensor]
    draws: list[ViewParams]

    @property
    def whole(self) -> Tensor:
        """Boxes of the global views, (3, DRAWS, 4)."""
        return self.boxes[:WHOLE]

    @property
    def local(self) -> Tensor:
        """Boxes of the local views, patches and crops alike, (V - 3, DRAWS, 4)."""
        return self.boxes[WHOLE:]


def cut(picture: Tensor, recipe: Recipe, seed: int) -> Cuts:
    """The views that the recipe cuts out of a picture, uint8 (3, H, W).

    Those shown are what the first step of a run of this seed cuts for the first picture of its batch of `DRAWS`.
    """
    check_recipe(recipe)
    check(picture)
    batch, generator = picture.cpu().expand(DRAWS, -1, -1, -1), torch.Generator().manual_seed(seed)
    kinds = [slot.resolve(recipe.views.view) for slot in slots_of(recipe.method)]
    draws = make_views(batch, kinds, generator, render=lambda images, view, draw: draw)  # made below: one row is enough
    made = _render_first(batch[0], kinds, draws)
    names = [chr(ord("A") + i) for i in range(WHOLE + recipe.method.small_views)]
    boxes = [draw.boxes for draw in draws]
    if recipe.method.local == "grid":
        patches = [patch_boxes(draws[i].boxes, draws[i].flip, recipe.method.grid) for i in range(2)]  # (P, DRAWS, 4) each
        drawn = [draws[i] for i in range(2) for _ in range(recipe.method.grid**2)]
    else:
        patches = [torch.stack(boxes[WHOLE + recipe.method.small_views :])]
        drawn = draws[WHOLE + recipe.method.small_views :]
    numbered = [f"{name}{i + 1}" for name in names[:2] for i in range(recipe.method.grid**2)]
    local = [patch[0] for half in patches_of(made, recipe.method) for patch in half]  # 2 x (P, 1, 3, s, s) -> 2P x (3, s, s)
    small = slice(WHOLE, WHOLE + recipe.method.small_views)
    return Cuts(
        (*names[:WHOLE], *numbered, *names[small]),
        torch.cat([torch.stack(boxes[:WHOLE]), *patches, *(box[None] for box in boxes[small])]),
        [*(view[0] for view in made[:WHOLE]), *local, *(view[0] for view in made[small])],
        [*draws[:WHOLE], *drawn, *draws[small]],
    )


def check_recipe(recipe: Recipe) -> None:
    """Raise for a recipe of another method."""
    if recipe.method.name != "mnclglf":
        raise InputError(
            f"the views shown are those of 'mnclglf', and this recipe is for {recipe.method.name!r}: give a recipe of "
            "mnclglf; the views it leads to fit other methods too (`views.apply(recipe)`)"
        )


def check(picture: Tensor) -> None:
    """Raise for what has no parts to be cut out."""
    if picture.ndim != 3 or len(picture) != 3 or min(picture.shape[1:]) < LEAST_SIDE:
        raise InputError(
            f"a picture of shape {tuple(picture.shape)} cannot be cut: expected colour, (3, H, W), at least {LEAST_SIDE} "
            "pixels a side"
        )


def _render_first(picture: Tensor, kinds: list[View], draws: list[ViewParams]) -> list[Tensor]:
    """The first row of every draw as a picture (1, 3, S, S) in [0, 1]; all views of a kind are made at once."""
    made: list[Tensor | None] = [None] * len(kinds)
    for kind in dict.fromkeys(kinds):
        places = [i for i, other in enumerate(kinds) if other == kind]
        rows = [draws[i].rows(slice(1)) for i in places]
        columns = {f.name: [getattr(row, f.name) for row in rows] for f in dataclasses.fields(ViewParams)}
        joined = {name: torch.cat(values) for name, values in columns.items() if name != "balanced"}
        batch = picture.expand(len(places), -1, -1, -1)
        views = render_view(batch, kind, ViewParams(**joined, balanced=False), normalise=False)
        for i, view in zip(places, views, strict=True):
            made[i] = view[None]
    return made
