"""Probes: what can a linear map read out of frozen features? Classes, classes from few labels, and the toy box's factors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import InputError
from .knn import check

# Labels a class at which the few-label curve is taken (ours)
LABELS_A_CLASS = (1, 5, 10, 50, 100)


@dataclass(frozen=True)
class LinearProtocol:
    """Multinomial logistic regression on cached, standardised features, solved to convergence.

    Features get mean 0 and variance 1 (fitted on the training part), then L-BFGS minimises
    mean cross-entropy + l2/2 * |W|^2 over all of them at once. No learning rate, no epochs, no crops, no choice to make:
    the same features always give the same number.
    """

    l2: float = 1e-4  # ours; from 1e-5 to 1e-3 the result moves by less than the seeds do
    iterations: int = 200


def standardised(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Mean 0 and variance 1 in every coordinate of `train` (N, D); the same map for `test`."""
    mean, std = train.mean(dim=0), train.std(dim=0, unbiased=False)
    scale = torch.where(std > 1e-6 * std.max(), std, torch.inf)  # a dead coordinate becomes 0, not noise
    return (train - mean) / scale, (test - mean) / scale


def fit_linear(x: Tensor, labels: Tensor, classes: int, protocol: LinearProtocol) -> tuple[Tensor, Tensor]:
    """Weights (classes, D) and bias (classes,) of the regression above. Deterministic; starts from zero."""
    weight = torch.zeros(classes, x.shape[1], device=x.device, requires_grad=True)
    bias = torch.zeros(classes, device=x.device, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=protocol.iterations, history_size=20, line_search_fn="strong_wolfe",
        tolerance_grad=1e-6, tolerance_change=1e-9,
    )  # fmt: skip

    def loss() -> Tensor:
        solver.zero_grad()
        value = F.cross_entropy(x @ weight.T + bias, labels) + protocol.l2 / 2 * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(loss)
    return weight.detach(), bias.detach()


def linear_probe(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    classes: int,
    protocol: LinearProtocol | None = None,
) -> dict[str, float]:
    """Top-1 and top-5 accuracy (0 to 1) on `test` (M, D) of a linear classifier fitted on `train` (N, D)."""
    protocol = protocol or LinearProtocol()
    check(train, train_labels, "linear probe, training part")
    check(test, test_labels, "linear probe, test part")
    x, queries = standardised(train, test)
    weight, bias = fit_linear(x, train_labels, classes, protocol)
    ranking = (queries @ weight.T + bias).topk(min(5, classes), dim=1).indices  # (M, D) -> (M, 5)
    hits = ranking == test_labels[:, None]
    return {"top1": hits[:, 0].float().mean().item(), "top5": hits.any(1).float().mean().item()}


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
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    classes: int,
    each: tuple[int, ...] = LABELS_A_CLASS,
    seeds: int = 3,
) -> dict[int, list[float]]:
    """Linear top-1 by number of labels a class: {labels a class: one accuracy a draw}. Draws differ in which are labelled.

    Few labels need a stronger pull to zero than 50,000: the probe's l2 is 0.01 here (ours).
    """
    protocol = LinearProtocol(l2=0.01)
    curve: dict[int, list[float]] = {}
    for count in each:
        draws = [few_labels(train_labels, count, classes, seed) for seed in range(seeds)]
        curve[count] = [
            linear_probe(train[i], train_labels[i], test, test_labels, classes, protocol)["top1"] for i in draws
        ]
    return curve


def ridge_r2(train: Tensor, target: Tensor, test: Tensor, truth: Tensor, l2: float = 1e-3) -> float:
    """Share of the variance of `truth` (M, T) that ridge regression from features explains, pooled over the T columns."""
    x, queries = (part.double() for part in standardised(train, test))
    mean = target.double().mean(dim=0)
    gram = x.T @ x / len(x) + l2 * torch.eye(x.shape[1], dtype=torch.float64, device=x.device)
    weight = torch.linalg.solve(gram, x.T @ (target.double() - mean) / len(x))  # (D, D), (D, T) -> (D, T)
    residual = (truth.double() - mean - queries @ weight).square().sum()
    return 1 - (residual / (truth.double() - truth.double().mean(dim=0)).square().sum()).item()


def factor_probe(
    train: Tensor,
    train_factors: dict[str, Tensor],
    test: Tensor,
    test_factors: dict[str, Tensor],
    periods: dict[str, float],
) -> dict[str, dict[str, float | str]]:
    """How much of each toy-box factor the features (N, D) kept.

    Whole-number factors: accuracy of the linear probe beside chance. Others: R^2 of ridge regression (1: all of it,
    0: nothing); those in `periods` (factor -> one full turn, in the factor's unit) as sine and cosine.
    """
    found: dict[str, dict[str, float | str]] = {}
    for name, known in train_factors.items():
        truth = test_factors[name]
        if not known.is_floating_point():
            classes = int(torch.cat([known, truth]).max()) + 1
            accuracy = linear_probe(train, known, test, truth, classes)["top1"]
            chance = known.bincount(minlength=classes).max().item() / len(known)
            found[name] = {"kind": "accuracy", "value": accuracy, "chance": chance}
            continue
        columns = [known[:, None], truth[:, None]]
        if name in periods:
            columns = [torch.stack([(t * turn).sin(), (t * turn).cos()], 1) for t, turn in
                       ((known, 2 * math.pi / periods[name]), (truth, 2 * math.pi / periods[name]))]  # fmt: skip
        found[name] = {"kind": "R2", "value": ridge_r2(train, columns[0], test, columns[1]), "chance": 0.0}
    return found
