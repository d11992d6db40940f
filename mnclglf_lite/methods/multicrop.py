"""Multi-crop: small views of a picture join the whole ones as questions, never as answers.

    whole views  ->  targets and anchors        (two of them: all that may serve as an answer)
    small views  ->  anchors alone              (small_views of them: cheap, since a small view costs little to encode)

A small crop shows a part, and is asked what the whole would have said: "local to global". From SwAV (Caron et al. 2020) and
DINO (Caron et al. 2021), where a target of a whole view is met by every view but its own and two small views never meet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def forward_together(network: Callable[[Tensor], Tensor], small: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """All small views through a network in one batch: V tensors (N, ...) -> V outputs (N, D); none give none.

    One batch, as SwAV and DINO take all crops of a resolution: one large call costs less than V small ones, and the views
    are draws of one distribution, so that they may share their BatchNorm statistics. Whole views stay out of it: a crop that
    fills the frame with a part has statistics of its own.
    """
    return network(torch.cat(list(small))).chunk(len(small)) if small else ()  # V x (N, ...) -> (V*N, D) -> V x (N, D)


def cross_view_mean(
    loss: Callable[[Tensor, Tensor], Tensor], targets: Sequence[Tensor], anchors: Sequence[Tensor]
) -> Tensor:
    """The mean of loss(target, anchor) over every target and all anchors but that of its own view. -> scalar

        L = 1 / (G (V - 1)) sum_{g <= G} sum_{v <= V, v != g} loss(t_g, a_v)          G targets, V anchors

    The first G anchors are those of the targets' own views, in the same order; the others, of small views, follow.
    """
    pairs = [loss(target, anchor) for g, target in enumerate(targets) for v, anchor in enumerate(anchors) if v != g]
    return torch.stack(pairs).mean()
