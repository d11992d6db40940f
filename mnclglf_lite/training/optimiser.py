"""The optimisers: SGD for everything, or Muon for the matrices and SGD for the rest.

Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks") replaces the momentum of a weight matrix
by the nearest orthogonal matrix, so that every direction of the matrix moves by the same amount:

    B <- 0.95 B + G                         momentum of the gradient G, (rows, columns)
    U S V' = G + 0.95 B                     look-ahead, as in Nesterov's momentum
    W <- (1 - rate decay) W - rate sqrt(max(1, rows / columns)) U V'

U V' is approximated by five Newton-Schulz iterations. A convolution (out, in, k, k) is a matrix (out, in k k). Not matrices:
biases, BatchNorm, and the first convolution, whose input is the image; SGD trains those, as in the CIFAR speed records.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from ..models.resnet import ResNet
from ..recipe.recipe import Recipe

MOMENTUM = 0.95  # of Muon: Jordan et al. 2024
ITERATIONS = 5  # Jordan et al. 2024
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # a, b, c of x -> a x + b x^3 + c x^5, steepest at 0: Jordan et al. 2024


def orthogonalize(matrices: list[Tensor]) -> list[Tensor]:
    """The nearest orthogonal matrix U V' of each U S V', about: any shapes (m, n), float32 or float64.

    Newton-Schulz iterations change the singular values alone: those above 0.01 of the Frobenius norm end between 0.68 and
    1.21, smaller ones below. Zeros stay zeros. All that the iterations do to a matrix X is to multiply it by a polynomial of
    X X', so they are run on that square alone, in one batch for all matrices that have the smaller side in common.
    """
    wide = [m.mT if m.shape[0] > m.shape[1] else m for m in matrices]
    wide = [x / x.norm().clamp(min=1e-30) for x in wide]
    sides: dict[int, list[int]] = {}
    for i, x in enumerate(wide):
        sides.setdefault(len(x), []).append(i)
    for which in sides.values():
        factors = newton_schulz(torch.stack([wide[i] @ wide[i].mT for i in which]))
        for i, factor in zip(which, factors, strict=True):
            wide[i] = factor @ wide[i]
    return [x.mT if m.shape[0] > m.shape[1] else x for x, m in zip(wide, matrices, strict=True)]


def newton_schulz(square: Tensor) -> Tensor:
    """Squares X X' (B, s, s) -> the polynomials (B, s, s) by which the iterations multiply X.

    Each iteration is X <- (a + b X X' + c (X X')^2) X.
    """
    total = factor = polynomial(square)
    for _ in range(ITERATIONS - 1):
        square = factor @ square @ factor  # of the X that this iteration is given
        factor = polynomial(square)
        total = factor @ total
    return total


def polynomial(square: Tensor) -> Tensor:
    """a + b S + c S^2 of each matrix S: (B, s, s) -> (B, s, s)."""
    a, b, c = COEFFICIENTS
    found = torch.baddbmm(square, square, square, beta=b, alpha=c)
    found.diagonal(dim1=1, dim2=2).add_(a)
    return found


class Muon(torch.optim.Optimizer):
    """Muon for the groups with `muon=True`, SGD with momentum for the others (`make_optimiser` makes both).

    With many processes each computes the same, from averaged gradients.
    """

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            (self.step_muon if group["muon"] else self.step_sgd)(group, params)

    def step_muon(self, group: dict[str, Any], params: list[Tensor]) -> None:
        if not params:
            return
        for p in params:
            if not self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        buffers, gradients = [self.state[p]["momentum_buffer"] for p in params], [p.grad for p in params]
        torch._foreach_mul_(buffers, MOMENTUM)
        torch._foreach_add_(buffers, gradients)
        ahead = torch._foreach_add(gradients, buffers, alpha=MOMENTUM)
        moves = orthogonalize([each.flatten(1) for each in ahead])
        moves = [
            move.reshape(p.shape) * max(1, len(move) / move[0].numel()) ** 0.5 for move, p in zip(moves, params, strict=True)
        ]
        torch._foreach_mul_(moves, -group["lr"])
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(params, moves)

    def step_sgd(self, group: dict[str, Any], params: list[Tensor]) -> None:
        buffers = [self.state[p].get("momentum_buffer") for p in params]
        names = ("weight_decay", "momentum", "lr", "nesterov", "fused")
        options = {name: group[name] for name in names} | {"dampening": 0.0, "maximize": False}
        sgd(params, [p.grad for p in params], buffers, **options)  # torch's own
        for p, buffer in zip(params, buffers, strict=True):
            if buffer is not None:
                self.state[p]["momentum_buffer"] = buffer


def make_optimiser(recipe: Recipe, method: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser of all parameters that learn, in groups that share their settings.

    Biases and BatchNorm go without weight decay unless `decay_bias_and_norm`; the predictor may keep its rate constant.
    """
    optim, fused = recipe.optim, next(method.parameters()).device.type in ("cpu", "cuda")
    first = {module.conv1.weight for module in method.modules() if isinstance(module, ResNet)}
    groups: dict[tuple[bool, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            muon = optim.optimiser == "muon" and parameter.ndim > 1 and parameter not in first
            decays = muon or optim.decay_bias_and_norm or parameter.ndim > 1
            constant = getattr(recipe.method, "predictor_lr", "") == "constant" and name.startswith("predictor.")
            groups.setdefault((muon, decays, constant), []).append(parameter)
    decay = {True: optim.muon_weight_decay, False: optim.weight_decay}
    made = [
        {"params": params, "muon": muon, "weight_decay": decay[muon] if decays else 0.0, "constant": constant}
        for (muon, decays, constant), params in groups.items()
    ]
    shared = {"lr": optim.lr, "momentum": optim.momentum, "nesterov": optim.nesterov, "fused": fused}
    return Muon(made, shared) if optim.optimiser == "muon" else torch.optim.SGD(made, **shared)
