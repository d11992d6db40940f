"""Linear probes: what can a linear map read out of frozen features? Classes, from all or few labels; toy-box factors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import InputError
from .knn import accuracy, check

# Labels a class at which the few-label curve is taken (ours)
LABELS_A_CLASS = (1, 5, 10, 50, 100)
# The few-label probe's l2 (ours; measured on CIFAR-10, 5 draws: at every count above within a point of the
# best of 1e-4, 1e-3 ... 1)
FEW_L2 = 0.01


@dataclass(frozen=True)
class LinearProtocol:
    """Multinomial logistic regression on cached, standardised features, solved to convergence.

    Features get mean 0 and variance 1 (fitted on the training part), then L-BFGS minimises mean cross-entropy
    + l2/2 * |W|^2 over all of them at once. No learning rate, no epochs, no crops, no choice to make: the
    same features always give the same number. (scikit-learn's LogisticRegression with C = 1 / (l2 * N).)
    """

    l2: float = 1e-4  # ours; measured on CIFAR-10: 1e-5 to 1e-3 moves top-1 by under a point, seeds by two
    iterations: int = 200  # a bound; about 30 are needed

    def __post_init__(self) -> None:
        if not self.l2 > 0 or self.iterations < 1:
            raise InputError(f"the linear probe needs l2 > 0 and iterations >= 1; got {self.l2} and {self.iterations}")


def standardize(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Mean 0 and variance 1 in every coordinate of `train` (N, D); the same map for `test`."""
    mean, std = train.mean(dim=0), train.std(dim=0, unbiased=False)
    scale = torch.where(std > 1e-6 * std.max(), std, torch.inf)  # a dead coordinate becomes 0, not noise
    return (train - mean).div_(scale), (test - mean).div_(scale)  # in place: raw pixels are large


def preconditioner(x: Tensor, l2: float) -> Tensor:
    """S (D, D) with S S^T = (scatter / 10 + l2)^-1, for features (N, D): see `fit_linear`."""
    curvature = (x.T @ x).double() / (10 * len(x))  # (D, D)
    curvature.diagonal().add_(l2)
    root = torch.linalg.cholesky(curvature)  # far cheaper than eigenvectors: 3,072 pixels in a second, not ten
    del curvature  # 75 MB each for 3,072 pixels
    identity = torch.eye(len(root), dtype=root.dtype, device=root.device)
    return torch.linalg.solve_triangular(root, identity, upper=False).T.to(x.dtype)


def fit_linear(x: Tensor, labels: Tensor, classes: int, protocol: LinearProtocol) -> tuple[Tensor, Tensor]:
    """Weights (classes, D) and bias (classes,) of the regression above. Deterministic; starts from zero.

    Features are often nearly copies of each other, and then L-BFGS creeps. So it works in coordinates in
    which the loss is about equally curved in all directions: x' = x S with S S^T = (scatter / 10 + l2)^-1,
    where 1/10 is about p (1 - p), cross-entropy's curvature for ten classes. The minimum is the same one,
    whatever S; ten times fewer steps lead to it.
    """
    basis = preconditioner(x, protocol.l2)  # (D, D)
    x = x @ basis
    weight = torch.zeros(classes, x.shape[1], dtype=x.dtype, device=x.device, requires_grad=True)
    bias = torch.zeros(classes, dtype=x.dtype, device=x.device, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=protocol.iterations, max_eval=2 * protocol.iterations, history_size=20,
        line_search_fn="strong_wolfe", tolerance_grad=1e-6, tolerance_change=1e-9,
    )  # fmt: skip

    def loss() -> Tensor:
        solver.zero_grad()
        penalty = (weight @ basis.T).square().sum()  # |W|^2 in the features' own coordinates
        value = F.cross_entropy(F.linear(x, weight, bias), labels) + protocol.l2 / 2 * penalty
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(loss)
    return (weight @ basis.T).detach(), bias.detach()


def linear_probe(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, classes: int,
    protocol: LinearProtocol | None = None,
) -> dict[str, float]:  # fmt: skip
    """Top-1 and top-5 accuracy (0 to 1) on `test` (M, D) of a linear classifier fitted on `train` (N, D)."""
    protocol = protocol or LinearProtocol()
    check(train, train_labels, "linear probe, training part", classes, every=True)
    check(test, test_labels, "linear probe, test part", classes)
    x, queries = standardize(train, test)
    weight, bias = fit_linear(x, train_labels, classes, protocol)
    return accuracy(queries @ weight.T + bias, test_labels)


def few_labels(labels: Tensor, each: int, classes: int, seed: int) -> Tensor:
    """Positions of `each` labelled pictures of every class, drawn by seed."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).to(labels.device)
    picked = []
    for label in range(classes):
        members = order[labels[order] == label]
        if len(members) < each:
            raise InputError(f"class {label} has {len(members)} pictures; {each} labels a class were asked for")
        picked.append(members[:each])
    return torch.cat(picked)


def few_label_curve(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, classes: int,
    each: tuple[int, ...] = LABELS_A_CLASS, seeds: int = 3,
) -> dict[int, list[float]]:  # fmt: skip
    """Linear top-1 by number of labels a class: {labels a class: one accuracy a draw}.

    Draws differ in which pictures are labelled. The last entry has all labels (its key: their mean number a
    class), one value, under the probe's usual protocol. Few labels need a stronger pull to zero than 50,000:
    their l2 is FEW_L2.
    """
    check(train, train_labels, "few labels, training part", classes, every=True)
    check(test, test_labels, "few labels, test part", classes)
    draws = {count: [few_labels(train_labels, count, classes, seed) for seed in range(seeds)] for count in each}

    def top1(index: Tensor, protocol: LinearProtocol) -> float:
        return linear_probe(train[index], train_labels[index], test, test_labels, classes, protocol)["top1"]

    curve = {count: [top1(index, LinearProtocol(l2=FEW_L2)) for index in drawn] for count, drawn in draws.items()}
    everything = torch.arange(len(train), device=train.device)
    return curve | {len(train) // classes: [top1(everything, LinearProtocol())]}


def ridge_r2(train: Tensor, target: Tensor, test: Tensor, truth: Tensor, l2: float = 1e-3) -> float:
    """Share of the variance of `truth` (M, T) that ridge regression from features explains, pooled over the T
    columns."""
    x, queries = (part.double() for part in standardize(train, test))
    mean = target.double().mean(dim=0)
    gram = x.T @ x / len(x) + l2 * torch.eye(x.shape[1], dtype=torch.float64, device=x.device)
    weight = torch.linalg.solve(gram, x.T @ (target.double() - mean) / len(x))  # (D, D), (D, T) -> (D, T)
    residual = (truth.double() - mean - queries @ weight).square().sum()
    return 1 - (residual / (truth.double() - truth.double().mean(dim=0)).square().sum()).item()


def columns(values: Tensor, period: float | None) -> Tensor:
    """A factor (N,) as regression targets: itself (N, 1) or, if it goes round, sine and cosine (N, 2)."""
    if period is None:
        return values[:, None]
    turn = values * (2 * math.pi / period)
    return torch.stack([turn.sin(), turn.cos()], dim=1)


def factor_probe(
    train: Tensor, train_factors: dict[str, Tensor], test: Tensor, test_factors: dict[str, Tensor], periods: dict[str, float]
) -> dict[str, dict[str, float | str]]:
    """How much of each toy-box factor the features (N, D) kept.

    Whole-number factors: accuracy of the linear probe beside chance. Others: R^2 of ridge regression (1: all
    of it, 0: nothing); those in `periods` (factor -> one full turn, in the factor's unit) as sine and cosine.
    """
    found: dict[str, dict[str, float | str]] = {}
    for name, known in train_factors.items():
        truth = test_factors[name]
        if not known.is_floating_point():
            classes = int(torch.cat([known, truth]).max()) + 1
            value = linear_probe(train, known, test, truth, classes)["top1"]
            chance = known.bincount(minlength=classes).max().item() / len(known)
            found[name] = {"kind": "accuracy", "value": value, "chance": chance}
            continue
        seen, asked = (columns(values, periods.get(name)) for values in (known, truth))
        found[name] = {"kind": "R2", "value": ridge_r2(train, seen, test, asked), "chance": 0.0}
    return found
