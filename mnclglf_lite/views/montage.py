"""Montages: four overlapping quarters of each picture, shuffled over the batch and glued, four at a time, into new pictures.

    picture -> quadrants TL, BL, TR, BR, 0.8 x 0.8 each -> patches (P, N, 3, s, s)
    4N patches -> one permutation -> glued 2x2 -> N montages -> last map of the backbone -> split 2x2 -> undo the permutation

A montage costs what one picture costs, and gives four vectors. Its neighbours come from other pictures (but for chance), and
a place in it says nothing about the place in the picture. (JigClu, Chen et al. 2021; GLNet.)

Patches are numbered column by column, top to bottom, as in `patches.grid_patches`: top left, bottom left, top right, bottom
right.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.distributed import local_rows
from ..core.errors import InputError
from .patches import grid_patches

SHARE = 0.8  # of each side: half of it and a cross ratio of 0.3 (JigClu's release, and that of GLNet's authors)
REGIONS = tuple((top, left, SHARE, SHARE) for left in (0.0, 1 - SHARE) for top in (0.0, 1 - SHARE))  # see `view.View.region`
PLACES = ("top left", "bottom left", "top right", "bottom right")


def mirror(patches: Tensor, coin: Tensor) -> Tensor:
    """What cutting mirrored pictures would have given: quadrants (4, N, C, h, w), coin (N,) -> (4, N, C, h, w).

    Where the coin says so, each patch is mirrored and the left and the right column change places.
    """
    swapped = patches.roll(2, dims=0).flip(-1)  # TL, BL, TR, BR -> TR, BR, TL, BL
    return torch.where(coin[:, None, None, None], swapped, patches)


def glue(patches: Tensor, order: Tensor) -> Tensor:
    """Shuffle by `order`, a permutation of 4N, and glue: patches (4N, C, h, w) -> montages (N, C, 2h, 2w).

    Montage n gets the patches order[n], order[N + n], order[2N + n], order[3N + n], placed as `patches.grid_patches` numbers
    them. The order may be `some` of a permutation: as many montages as it has fours.
    """
    (count, c, h, w), n = patches.shape, len(order) // 4
    if count % 4 or order.ndim != 1 or len(order) % 4:
        raise InputError(
            f"cannot glue {count} patches in the order of {tuple(order.shape)} numbers into 2x2 montages: expected a "
            "multiple of four patches and four numbers a montage"
        )
    cells = patches[order].reshape(2, 2, n, c, h, w)  # (4N, C, h, w) -> (across, down, N, C, h, w)
    return cells.permute(2, 3, 1, 4, 0, 5).reshape(n, c, 2 * h, 2 * w)  # (N, C, down, h, across, w)


def some(order: Tensor) -> Tensor:
    """The part of a permutation (4N,) that makes this rank's montages, or that brings cells back to this rank's images.

    With one process it is all of it.
    """
    cells = order.view(4, -1)  # (4, N)
    return cells[:, local_rows(cells.shape[1])].flatten()


def split(maps: Tensor) -> Tensor:
    """One vector for each cell: maps of montages (N, D, h, w) -> (4N, D), number cell * N + montage.

    Taken in the order `order.argsort()` they lie as the patches did before the shuffle by `order`. A quarter of the map is
    averaged. A map of odd side is enlarged by one row and column first (release: 7x7 to 8x8).
    """
    n, d, h, w = maps.shape
    if min(h, w) < 2:
        raise InputError(f"a map of {h}x{w} cannot be split in four: make the view larger, or the network less deep")
    if h % 2 or w % 2:
        maps = F.interpolate(maps, (h + h % 2, w + w % 2), mode="bilinear", align_corners=False)
    return grid_patches(maps).mean(dim=(3, 4)).reshape(4 * n, d)  # (N, D, h, w) -> (4, N, D, h/2, w/2) -> (4N, D)
