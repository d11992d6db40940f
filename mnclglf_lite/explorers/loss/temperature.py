"""What temperature does to a loss: how far apart hopeless and perfect lie, and how few pairs carry the push."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .batch import Batch
from .pairs import LOSSES, Table, loss_table

LOWEST, HIGHEST = 0.02, 2.0  # temperatures to look at: below all that methods use, and above MNCLGLF's release, 1 (ours)
POINTS = 17  # of a curve (ours)
MOST_OF = 0.9  # of the push, which `carriers` counts the bearers of


def hardest(table: Table) -> Tensor:
    """(R,): share of each anchor's push that falls on its hardest negative; NaN where there is no push."""
    return table.push.amax(dim=1) / table.push.sum(dim=1)


def carriers(table: Table, share: float = MOST_OF) -> Tensor:
    """(R,): how many negatives, the hardest first, carry `share` of each anchor's push; 0 where there is no push."""
    push = table.push.sort(dim=1, descending=True).values.cumsum(dim=1)  # (R, C)
    whole = push[:, -1:]
    short = (push < share * whole * (1 - 1e-12)).sum(dim=1)  # how many first ones are not enough; rounding forgiven
    return torch.where(whole[:, 0] > 0, short + 1, 0)


@dataclass(frozen=True)
class Curves:
    """One batch at many temperatures: lists of equal length."""

    temperature: list[float]
    value: list[float]
    level: list[float]
    best: list[float]
    carriers: list[float]  # mean over the anchors


def curves(name: str, batch: Batch, second: float | None = None) -> Curves | None:
    """The loss and its range against temperature; None for a loss that has no temperature."""
    if name == "negative_cosine" and name in LOSSES:
        return None
    temperatures = torch.logspace(*torch.tensor([LOWEST, HIGHEST], dtype=torch.float64).log10().tolist(), POINTS).tolist()
    tables = [loss_table(name, batch, temperature, second) for temperature in temperatures]
    rows = [(table.value, table.level, table.best, float(carriers(table).double().mean())) for table in tables]
    return Curves(temperatures, *map(list, zip(*rows, strict=True)))
