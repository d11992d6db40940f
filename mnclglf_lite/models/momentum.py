"""The momentum encoder (target network): its weights are an exponential moving average (EMA) of the online network's.

It gets no gradient (`freeze.freeze`). Its weights are in the state dict of the method, and so in the checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def update_ema(twin: nn.Module, online: nn.Module, momentum: float | Tensor) -> None:
    """twin <- momentum * twin + (1 - momentum) * online, for parameters only, in place. `momentum` may be a 0-d tensor.

    Buffers stay apart: each network keeps its own BatchNorm running statistics (release; the target network runs in train
    mode, with the statistics of its own batches).
    """
    if isinstance(momentum, Tensor):
        way = torch._foreach_sub(list(online.parameters()), list(twin.parameters()))
        torch._foreach_mul_(way, 1.0 - momentum)
        torch._foreach_add_(list(twin.parameters()), way)
    else:
        torch._foreach_lerp_(list(twin.parameters()), list(online.parameters()), 1.0 - momentum)


def ema_schedule(start: float, end: float, progress: Tensor) -> Tensor:
    """The moving average's momentum at a share of the run: from `start` to `end` by half a cosine (BYOL, section 3.3)."""
    return end - (end - start) * (torch.cos(torch.pi * progress) + 1) / 2
