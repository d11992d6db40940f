"""`torch.nn.Conv2d` whose weight learns faster on small maps, on a CPU in bf16; the same in every other respect.

The gradient of a convolution's weight is a matrix product: of the gradient of the outputs, (places, channels out), with the
patches that the outputs were computed from, (places, k k channels in). oneDNN, torch's library for convolutions on a CPU,
takes two to four times as long as that product for the last stage of the slim network (measured: bf16, maps of 3x3 and 4x4,
Intel Xeon with AMX). On maps of 6x6 it is as fast, on larger ones faster, and so are other devices.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST_PLACES = 16  # of a map, 4x4: measured, see above


class WeightGradient(torch.autograd.Function):
    """Outputs of a convolution as they are; backwards, the gradient of its weight as one matrix product.

    apply(out, x, weight, stride, padding): out (N, C_out, h, w) computed from x (N, C_in, H, W) and weight
    (C_out, C_in, k, k) with the weight detached; stride and padding the same for both sides.
    """

    @staticmethod
    def forward(ctx: Any, out: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return out.view_as(out)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        channels_out, channels_in, k, _ = weight.shape
        rows = F.pad(x.to(gradient.dtype).permute(0, 2, 3, 1), (0, 0, *[ctx.padding] * 4))  # (N, H, W, C_in)
        patches = rows.unfold(1, k, ctx.stride).unfold(2, k, ctx.stride)  # (N, h, w, C_in, k, k)
        patches = patches.permute(0, 1, 2, 4, 5, 3).reshape(-1, k * k * channels_in)
        found = gradient.permute(0, 2, 3, 1).reshape(-1, channels_out).T @ patches  # (C_out, k k C_in)
        return gradient, None, found.view(channels_out, k, k, channels_in).permute(0, 3, 1, 2).to(weight.dtype), None, None


class Conv2d(nn.Conv2d):
    """A square convolution without bias: (N, C_in, H, W) -> (N, C_out, h, w)."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, padding: int = 0):
        super().__init__(channels_in, channels_out, kernel, stride, padding, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        stride, padding = self.stride[0], self.padding[0]
        places = ((x.shape[2] + 2 * padding - self.kernel_size[0]) // stride + 1) ** 2
        small = x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and places <= MOST_PLACES
        if not (small and self.weight.requires_grad and torch.is_grad_enabled()):
            return super().forward(x)
        out = F.conv2d(x, self.weight.detach(), None, self.stride, self.padding)
        return WeightGradient.apply(out, x, self.weight, stride, padding)
