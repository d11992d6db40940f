"""Collapse: do embeddings still differ, and in how many directions? The loss alone cannot tell; these measures can.

Tensors in, a 0-d tensor out; no label is needed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def feature_std(z: Tensor) -> Tensor:
    """Mean standard deviation of the coordinates of unit-length embeddings (N, D), times sqrt(D).

    About 1 when directions are spread evenly over the sphere, 0 when all embeddings are the same. (The gauge
    of SimSiam, Chen & He 2021, section 4.1: std of z / |z| against 1 / sqrt(D).) Features behind a ReLU
    cannot reach 1.
    """
    return F.normalize(z.float(), dim=1).std(dim=0, unbiased=False).mean() * z.shape[1] ** 0.5


@torch.no_grad()
def effective_rank(z: Tensor) -> Tensor:
    """How many directions embeddings (N, D) really use: exp of the entropy of their normalised singular
    values.

    Between 1 (all on one line) and min(N, D). (Roy & Vetterli 2007; RankMe, Garrido et al. 2023; like theirs,
    not centred.) On CUDA the singular values wait for the device: a gauge for once an epoch, not for every
    step.
    """
    z = z.double()
    gram = z.T @ z if len(z) > z.shape[1] else z @ z.T  # its eigenvalues are the squares; far cheaper on wide features
    values = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    share = values / values.sum().clamp_min(1e-12) + 1e-7  # RankMe's epsilon keeps log finite
    return torch.exp(-(share * share.log()).sum()).float()


@torch.no_grad()
def alignment(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared distance of positive pairs on the unit sphere, 0 (same) to 4. (Wang & Isola 2020, with
    alpha = 2.)"""
    return (F.normalize(a.float(), dim=1) - F.normalize(b.float(), dim=1)).square().sum(dim=1).mean()


@torch.no_grad()
def uniformity(z: Tensor) -> Tensor:
    """log of the mean of exp(-2 |z_i - z_j|^2) over pairs i < j: 0 when collapsed, lower is more even. (Same,
    t = 2.)

    N embeddings make N (N - 1) / 2 pairs: a few thousand are plenty, and 50,000 do not fit into memory.
    """
    return torch.pdist(F.normalize(z.float(), dim=1)).square().mul(-2).exp().mean().log()
