"""Losses: tensors in, a scalar out. Each is a mean over its anchors; those of embeddings normalise them, others take logits.

Notation: N images, D embedding, s(a, b) the cosine similarity, T the temperature. All similarities are computed in
float32 at least, whatever precision the networks ran in.

Where many processes share a batch (`core.distributed`), each argument holds this rank's n rows, and the loss is that of this
rank's anchors: n x N similarities, not N x N. `info_nce` and `nt_xent` gather what the anchors are compared with; functions
of logits take them as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .core.distributed import all_gather_rows, own_places, world_size


def at_least_float32(x: Tensor) -> Tensor:
    """The same numbers in float32, or in float64 where they are in it already."""
    return x if x.dtype == torch.float64 else x.float()


def l2_normalize(x: Tensor) -> Tensor:
    """Rows of length one, in at least float32. (N, D) -> (N, D)."""
    return F.normalize(at_least_float32(x), dim=-1)


def info_nce(anchors: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """InfoNCE, one direction, negatives from the batch: anchors (N, D), targets (N, D) -> scalar.

        l(p, c) = -(1/N) sum_i log [ exp(s(p_i, c_i) / T) / sum_k exp(s(p_i, c_k) / T) ]

    The sum over k runs over all N targets, the positive one among them. All-equal embeddings give ln N. Gradient flows to
    both arguments: the caller detaches the side that is to be a fixed target. (MNCLGLF's global-local term; Fast-MoCo.)
    """
    with torch.autocast(anchors.device.type, enabled=False):
        everyone = all_gather_rows(l2_normalize(targets))  # (N, D)
        logits = (l2_normalize(anchors) / temperature) @ everyone.T  # (n, D) x (D, N) -> (n, N)
        return F.cross_entropy(logits, own_places(len(logits), logits.device))


def two_sides(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Anchors of two sides that meet each other and themselves: (n, D), (n, D) -> (2n, D), (2N, D), (2n,).

    The anchors, normalised, a before b; those of all ranks, in the same order; and the place of each anchor among them.
    """
    a, b = l2_normalize(a), l2_normalize(b)
    everyone = torch.cat([all_gather_rows(a), all_gather_rows(b)])  # apart: a side without gradient needs none sent back
    place = own_places(len(a), a.device)
    return torch.cat([a, b]), everyone, torch.cat([place, place + len(everyone) // 2])


def nt_xent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """NT-Xent: both sides are anchors, and same-side similarities serve as negatives too. (N, D), (N, D) -> scalar.

        NTX(a, b) = (1/2N) sum_i { -log [ e(a_i,b_i) / ( sum_k e(a_i,b_k) + sum_{k != i} e(a_i,a_k) ) ]
                                   -log [ e(b_i,a_i) / ( sum_k e(b_i,a_k) + sum_{k != i} e(b_i,b_k) ) ] }

    with e(x, y) = exp(s(x, y) / T). Every anchor meets 2N - 2 negatives; all-equal embeddings give ln(2N - 1).
    (SimCLR, equation 1; MNCLGLF's global-global term.)
    """
    with torch.autocast(a.device.type, enabled=False):
        both, everyone, place = two_sides(a, b)
        logits = (both / temperature) @ everyone.T  # (2n, D) x (D, 2N) -> (2n, 2N); the smaller matrix is divided
        logits = logits.scatter_(1, place[:, None], float("-inf"))  # no anchor meets itself
        return F.cross_entropy(logits, place.roll(len(a)))  # the positive is the other side's


def cosine_logits(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """s(a_i, b_k) / T for every pair: (N, D), (K, D) -> (N, K). Logits of a softmax over the rows of b, none gathered."""
    with torch.autocast(a.device.type, enabled=False):
        return (l2_normalize(a) / temperature) @ l2_normalize(b).T  # (N, D) x (D, K) -> (N, K)


def queue_logits(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Similarities to the own key and to a queue, the own key first: (N, D), (N, D), (K, D) -> (N, 1 + K).

        z_i = [ s(q_i, k_i), s(q_i, Q_1), ..., s(q_i, Q_K) ] / T

    Cross-entropy against index 0 is MoCo's InfoNCE (He et al. 2020, equation 1); all-equal embeddings give ln(1 + K).
    """
    with torch.autocast(queries.device.type, enabled=False):
        q, k = l2_normalize(queries) / temperature, l2_normalize(keys)  # the smallest matrix is divided
        own = (q * k).sum(dim=1, keepdim=True)  # (N, 1)
        return torch.cat([own, q @ l2_normalize(queue).T], dim=1)  # (N, 1 + K)


def info_nce_queue(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """MoCo's InfoNCE with negatives from a queue: see `queue_logits`. -> scalar."""
    logits = queue_logits(queries, keys, queue, temperature)
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """-(1/N) sum_i s(p_i, z_i): (N, D), (N, D) -> scalar in [-1, 1]. (SimSiam, equation 1; BYOL's squared distance of unit
    vectors is 2 + 2 times this.) The caller detaches the target."""
    with torch.autocast(p.device.type, enabled=False):
        return -(l2_normalize(p) * l2_normalize(z)).sum(dim=1).mean()


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """-(1/N) sum_i sum_k t_ik log softmax(logits_i)_k: logits (N, K), target probabilities (N, K) -> scalar. (CGH.)"""
    return -(targets * F.log_softmax(logits, dim=1)).sum(dim=1).mean()


def distillation_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 * mean_i KL( softmax(teacher_i / T) || softmax(student_i / T) ): logits (N, K) twice -> scalar. (MCL's D(s, t).)

    The teacher is detached here: in the formula it is a constant.
    """
    target = F.log_softmax(teacher.detach() / temperature, dim=1)
    guess = F.log_softmax(student / temperature, dim=1)
    return temperature**2 * F.kl_div(guess, target, reduction="batchmean", log_target=True)


def supervised_contrastive(logits: Tensor, labels: Tensor) -> Tensor:
    """All members of the own class are positives: logits (n, N), already divided by T, and labels (n,) -> scalar.

        mean_i -1/|P(i)| sum_{p in P(i)} [ S_ip - log sum_{j != i} exp S_ij ],   P(i): the others of i's class

    With many processes the logits are those of this rank's n anchors with the rows of all ranks, the labels its own.

    An anchor's logit with itself counts nowhere; an anchor whose class has no other member is left out of the mean. (Khosla
    et al. 2020, L_out; MCL's supervised form; GLNet, where the class is the picture a patch comes from.)
    """
    places = torch.arange(logits.shape[1], device=logits.device)  # (N,)
    itself = own_places(len(logits), logits.device)[:, None] == places[None, :]  # (n, N)
    alike = (labels[:, None] == all_gather_rows(labels)[None, :]) & ~itself  # (n, N)
    log_share = F.log_softmax(logits.masked_fill(itself, float("-inf")), dim=1).masked_fill(itself, 0.0)  # (n, N)
    count = alike.sum(dim=1)  # (n,)
    each = -(log_share * alike).sum(dim=1) / count.clamp(min=1)  # (n,)
    # The ranks do not have equally many anchors with a positive, so the mean is over those of all ranks
    return each.sum() * world_size() / (all_gather_rows(count) > 0).sum().clamp(min=1)
