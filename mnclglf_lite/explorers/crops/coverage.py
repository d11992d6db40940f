"""What the boxes of one picture have in common: how large they are, how they overlap, what they hold of the object.

counted = count(cuts.whole, cuts.local, hw, mask)
Target().checks(counted)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.errors import InputError
from ...views import crops


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
    # a box is +1 at two corners and -1 at two: summed, it is filled
    whole = steps.view(draws, height + 1, width + 1).to(torch.int32)
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


def percent(share: float) -> str:
    """Whole percents, but never 0 or 100 for what is only near them."""
    value = round(100 * share)
    if value in (0, 100) and abs(share - value / 100) > 1e-6:
        return f"{100 * share:.1f} %"
    return f"{value} %"
