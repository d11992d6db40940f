"""All views of a batch, as a training step makes them: draw the parameters of each view for every image, then render."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..core.distributed import local_rows, world_size
from .view import View, ViewParams, render_view, sample_params


def render_channels_last(images: Tensor, view: View, draw: ViewParams) -> Tensor:
    """`view.render_view` in the memory layout that convolutions like best: channels last."""
    return render_view(images, view, draw).contiguous(memory_format=torch.channels_last)


def make_views(
    images: Tensor, kinds: Sequence[View], draws: torch.Generator, render: Callable[..., Tensor] = render_channels_last
) -> list[Tensor]:
    """Every view of a batch: uint8 pictures (N, 3, H, W) -> one float32 tensor (N, 3, S, S) for each kind, channels last.

    With many processes the pictures are this rank's; the numbers are drawn for all pictures, the same ones on all ranks.
    """
    whole, cut = len(images) * world_size(), []
    for view in kinds:
        draw = sample_params(view, whole, images.shape[-2:], draws, images.device)
        cut.append(render(images, view, draw if world_size() == 1 else draw.rows(local_rows(whole))))
    return cut
