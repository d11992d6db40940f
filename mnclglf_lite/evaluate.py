"""Evaluation: features once, then cheap and honest questions to them.

Everything here reads the encoder and changes nothing of it: the backbone is put into eval mode, run without gradient over
whole pictures (no crop), and put back as it was. All probes work on those cached features, so they cannot leak into it.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import views
from .data import ImageSet, Splits
from .device import describe
from .errors import unknown
from .gauges import effective_rank, spread
from .knn import KNN_20, KNN_DEFAULT, KNN_PLAIN, TRANSFORMS, KnnProtocol, check, knn, transformed
from .probes import LinearProtocol, linear_probe

Encoder = Callable[[Tensor], Tensor]
KNN_PROTOCOLS = {"knn": KNN_DEFAULT, "knn20": KNN_20, "knn10": KNN_PLAIN}


@contextlib.contextmanager
def looking_at(encoder: Encoder) -> Iterator[None]:
    """Eval mode inside, every submodule's own mode again outside."""
    modules = list(encoder.modules()) if isinstance(encoder, nn.Module) else []
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


@torch.no_grad()
def features(encoder: Encoder, pictures: ImageSet, batch: int = 500) -> Tensor:
    """Features of whole pictures, normalised as in training: float32 (N, D), on the pictures' device."""
    with looking_at(encoder):
        parts = []
        for images in pictures.images.split(batch):
            x = views.plain(images).contiguous(memory_format=torch.channels_last)
            parts.append(encoder(x).float())  # (n, 3, H, W) -> (n, D)
    return torch.cat(parts)


class Pixels(nn.Module):
    """The picture itself as its feature: (N, 3, H, W) -> (N, 3HW). What is learned must beat this."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class Thumbnails(nn.Module):
    """The picture shrunk to side x side: a stronger baseline than raw pixels, and a humbling one once whitened."""

    def __init__(self, side: int = 8):
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.side).flatten(1)


@torch.no_grad()
def with_statistics(encoder: nn.Module, pictures: ImageSet, count: int = 2000) -> nn.Module:
    """A copy of an untrained encoder whose BatchNorm running statistics are those of (the first `count`) pictures.

    Without this a random encoder is judged under statistics it never had.
    """
    encoder = copy.deepcopy(encoder).train()
    for module in encoder.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # a plain average over all batches
    for images in pictures.images[:count].split(500):
        encoder(views.plain(images))
    return encoder.eval()


def queries_of(splits: Splits, on: str) -> ImageSet:
    """The part that is asked: "holdout" for every choice, "test" for the last line."""
    if on not in ("holdout", "test"):
        raise unknown("split to evaluate on", on, ("holdout", "test"))
    return getattr(splits, on)


def fitting(protocol: KnnProtocol, bank: int) -> KnnProtocol:
    """The protocol with no more neighbours than the bank has pictures."""
    return protocol if protocol.k <= bank else KnnProtocol(bank, protocol.temperature, protocol.weighted, protocol.transform)


def evaluate(
    encoder: Encoder, splits: Splits, on: str = "holdout", transforms: tuple[str, ...] = TRANSFORMS, linear: bool = True
) -> dict[str, Any]:
    """One encoder under every protocol: plain JSON types, with the protocols, sizes, hardware and seconds beside them.

    The bank and the probe's training set are `splits.train`; the queries `splits.holdout` or `splits.test`. Under
    "knn" / "knn20" / "knn10" stand the protocols of `KNN_PROTOCOLS`, each for every feature transform.
    """
    asked, begun = queries_of(splits, on), time.perf_counter()
    bank, queries = features(encoder, splits.train), features(encoder, asked)
    seconds = {"features": time.perf_counter() - begun}
    classes = len(splits.train.classes)
    check(bank, splits.train.labels, "evaluation")
    result: dict[str, Any] = {
        "dataset": splits.train.name,
        "on": on,
        "bank": len(bank),
        "queries": len(queries),
        "dim": bank.shape[1],
        "spread": float(spread(queries)),
        "rank": float(effective_rank(queries)),
    }
    begun = time.perf_counter()
    for transform in transforms:
        a, b = transformed(bank, queries, transform)
        for name, protocol in KNN_PROTOCOLS.items():
            accuracy = knn(a, splits.train.labels, b, asked.labels, fitting(protocol, len(bank)), classes)
            result.setdefault(name, {})[transform] = accuracy
    seconds["knn"] = time.perf_counter() - begun
    if linear:
        begun = time.perf_counter()
        result["linear"] = linear_probe(bank, splits.train.labels, queries, asked.labels, classes)
        seconds["linear"] = time.perf_counter() - begun
    result["protocols"] = {name: asdict(protocol) for name, protocol in KNN_PROTOCOLS.items()}
    result["protocols"]["linear"] = asdict(LinearProtocol())
    result["seconds"] = {name: round(value, 2) for name, value in seconds.items()}
    result["hardware"] = describe(splits.train.device)
    return result


def baselines(random_encoder: nn.Module, splits: Splits) -> dict[str, Encoder]:
    """The rows that every learned row must be read beside; `random_encoder` is the same network, untrained."""
    return {
        "raw pixels": Pixels(),
        "8x8 thumbnails": Thumbnails(8),
        "random encoder": with_statistics(random_encoder, splits.train),
    }


def transfer(encoder: Encoder, others: Splits, on: str = "test") -> dict[str, Any]:
    """kNN and linear on an image set the encoder was not trained on; pictures keep their own size."""
    return evaluate(encoder, others, on)


def table(rows: dict[str, dict[str, Any]], markdown: bool = False) -> str:
    """Results side by side, in percent: the three kNN protocols on raw features, kNN-20 under each transform, linear."""
    columns = {
        "kNN 200": ("knn", "raw"),
        "kNN 20": ("knn20", "raw"),
        "centred": ("knn20", "centred"),
        "whitened": ("knn20", "whitened"),
        "kNN 10 plain": ("knn10", "raw"),
    }
    head = ["", *columns, "linear", "top-5", "spread", "rank"]
    lines = []
    for name, row in rows.items():
        cells = [f"{100 * row[a][b]['top1']:.1f}" if b in row[a] else "-" for a, b in columns.values()]
        cells += [f"{100 * row['linear'][top]:.1f}" for top in ("top1", "top5")] if "linear" in row else ["-", "-"]
        lines.append([name, *cells, f"{row['spread']:.2f}", f"{row['rank']:.1f}"])
    return layout(head, lines, markdown)


def layout(head: list[str], lines: list[list[str]], markdown: bool = False) -> str:
    """A table as aligned text or as Markdown; the first column to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in [head, *lines]) for i in range(len(head))]
    rows = [
        [cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
        for row in [head, *lines]
    ]
    if not markdown:
        return "\n".join("  ".join(row).rstrip() for row in rows)
    rule = ["-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(map(lambda w: max(w, 2), widths))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], rule, *rows[1:]])


