"""What every method promises, so that one training loop, one evaluation and one explorer serve them all.

A method is a module that says which views it wants, turns a batch of them into a loss, and does its bookkeeping afterwards:

    method.views                     a tuple of `View`: how many, how large, how strong
    method(views, labels) -> dict    "loss" (a scalar with gradient) and every named intermediate (z, p, c, n, ...)
    method.after_step(outputs)       moving averages and queues, after the optimiser's step, without gradient
    method.backbone                  the network that is evaluated

    method.progress                  0-d tensor: share of the run that is done, set by the loop before each step (for ramps)
    method.draws                     the run's random generator, for a method that shuffles; its state is in the checkpoint

All its other state (networks, twins, queues) is in `state_dict()`, so an exact resume is one file. Nothing in the forward
pass or in `after_step` reads a tensor's value into Python.

Where many processes share a batch (`ranks`), `views` are this rank's rows and `labels` those of the whole batch. A method
gathers whatever a loss, a queue or a gauge looks at (`ranks.gathered`), and then computes the same on all ranks; what it
returns for looking alone may stay this rank's rows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..views.view import View

Outputs = dict[str, Tensor]


class Method(nn.Module):
    """The contract above, and nothing more. `labels` are for methods that say so (supervised, MCL's labelled form)
    and for gauges, never for a loss that calls itself self-supervised."""

    backbone: nn.Module
    views: tuple[View, ...]
    draws: torch.Generator | None = None
    gathers = False  # True where the method is written for many processes, as said above
    mixes_batch = False  # True where a random draw mixes the pictures of a batch, so that their order matters

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("progress", torch.zeros(()), persistent=False)

    def forward(self, views: list[Tensor], labels: Tensor | None = None) -> Outputs:
        """One float tensor (N, 3, S, S) for each entry of `self.views`, in that order; labels (N,) or None."""
        raise NotImplementedError

    @torch.no_grad()
    def after_step(self, outputs: Outputs) -> None:
        """Most methods have nothing to keep."""
