"""Heads: the small networks on top of the backbone that only training uses.

The *projector* maps features to the space where the loss compares; the *predictor* sits on the online network alone and
learns to guess another network's projection. Both are thrown away for evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def projector(widths: Sequence[int], last_norm: bool = True, last_affine: bool = True) -> nn.Sequential:
    """Linear layers `widths[0] -> widths[1] -> ...`, each with BatchNorm, ReLU after all but the last.

    The release's projector is (512, 2048, 2048, 2048): linear layers with bias, BatchNorm after each of them, the last
    included. SimCLR's customary head is (512, 512, 128) without a last BatchNorm: `last_norm=False`. SimSiam's and MoCo v3's
    last BatchNorm has no scale and shift of its own: `last_affine=False`.
    """
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        last = i == len(widths) - 2
        layers.append(nn.Linear(a, b))
        if last_norm or not last:
            layers.append(nn.BatchNorm1d(b, affine=last_affine or not last))
        if not last:
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def predictor(dim: int, hidden: int) -> nn.Sequential:
    """`dim -> hidden -> dim`, BatchNorm and ReLU after the first layer, nothing after the second.

    Release: 2048 -> 512 -> 2048, a bottleneck.
    """
    return projector((dim, hidden, dim), last_norm=False)
