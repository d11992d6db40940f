"""Heads: the small networks on top of the backbone that only training uses.

The *projector* maps features to the space where the loss compares; the *predictor* sits on the online network alone and
learns to guess another network's projection. Both are thrown away for evaluation.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn


def projector(
    widths: Sequence[int], last_norm: bool = True, last_affine: bool = True, norm_start: str = "one"
) -> nn.Sequential:
    """Linear layers `widths[0] -> widths[1] -> ...`, each with BatchNorm, ReLU after all but the last.

    The release's projector is (512, 2048, 2048, 2048): linear layers with bias, BatchNorm after each of them, the last
    included. SimCLR's customary head is (512, 512, 128) without a last BatchNorm: `last_norm=False`. SimSiam's and MoCo v3's
    last BatchNorm has no scale and shift of its own: `last_affine=False`. With `norm_start="uniform"` the scales of the
    BatchNorms start uniform in 0 to 1 and not at 1, as in the releases of Fast-MoCo and MNCLGLF.
    """
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        last = i == len(widths) - 2
        layers.append(nn.Linear(a, b))
        if last_norm or not last:
            layers.append(norm := nn.BatchNorm1d(b, affine=last_affine or not last))
            if norm_start == "uniform" and norm.affine:
                nn.init.uniform_(norm.weight)
        if not last:
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def mlp(widths: Sequence[int], last_norm: bool = False) -> nn.Sequential:
    """Linear layers `widths[0] -> widths[1] -> ...` with ReLU between them and no BatchNorm there (MoCo, MCL, CGH).

    `last_norm` puts one BatchNorm at the end. Features behind a ReLU all point the same way at the start, and so do their
    linear images; a last BatchNorm spreads them over the sphere from the first step, which short runs need.
    """
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU(inplace=True)]
    layers[-1:] = [nn.BatchNorm1d(widths[-1])] if last_norm else []
    return nn.Sequential(*layers)


def predictor(dim: int, hidden: int, norm_start: str = "one") -> nn.Sequential:
    """`dim -> hidden -> dim`, BatchNorm and ReLU after the first layer, nothing after the second.

    Release: 2048 -> 512 -> 2048, a bottleneck. `norm_start`: see `projector`.
    """
    return projector((dim, hidden, dim), last_norm=False, norm_start=norm_start)
