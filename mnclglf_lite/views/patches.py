"""The local half: divide a view into patches, and combine what the network makes of them.

A patch here is a region of the *picture* (not of a feature map): the view itself is cut into a grid, each
patch goes through the backbone on its own, and the pooled features are averaged over combinations of patches.
Paper figure: 4 patches, 6 combinations. Released code: a 2x2 grid of tiles that do not overlap, all pairs,
the mean of the pooled backbone features, taken before the projector. Both come from Fast-MoCo.

The other kind of local crop, a small random one, needs nothing of its own: it is a `view.View` with a small
`size` and `scale`, drawn and rendered like any other.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from ..core.errors import InputError


def grid_patches(views: Tensor, grid: int = 2) -> Tensor:
    """Cut views (N, C, H, W) into tiles that do not overlap: (P, N, C, H/grid, W/grid), P = grid**2.

    Tiles come column by column, top to bottom, as in the released code; the loss does not depend on the
    order. Raises `InputError` where the sides are not divisible by the grid.
    """
    if views.ndim != 4 or grid < 1 or views.shape[-2] % grid or views.shape[-1] % grid:
        raise InputError(
            f"cannot divide views of shape {tuple(views.shape)} into a {grid}x{grid} grid: expected "
            "(N, C, H, W), height and width divisible by the grid; change the view's size or the grid"
        )
    n, c, height, width = views.shape
    tiles = views.reshape(n, c, grid, height // grid, grid, width // grid)  # (N, C, down, h, across, w)
    return tiles.permute(4, 2, 0, 1, 3, 5).reshape(grid * grid, n, c, height // grid, width // grid)


def patch_boxes(boxes: Tensor, flip: Tensor, grid: int = 2) -> Tensor:
    """Where the patches of a view lie in the picture: boxes (..., 4), flip (...) -> (P, ..., 4), ordered as `grid_patches`.

    A view that was mirrored shows its box's right side on the left, and so its first column of patches. Boxes of patches
    may begin and end inside a pixel.
    """
    top, left, height, width = (boxes / boxes.new_tensor([1, 1, grid, grid])).unbind(-1)  # sides of a patch
    tiles = []
    for across in range(grid):
        column = torch.where(flip, grid - 1 - across, across)
        for down in range(grid):
            tiles.append(torch.stack((top + down * height, left + column * width, height, width), -1))
    return torch.stack(tiles)


def combinations(p: int, k: int = 2) -> list[tuple[int, ...]]:
    """All unordered choices of `k` of `p` patches, as index tuples: 6 pairs for p=4, k=2 (as released)."""
    if not 1 <= k <= p:
        raise InputError(f"cannot choose {k} of {p} patches: k must be between 1 and the number of patches")
    return list(itertools.combinations(range(p), k))


def average_combinations(h: Tensor, k: int = 2) -> Tensor:
    """Mean of pooled features over each combination: (P, N, D) -> (C, N, D), ordered as `combinations`."""
    if h.ndim != 3:
        raise InputError(f"features of shape {tuple(h.shape)} cannot be combined: expected (P, N, D)")
    return torch.stack([sum(h[p] for p in members) / k for members in combinations(len(h), k)])  # (C, N, D)
