"""Trained networks that come with a checkout, and their features of 2,000 test images, for use without GPU or download.

    kept = pretrained.load_features("cifar10")
    kept.features["simclr"]                   (2000, 96): features of 2,000 test images under SimCLR's backbone
    kept.layouts["simclr"]                    (2000, 2): the same as a UMAP
    kept.images()                             those images, where CIFAR-10 is on disk; else None
    export.load_backbone(pretrained.weights_path("simclr", "cifar10"))
    pretrained.load_trained("mnclglf")        the toy box: a finished run with all its networks and its queue

`benchmarks/experiments/at_length.py` trained them, `ship.py` beside it wrote the features. CIFAR's images are never shipped.
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
from ..data.dataset import ImageSet, load_dataset
from ..training.run import Run
from . import export

WEIGHTS = CHECKOUT / "data" / "weights"
FOLDERS = {"toybox": WEIGHTS / "toybox", "cifar10": WEIGHTS / "cifar10-slim"}
ARCHIVE = "points.npz"


def folder_of(dataset: str) -> Path:
    """Where the shipped networks of an image set lie."""
    if dataset not in FOLDERS:
        raise unknown("image set with shipped networks", dataset, FOLDERS)
    return FOLDERS[dataset]


@dataclass(frozen=True, eq=False)
class KeptFeatures:
    """2,000 test images of an image set under several backbones. Of an untrained one the maps alone are kept."""

    dataset: str
    features: dict[str, Tensor]  # method: float32 (N, D), kept in half precision
    layouts: dict[str, Tensor]  # method: float32 (N, 2), UMAP
    tsne: dict[str, Tensor]  # method: float32 (N, 2), t-SNE
    neighbours: dict[str, Tensor]  # method: int64 (N, 8), the nearest others by cosine similarity, nearest first
    labels: Tensor  # int64 (N,)
    index: Tensor  # int64 (N,), which test images these are, ascending
    classes: tuple[str, ...]
    about: dict[str, Any]  # how they were made: runs, map, hardware, versions

    def images(self, root: str | Path | None = None) -> ImageSet | None:
        """The images themselves, out of the learner's own files (`load_dataset`); None where they are not on disk."""
        try:
            return load_dataset(self.dataset, root=root).test.subset(self.index)
        except InputError:
            return None


def load_features(dataset: str = "cifar10", folder: Path | None = None) -> KeptFeatures:
    """What is shipped; `InputError` where the package runs without a checkout, or the file is damaged."""
    path = (folder or folder_of(dataset)) / ARCHIVE
    if not path.is_file():
        raise InputError(f"there is no {path}: shipped results come with a checkout of the repository, not with an install")
    try:
        with np.load(path, allow_pickle=False) as file:
            kept = {name: file[name] for name in file.files}
        about = json.loads(str(kept["about"]))
        found: dict[str, dict[str, Tensor]] = {what: {} for what in ("features", "layouts", "tsne", "neighbours")}
        for key in kept:
            what, _, name = key.partition("/")
            if name:
                found[what][name] = torch.from_numpy(kept[key].astype(np.int64 if what == "neighbours" else np.float32))
        if not about["runs"].keys() == found["features"].keys():
            raise KeyError(f"features of {', '.join(about['runs'])}")
        labels, index = (torch.from_numpy(kept[name]).long() for name in ("labels", "index"))
        return KeptFeatures(dataset, **found, labels=labels, index=index, classes=tuple(about["classes"]), about=about)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}); `git checkout -- {path.name}` in its folder restores it") from error


def weights_path(name: str, dataset: str = "cifar10", folder: Path | None = None) -> Path:
    """The file with a method's weights, for `export.load_backbone` and `mnclglf-lite evaluate --weights`."""
    folder = folder or folder_of(dataset)
    there = {path.stem: path for path in sorted(folder.glob("*.safetensors"))}
    if not there:
        raise InputError(f"there are no weights in {folder}: shipped results come with a checkout of the repository")
    if name not in there:
        raise unknown("shipped network", name, there)
    return there[name]


def load_trained(name: str, dataset: str = "toybox") -> Run:
    """A finished run with all its networks and queues; of the toy box: simclr, mnclglf."""
    return export.load_trained(weights_path(name, dataset))
