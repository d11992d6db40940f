"""What views a recipe cuts out of one picture, again and again, and what those boxes have in common.

    cuts = cut(picture, recipe, seed)                    # 200 draws; the first one's views are made
    counted = count(cuts, hw, mask)                      # areas, overlap, how many touch the object ...

MNCLGLF's views, made by the very functions that a training step calls: `step.make_views` draws for a batch that holds the
picture 200 times, and `patches_of` cuts what the local targets see. The first row of the batch is the draw that is shown,
all rows together say what is usual.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from . import crops, step, views
from .errors import InputError
from .methods.mnclglf import patches_of, views_of
from .patches import patch_boxes
from .recipe import Recipe
from .views import Draw, View

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
    draws: list[Draw]

    @property
    def whole(self) -> Tensor:
        """Boxes of the global views, (3, DRAWS, 4)."""
        return self.boxes[:WHOLE]

    @property
    def local(self) -> Tensor:
        """Boxes of the local views, patches and crops alike, (V - 3, DRAWS, 4)."""
        return self.boxes[WHOLE:]


def cut(picture: Tensor, recipe: Recipe, seed: int) -> Cuts:
    """The views that the recipe cuts out of a picture, uint8 (3, H, W): what MNCLGLF's first step of this seed would do."""
    if recipe.method != "mnclglf":
        raise InputError(
            f"the views shown are those of 'mnclglf', and this recipe is for {recipe.method!r}: give a recipe of mnclglf; "
            "the views it leads to fit other methods too (`views.apply(recipe)`)"
        )
    check(picture)
    batch, generator = picture.cpu().expand(DRAWS, -1, -1, -1), torch.Generator().manual_seed(seed)
    kinds = views_of(recipe)
    draws = step.make_views(batch, kinds, generator, render=lambda images, view, draw: draw)  # made below: one row is enough
    made = _render_first(batch[0], kinds, draws)
    names = [chr(ord("A") + i) for i in range(WHOLE + recipe.local_views)]
    boxes = [draw.boxes for draw in draws]
    if recipe.local == "grid":
        patches = [patch_boxes(draws[i].boxes, draws[i].flip, recipe.grid) for i in range(2)]  # (P, DRAWS, 4) each
        drawn = [draws[i] for i in range(2) for _ in range(recipe.grid**2)]
    else:
        patches = [torch.stack(boxes[WHOLE + recipe.local_views :])]
        drawn = draws[WHOLE + recipe.local_views :]
    numbered = [f"{name}{i + 1}" for name in names[:2] for i in range(recipe.grid**2)]
    local = [patch[0] for half in patches_of(made, recipe) for patch in half]  # 2 x (P, 1, 3, s, s) -> 2P x (3, s, s)
    small = slice(WHOLE, WHOLE + recipe.local_views)
    return Cuts(
        (*names[:WHOLE], *numbered, *names[small]),
        torch.cat([torch.stack(boxes[:WHOLE]), *patches, *(box[None] for box in boxes[small])]),
        [*(view[0] for view in made[:WHOLE]), *local, *(view[0] for view in made[small])],
        [*draws[:WHOLE], *drawn, *draws[small]],
    )


def check(picture: Tensor) -> None:
    """Raise for what has no parts to be cut out."""
    if picture.ndim != 3 or len(picture) != 3 or min(picture.shape[1:]) < LEAST_SIDE:
        raise InputError(
            f"a picture of shape {tuple(picture.shape)} cannot be cut: expected colour, (3, H, W), at least {LEAST_SIDE} "
            "pixels a side"
        )


def _render_first(picture: Tensor, kinds: tuple[View, ...], draws: list[Draw]) -> list[Tensor]:
    """The first row of every draw as a picture (1, 3, S, S) in [0, 1]; all views of a kind are made at once."""
    made: list[Tensor | None] = [None] * len(kinds)
    for kind in dict.fromkeys(kinds):
        places = [i for i, other in enumerate(kinds) if other == kind]
        rows = [draws[i].rows(slice(1)) for i in places]
        columns = {f.name: [getattr(row, f.name) for row in rows] for f in dataclasses.fields(Draw)}
        joined = {name: torch.cat(values) for name, values in columns.items() if name != "balanced"}
        batch = picture.expand(len(places), -1, -1, -1)
        for i, view in zip(places, views.render(batch, kind, Draw(**joined, balanced=False), normalise=False), strict=True):
            made[i] = view[None]
    return made


