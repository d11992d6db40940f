"""Evaluation: extract the features of a frozen encoder once, then measure on them.

Everything here reads the encoder and changes nothing of it: the backbone is put into eval mode, run without
gradient over whole images (no crop), and put back as it was. All probes work on those cached features, so
they cannot leak into it.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.device import describe_device
from ..core.errors import InputError, unknown
from ..core.files import save_json
from ..core.progress import Progress
from ..core.text import format_table
from ..data.dataset import ImageSet, Splits, data_root
from ..models.batchnorm import SplitBatchNorm
from ..models.freeze import Encoder, eval_mode
from ..views.view import whole_images
from .collapse import effective_rank, feature_std
from .knn import KNN_20, KNN_DEFAULT, KNN_PLAIN, TRANSFORMS, KnnProtocol, check, nearest_neighbours, transformed, vote
from .linear import LinearProtocol, linear_probe

KNN_PROTOCOLS = {"knn": KNN_DEFAULT, "knn20": KNN_20, "knn10": KNN_PLAIN}


@torch.no_grad()
def extract_features(encoder: Encoder, pictures: ImageSet, batch: int = 500, size: int | None = None) -> Tensor:
    """Features of whole pictures, normalised as in training: float32 (N, D), on the pictures' device.

    `size` is the side in pixels at which the encoder sees them; by default their own. A network that was
    trained on much enlarged views must be asked at their size (`recipe.views.eval_size`), or it meets objects at a
    scale it has never seen. An encoder that is no `nn.Module` (a lambda, say) is called as it is: put what is
    inside into eval mode yourself.
    """
    with eval_mode(encoder):
        parts, line = [], Progress(f"features of {pictures.name}", len(pictures), patience=10.0)
        for i, images in enumerate(pictures.images.split(batch)):
            line.show(i * batch)
            x = whole_images(images, size).contiguous(memory_format=torch.channels_last)  # (n, 3, S, S)
            parts.append(encoder(x))  # (n, 3, S, S) -> (n, D)
            if parts[0].ndim != 2:
                raise InputError(f"an encoder gives features (N, D); this one gave {tuple(parts[0].shape)}: pool its maps")
    line.end()
    return torch.cat(parts).float()


class Pixels(nn.Module):
    """The picture itself as its feature: (N, 3, H, W) -> (N, 3HW). What is learned must beat this."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class Thumbnails(nn.Module):
    """The picture shrunk to side x side: stronger than raw pixels, and a humbling baseline once whitened."""

    def __init__(self, side: int = 8):
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.side).flatten(1)


