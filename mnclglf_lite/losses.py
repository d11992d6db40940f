"""Losses: tensors in, a scalar out. Each is a mean over its anchors, and normalises its embeddings itself.

Notation: N pictures, D embedding, s(a, b) the cosine similarity, T the temperature. All similarities are computed in
float32 at least, whatever precision the networks ran in.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def unit(x: Tensor) -> Tensor:
    """Rows of length one, in at least float32. (N, D) -> (N, D)."""
    return F.normalize(x.double() if x.dtype == torch.float64 else x.float(), dim=-1)


def info_nce(anchors: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """InfoNCE, one direction, negatives from the batch: anchors (N, D), targets (N, D) -> scalar.

        l(p, c) = -(1/N) sum_i log [ exp(s(p_i, c_i) / T) / sum_k exp(s(p_i, c_k) / T) ]

    The sum over k runs over all N targets, the positive one among them. All-equal embeddings give ln N. Gradient flows to
    both arguments: the caller detaches the side that is to be a fixed target. (MNCLGLF's global-local term; Fast-MoCo.)
    """
    with torch.autocast(anchors.device.type, enabled=False):
        logits = unit(anchors) @ unit(targets).T / temperature  # (N, D) x (D, N) -> (N, N)
        return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def nt_xent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """NT-Xent: both sides are anchors, and same-side similarities serve as negatives too. (N, D), (N, D) -> scalar.

        NTX(a, b) = (1/2N) sum_i { -log [ e(a_i,b_i) / ( sum_k e(a_i,b_k) + sum_{k != i} e(a_i,a_k) ) ]
                                   -log [ e(b_i,a_i) / ( sum_k e(b_i,a_k) + sum_{k != i} e(b_i,b_k) ) ] }

    with e(x, y) = exp(s(x, y) / T). Every anchor meets 2N - 2 negatives; all-equal embeddings give ln(2N - 1).
    (SimCLR, equation 1; MNCLGLF's global-global term.)
    """
    with torch.autocast(a.device.type, enabled=False):
        n = len(a)
        both = torch.cat([unit(a), unit(b)])  # (N, D), (N, D) -> (2N, D)
        logits = both @ both.T / temperature  # (2N, 2N)
        itself = torch.eye(2 * n, dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(itself, float("-inf"))
        partner = torch.arange(2 * n, device=logits.device).roll(n)
        return F.cross_entropy(logits, partner)
