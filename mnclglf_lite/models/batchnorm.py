"""BatchNorm that takes its statistics from parts of the batch, as if each part sat on a graphics card of its own.

    batch of N ──▶ groups of N/G pictures that follow one another ──▶ each normalised by its own mean and variance

Why one would want that: BatchNorm lets the pictures of a batch see each other. A query and its key that are normalised
together carry the same fingerprint of their neighbours, and a contrastive method can find the pair by it instead of by
what the pictures show. MoCo's authors put the keys in another order on the way through the key network (He et al. 2020,
section 3.3), which parts query and key only where BatchNorm sees less than the whole batch: on several cards, or with the
groups of this file. (Their CIFAR-10 notebook has 8 groups of 64, and notes that leaving the new order out costs 4 points
after 800 epochs. A group is every G-th picture there; in shuffled batches that is the same.)

Where many processes share a batch (`core.distributed`), the statistics stay what the recipe says: those of the whole batch
with one group, and otherwise each rank has some of the groups.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.distributed import all_gather_rows, all_gather_stack, local_rows, world_size
from ..core.errors import InputError


class SplitBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm, 1d or 2d, with train-mode statistics for each of `groups` parts of the batch; see `split_batchnorm`."""

    groups: int

    def _check_input_dim(self, x: Tensor) -> None:
        """(N, D) and (N, C, H, W) both pass: the formula is the same."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        groups = self.groups // world_size()  # a rank has its share of the groups
        if len(x) % groups:
            raise InputError(f"a batch of {len(x)} does not divide into {groups} bn_splits; change one of them")
        # Each group moves its own copy of the running statistics, and the mean of the copies is kept: (G, C) -> (C,).
        means, variances = self.running_mean.repeat(groups, 1), self.running_var.repeat(groups, 1)
        settings = (self.weight, self.bias, True, self.momentum, self.eps)
        # Parts along N are cheap in every memory layout; folding the groups into the channels copies channels_last twice.
        parts = zip(x.chunk(groups), means, variances, strict=True)
        out = torch.cat([F.batch_norm(part, mean, variance, *settings) for part, mean, variance in parts])
        own = torch.stack([means.mean(dim=0), variances.mean(dim=0)])  # (2, C)
        mean, variance = all_gather_stack(own).mean(dim=0)  # (W, 2, C) -> (2, C)
        self.running_mean.copy_(mean)
        self.running_var.copy_(variance)
        self.num_batches_tracked.add_(1)
        return out


def split_batchnorm(module: nn.Module, groups: int) -> nn.Module:
    """The same module, every BatchNorm in it taking statistics from `groups` parts of the batch while it trains.

    With one group nothing changes. Only the class of the BatchNorms changes: parameters, buffers, their names, device and
    frozenness stay, so a state dict goes from one form to the other, and in eval mode both compute the same.
    """
    if groups < 1:
        raise InputError(f"bn_splits must be at least 1; got {groups}")
    for child in module.modules():
        if isinstance(child, SplitBatchNorm) or (isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)) and groups > 1):
            child.__class__, child.groups = SplitBatchNorm, groups
    return module


def shuffle_batch(x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The batch in a random order, and a function that undoes it: (N, ...) -> (N, ...), and outputs (N, D) -> (N, D).

    With many processes each gives and gets as many rows as it has, and the order is one of the whole batch.
    """
    order = torch.randperm(len(x) * world_size(), generator=generator, device=x.device)  # (N,)
    own = local_rows(len(order))
    back = order.argsort()[own]
    return all_gather_rows(x)[order[own]], lambda outputs: all_gather_rows(outputs)[back]


class CpuSyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm, 1d or 2d, over the rows of all ranks, for the CPU: what torch.nn.SyncBatchNorm is on CUDA.

    Each rank's mean and variance go round in the forward pass, and their gradients in the backward pass. All ranks have
    equally many rows, so the mean is the mean of the means, and the variance that within the ranks plus that between them.
    """

    def _check_input_dim(self, x: Tensor) -> None:
        """(N, D) and (N, C, H, W) both pass: the formula is the same."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            wide = x if x.dtype == torch.float64 else x.float()
            rest = [d for d in range(x.ndim) if d != 1]  # all dimensions but that of the channels
            shape = (1, -1, *[1] * (x.ndim - 2))
            variances, means = torch.var_mean(wide, dim=rest, correction=0)  # (C,) each, of this rank's rows
            means, variances = all_gather_stack(torch.stack([means, variances])).unbind(1)  # (W, C) each
            mean, variance = means.mean(dim=0), variances.mean(dim=0) + means.var(dim=0, correction=0)  # (C,) each
            out = (wide - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
            if self.affine:
                out = out * self.weight.view(shape) + self.bias.view(shape)
            count = x.numel() // x.shape[1] * world_size()
            with torch.no_grad():  # as nn.BatchNorm: the unbiased variance
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
                self.num_batches_tracked.add_(1)
        return out.to(x.dtype)


def sync_batchnorm(module: nn.Module, device: torch.device) -> nn.Module:
    """The same module, every BatchNorm in it taking statistics from the rows of all ranks while it trains.

    With one process nothing changes. As in `split_batchnorm` only the class does, so that a state dict fits any number of
    ranks; a `SplitBatchNorm` stays one.
    """
    for child in module.modules():
        if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)) and world_size() > 1:
            child.__class__ = nn.SyncBatchNorm if device.type == "cuda" else CpuSyncBatchNorm
            child.process_group = None  # SyncBatchNorm's word for all ranks
    return module