@torch.no_grad()
def recalibrate_batchnorm(encoder: nn.Module, pictures: ImageSet, count: int = 2000, size: int | None = None) -> nn.Module:
    """A copy of an untrained encoder whose BatchNorm statistics are those of (about `count`) pictures.

    Without this a random encoder is judged under statistics it never had. The pictures are taken evenly from
    the whole set, since some sets are stored class by class.
    """
    encoder = copy.deepcopy(encoder).train()
    for module in encoder.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # a plain average over all batches
            if isinstance(module, SplitBatchNorm):  # of whole batches: an untrained network hides nothing from itself
                module.__class__ = nn.BatchNorm2d
    for images in pictures.images[:: max(1, len(pictures) // count)].split(500):
        encoder(whole_images(images, size))
    return encoder.eval()


def query_split(splits: Splits, split: str) -> ImageSet:
    """The part that is asked: "holdout" for every choice, "test" for the last line."""
    if split not in ("holdout", "test"):
        raise unknown("split to evaluate on", split, ("holdout", "test"))
    return getattr(splits, split)


def fitting(protocol: KnnProtocol, bank: int) -> KnnProtocol:
    """The protocol with no more neighbours than the bank has pictures."""
    return replace(protocol, k=min(protocol.k, bank))


def protocols(bank: int) -> dict[str, dict[str, Any]]:
    """What `evaluate` asks of features with a bank of so many pictures: plain JSON types, as they stand in its result."""
    found = {name: asdict(fitting(protocol, bank)) for name, protocol in KNN_PROTOCOLS.items()}
    return found | {"linear": asdict(LinearProtocol())}


def evaluate(
    encoder: Encoder, splits: Splits, split: str = "holdout", transforms: tuple[str, ...] = TRANSFORMS, linear: bool = True,
    size: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """One encoder under every protocol: plain JSON types; protocols, sizes, hardware and seconds beside them.

    The bank and the probe's training set are `splits.train`; the queries `splits.holdout` or `splits.test`.
    Under "knn" / "knn20" / "knn10" stand the protocols of `KNN_PROTOCOLS`, each for every feature transform.
    `size`: see `extract_features`. The collapse measures are those of the queries' raw features.
    """
    asked, begun = query_split(splits, split), time.perf_counter()
    labels, classes = splits.train.labels, len(splits.train.classes)
    bank, queries = extract_features(encoder, splits.train, size=size), extract_features(encoder, asked, size=size)
    check(bank, labels, f"features of {splits.train.name}, train", classes, every=True)
    check(queries, asked.labels, f"features of {asked.name}, {split}", classes)
    seconds = {"features": time.perf_counter() - begun}
    result: dict[str, Any] = {
        "dataset": splits.train.name,
        "on": split,
        "size": size or asked.side,
        "bank": len(bank),
        "queries": len(queries),
        "dim": bank.shape[1],
        "spread": feature_std(queries).item(),
        "rank": effective_rank(queries).item(),
    }
    begun = time.perf_counter()
    knns = {name: fitting(protocol, len(bank)) for name, protocol in KNN_PROTOCOLS.items()}
    most = max(protocol.k for protocol in knns.values())
    for transform in transforms:
        moved_bank, moved_queries = transformed(bank, queries, transform)
        similarity, index = nearest_neighbours(moved_queries, moved_bank, most)  # one search for all protocols
        for name, protocol in knns.items():
            result.setdefault(name, {})[transform] = vote(similarity, labels[index], asked.labels, protocol, classes)
    seconds["knn"] = time.perf_counter() - begun
    if linear:
        begun = time.perf_counter()
        result["linear"] = linear_probe(bank, labels, queries, asked.labels, classes)
        seconds["linear"] = time.perf_counter() - begun
    result["protocols"] = protocols(len(bank))
    result["seconds"] = {name: round(value, 2) for name, value in seconds.items()}
    result["hardware"] = describe_device(splits.train.device)
    return result


def baselines(
    random_encoder: nn.Module, splits: Splits, size: int | None = None, others: Mapping[str, nn.Module] | None = None
) -> dict[str, Encoder]:
    """The rows that every learned row must be read beside; `random_encoder` is the same network, untrained.

    `others`: untrained networks with another start, by name, such as `first_layer.with_data_start`.
    Pictures wider than 32 pixels are shrunk to 32 for the pixel row: whitening 64 x 64 x 3 numbers takes
    the better part of an hour.
    """
    small = (size or splits.train.side) <= 32
    return {
        "raw pixels" if small else "32x32 pixels": Pixels() if small else Thumbnails(32),
        "8x8 thumbnails": Thumbnails(8),
        "random encoder": recalibrate_batchnorm(random_encoder, splits.train, size=size),
        **{name: recalibrate_batchnorm(encoder, splits.train, size=size) for name, encoder in (others or {}).items()},
    }


def baseline_rows(
    random_encoder: nn.Module, splits: Splits, split: str, size: int | None = None, log: Callable[[str], None] = print,
    others: Mapping[str, nn.Module] | None = None,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """`evaluate` of every baseline. Rows that no run can change (pixels, thumbnails) take minutes on a large set, so they
    are measured once and kept in `data_root()/baselines`, under the hash of the pictures and the protocols."""
    asked = query_split(splits, split)
    rows = {}
    for name, encoder in baselines(random_encoder, splits, size, others).items():
        kept = None
        if name not in ("random encoder", *(others or ())):
            what = [name, split, size, describe_device(splits.train.device), [asdict(p) for p in KNN_PROTOCOLS.values()]]
            digest = hashlib.sha256(json.dumps([*what, asdict(LinearProtocol())]).encode())
            for part in (splits.train, asked):
                digest.update(part.images.cpu().numpy().tobytes() + part.labels.cpu().numpy().tobytes())
            kept = data_root() / "baselines" / f"{digest.hexdigest()[:20]}.json"
            if kept.exists():
                rows[name] = json.loads(kept.read_text())
                continue
        if len(splits.train) > 20_000:
            log(f"measuring {name} on {splits.train.name}" + (", once: it is kept" if kept else ""))
        rows[name] = evaluate(encoder, splits, split, size=size)
        if kept:
            with contextlib.suppress(OSError):  # a folder that cannot be written only costs the time again
                kept.parent.mkdir(parents=True, exist_ok=True)
                save_json(kept, rows[name])
    return rows


def table(rows: dict[str, dict[str, Any]], markdown: bool = False) -> str:
    """Results side by side, in percent: three kNN protocols raw, kNN-20 under transforms, linear; std: of features."""
    columns = {
        "kNN 200": ("knn", "raw"),
        "kNN 20": ("knn20", "raw"),
        "centred": ("knn20", "centred"),
        "whitened": ("knn20", "whitened"),
        "kNN 10 plain": ("knn10", "raw"),
    }
    head = ["", *columns, "linear", "top-5", "std", "rank"]
    lines = []
    for name, row in rows.items():
        cells = [f"{100 * row[a][b]['top1']:.1f}" if b in row[a] else "-" for a, b in columns.values()]
        cells += [f"{100 * row['linear'][top]:.1f}" for top in ("top1", "top5")] if "linear" in row else ["-", "-"]
        lines.append([name, *cells, f"{row['spread']:.2f}", f"{row['rank']:.1f}"])
    return format_table(head, lines, markdown)
