"""Pretrained backbones that come with a checkout, and their features of 2,000 test images, for use without GPU or CIFAR-10.

    kept = pretrained.load_features()
    kept.features["simclr"]                   (2000, 96): features of 2,000 test images under SimCLR's backbone
    kept.layouts["simclr"]                    (2000, 2): the same as a UMAP
    kept.images()                             those images, where CIFAR-10 is on disk; else None
    export.load_backbone(pretrained.weights_path("simclr"))

`benchmarks/experiments/ship.py` wrote them from the runs in data/runs/cifar10-slim. Images are never shipped.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import InputError, unknown
from ..core.files import CHECKOUT
from ..data import dataset
from ..data.dataset import load_dataset

FOLDER = CHECKOUT / "data" / "weights" / "cifar10-slim"
ARCHIVE = "points.npz"


@dataclass(frozen=True, eq=False)
class KeptFeatures:
    """2,000 test images of CIFAR-10 under several backbones."""

    features: dict[str, Tensor]  # method: float32 (N, D), kept in half precision
    layouts: dict[str, Tensor]  # method: float32 (N, 2), UMAP
    labels: Tensor  # int64 (N,)
    index: Tensor  # int64 (N,), which test images these are, ascending
    classes: tuple[str, ...]
    about: dict[str, Any]  # how they were made: runs, map, hardware, versions

    def images(self, root: str | Path | None = None) -> dataset.ImageSet | None:
        """The images themselves out of the learner's own CIFAR-10 (`load_dataset`), or None where it is not on disk."""
        try:
            return load_dataset("cifar10", root=root).test.subset(self.index)
        except InputError:
            return None


def load_features(folder: Path = FOLDER) -> KeptFeatures:
    """What is shipped; `InputError` where the package runs without a checkout, or the file is damaged."""
    path = folder / ARCHIVE
    if not path.is_file():
        raise InputError(f"there is no {path}: shipped results come with a checkout of the repository, not with an install")
    try:
        with np.load(path, allow_pickle=False) as file:
            kept = {name: file[name] for name in file.files}
        about = json.loads(str(kept["about"]))
        found = {what: {name: torch.from_numpy(kept[f"{what}/{name}"]).float() for name in about["runs"]}
                 for what in ("features", "layouts")}  # fmt: skip
        labels, index = (torch.from_numpy(kept[name]).long() for name in ("labels", "index"))
        return KeptFeatures(found["features"], found["layouts"], labels, index, tuple(about["classes"]), about)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}); `git checkout -- {path.name}` in its folder restores it") from error


def weights_path(name: str, folder: Path = FOLDER) -> Path:
    """The file with a method's backbone, for `export.load_backbone` and `mnclglf-lite evaluate --weights`."""
    there = {path.stem: path for path in sorted(folder.glob("*.safetensors"))}
    if not there:
        raise InputError(f"there are no backbones in {folder}: shipped results come with a checkout of the repository")
    if name not in there:
        raise unknown("shipped backbone", name, there)
    return there[name]