@dataclass(frozen=True)
class Count:
    """What boxes have in common, each number a mean over all draws that were counted.

    whole_area, local_area      share of the picture that a global, a local box covers
    overlap                     of two local boxes, all pairs: what both cover, as a share of the smaller one
    inside                      share of the local boxes that lie wholly inside one global box
    touch                       share of the local boxes that hold a pixel of the object
    covered                     share of the object's pixels that lie in any local box

    A pixel lies in a box where its middle does. touch and covered are None where the object is not known.
    """

    whole_area: float
    local_area: float
    overlap: float
    inside: float
    touch: float | None
    covered: float | None


def count(whole: Tensor, local: Tensor, hw: tuple[int, int], mask: Tensor | None = None) -> Count:
    """Count global boxes (G, M, 4) and local boxes (L, M, 4) of M draws of a picture of (height, width) `hw`.

    `mask`: bool (H, W), true on the object. A mask without a pixel is no object.
    """
    first, second = torch.triu_indices(len(local), len(local), 1)
    pairs = crops.mutual_overlap(local[first], local[second])  # (L (L - 1) / 2, M)
    inside = (crops.overlap(whole[:, None], local) > 1 - 1e-5).any(0)  # (G, L, M) -> (L, M); patches have rounded sides
    touch = covered = None
    if mask is not None and mask.any():
        sums = torch.nn.functional.pad(mask.int().cumsum(0).cumsum(1), (1, 0, 1, 0))  # (H + 1, W + 1), of all above and left
        top, left, bottom, right = pixel_edges(local)
        pixels = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]  # (L, M)
        touch = float((pixels > 0).float().mean())
        covered = float(((stacked(local, hw) > 0) & mask).sum() / (mask.sum() * local.shape[1]))
    areas = (float(crops.area_share(boxes, hw).mean()) for boxes in (whole, local))
    return Count(*areas, float(pairs.mean()), float(inside.float().mean()), touch, covered)


def pixel_edges(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(...) each: first row, first column, one past the last row and column of the pixels whose middle lies in a box."""
    start, end = boxes[..., :2], boxes[..., :2] + boxes[..., 2:]
    (top, left), (bottom, right) = ((edge - 0.5).ceil().long().unbind(-1) for edge in (start, end))
    return top, left, bottom, right


def stacked(boxes: Tensor, hw: tuple[int, int]) -> Tensor:
    """How many boxes (B, M, 4) of each draw hold each pixel: (M, H, W)."""
    (height, width), draws = hw, boxes.shape[1]
    top, left, bottom, right = pixel_edges(boxes)
    draw = torch.arange(draws)

    def corners(row: Tensor, column: Tensor) -> Tensor:
        place = (draw * (height + 1) + row) * (width + 1) + column  # (B, M)
        return torch.bincount(place.flatten(), minlength=draws * (height + 1) * (width + 1))

    steps = corners(top, left) + corners(bottom, right) - corners(top, right) - corners(bottom, left)
    whole = steps.view(draws, height + 1, width + 1).to(
        torch.int32
    )  # a box is +1 at two corners and -1 at two: summed, it is filled
    return whole.cumsum(1).cumsum(2)[:, :height, :width]


def density(boxes: Tensor, hw: tuple[int, int]) -> Tensor:
    """Share of all boxes (B, M, 4) that hold each pixel: float32 (H, W)."""
    return stacked(boxes.reshape(-1, 1, 4), hw)[0].float() / (boxes.shape[0] * boxes.shape[1])


@dataclass(frozen=True)
class Target:
    """What to aim at: local views that overlap less than `overlap`, of which at least `touch` touch the object."""

    overlap: float = 0.2
    touch: float = 0.9

    def __post_init__(self) -> None:
        for name in ("overlap", "touch"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"target {name} {getattr(self, name)!r}: expected a share from 0 to 1")

    def checks(self, counted: Count) -> tuple[bool, bool]:
        """Whether the overlap is small enough, and whether enough touch the object."""
        return counted.overlap < self.overlap, counted.touch is not None and counted.touch >= self.touch


TARGET = Target()
