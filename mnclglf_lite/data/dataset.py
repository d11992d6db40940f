"""An image set is one uint8 tensor with labels and names, kept on the device that trains.

    toybox          drawn scenes, nothing to fetch        folder:PATH     any folder of images
    cifar10         32 pixels, 10 classes                 cifar100        32 pixels, 100 classes
    tinyimagenet    64 pixels, 200 classes                toybox-v1       the toy box of older records

Every set has three parts. `train` excludes `holdout`, a fixed tenth of the published training part on which
every choice is made; `test` is for the last line only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..core.errors import InputError, unknown
from ..core.files import CHECKOUT
from . import cifar, dataset, image_folders
from .image_folders import read_folder, read_tinyimagenet

TOYS = {"toybox": 2, "toybox-v1": 1}  # name: version of the toy box
NAMES = (*TOYS, "cifar10", "cifar100", "tinyimagenet")
OWN_SIDE = {"cifar10": 32, "cifar100": 32, "tinyimagenet": 64}  # pixels, as published
TOY_SIDE = FOLDER_SIDE = 32  # pixels: CIFAR's size, so that every recipe fits every set (ours)
TOY_TRAIN, TOY_HOLDOUT, TOY_TEST = 10_000, 1_000, 2_000  # images: a minute of drawing at most (ours)
HOLDOUT_SHARE = 0.1  # 5,000 of CIFAR's 50,000 (ours; a usual choice)
FOLDER_TEST_SHARE = 0.2  # for a folder that comes without a test part (ours)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with labels, all on one device.

    images   uint8 (N, 3, H, W), 0 to 255, RGB, square
    labels   int64 (N,), an index into `classes`
    classes  class names
    name     "cifar10", "toybox", "folder:cats" ...
    split    "train", "holdout" or "test"
    factors  toy box only: what was drawn, name -> (N,) float32 or int64
    masks    toy box only: bool (N, H, W), true on the object
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    split: str
    factors: dict[str, Tensor] | None = None
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def side(self) -> int:
        """Height in pixels (width is the same)."""
        return self.images.shape[-2]

    @property
    def device(self) -> torch.device:
        return self.images.device

    def to(self, device: torch.device | str) -> ImageSet:
        """The same set with every tensor on `device`."""
        return self._each(lambda t: t.to(device))

    def subset(self, index: Tensor) -> ImageSet:
        """The images at `index`, int64 (M,), in that order; a copy."""
        index = torch.as_tensor(index, device=self.device)
        if index.dtype != torch.int64 or index.dim() != 1:
            raise InputError(
                f"subset takes a one-dimensional int64 tensor of positions, got {index.dtype} of shape "
                f"{tuple(index.shape)}; for a yes/no mask, give mask.nonzero().flatten()"
            )
        return self._each(lambda t: t[index])

    def _each(self, change) -> ImageSet:
        return replace(
            self,
            images=change(self.images),
            labels=change(self.labels),
            factors=self.factors and {key: change(value) for key, value in self.factors.items()},
            masks=None if self.masks is None else change(self.masks),
        )


class Splits(NamedTuple):
    """The three parts of one set; they share no image."""

    train: ImageSet
    holdout: ImageSet
    test: ImageSet


def joined(one: ImageSet, other: ImageSet) -> ImageSet:
    """Two parts of the same set as one; factors and masks, which training does not need, are left behind."""
    return replace(
        one,
        images=torch.cat([one.images, other.images]),  # (N, 3, H, W), (M, 3, H, W) -> (N + M, 3, H, W)
        labels=torch.cat([one.labels, other.labels]),
        factors=None,
        masks=None,
    )


def data_root() -> Path:
    """Where image sets live: $MNCLGLF_LITE_DATA; else `data/` of a checkout; else ~/.cache/mnclglf_lite."""
    if asked := os.environ.get("MNCLGLF_LITE_DATA"):
        return Path(asked).expanduser()
    checkout = CHECKOUT
    if (checkout / "pyproject.toml").is_file() and (checkout / "data").is_dir():
        return checkout / "data"
    return Path.home() / ".cache" / "mnclglf_lite"


def stratified(labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions (the rest, the part): `share` of every class, at least one of each, always the same draw.

    NumPy's legacy RandomState is used since its stream is frozen for good: the hold-out of today's run is the
    hold-out of every later one, whatever version of torch or NumPy reads it.
    """
    draw = np.random.RandomState(0)
    part = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        part[draw.permutation(members)[: max(1, round(share * len(members)))]] = True
    return np.flatnonzero(~part), np.flatnonzero(part)


def load_dataset(
    name: str, root: str | Path | None = None, device: torch.device | str = "cpu", side: int | None = None, seed: int = 0
) -> Splits:
    """Read an image set from disk (or draw it) and put it on `device`.

    name    one of `NAMES`, or "folder:PATH" (see `image_folders.read_folder` for its layouts)
    root    the folder that holds the sets (default `data_root()`); the toy box and folders don't use it
    side    pixels; for the toy box and folders, 32 if not given. Published sets keep their own size:
            how large a view of them is, a `View` says.
    seed    draws the toy box; published sets and every hold-out are the same for all seeds

    Raises InputError for an unknown name, files that are missing or damaged, and a wrong `side`.
    """
    if side is not None and (not isinstance(side, int) or side < 8):
        raise InputError(f"side must be a whole number of pixels, 8 or more, got {side!r}")
    if name in OWN_SIDE and side not in (None, OWN_SIDE[name]):
        raise InputError(
            f"{name} pictures are {OWN_SIDE[name]} pixels wide, got side={side}: leave it out "
            "(the size of a view is chosen in the recipe)"
        )
    root = data_root() if root is None else Path(root).expanduser()
    if name in TOYS:
        return _toybox(name, seed, side or TOY_SIDE, device)
    if name in ("cifar10", "cifar100"):
        read = cifar.read_cifar(root, name)
    elif name == "tinyimagenet":
        read = read_tinyimagenet(root)
    elif isinstance(name, str) and name.startswith("folder:"):
        read = read_folder(Path(name.removeprefix("folder:")).expanduser(), side or FOLDER_SIDE)
        if read.test is None:
            rest, part = stratified(read.train[1], FOLDER_TEST_SHARE)
            images, labels = read.train
            read = image_folders.Read((images[rest], labels[rest]), (images[part], labels[part]), read.classes)
    else:
        raise unknown("image set", name, [*NAMES, "folder:PATH"])

    def part(split: str, images: np.ndarray, labels: np.ndarray) -> ImageSet:
        return ImageSet(
            torch.from_numpy(images).to(device),
            torch.from_numpy(labels.astype(np.int64)).to(device),
            read.classes,
            name,
            split,
        )

    images, labels = read.train
    kept, held = stratified(labels, HOLDOUT_SHARE)
    return Splits(
        part("train", images[kept], labels[kept]), part("holdout", images[held], labels[held]), part("test", *read.test)
    )


def _toybox(name: str, seed: int, side: int, device: torch.device | str) -> Splits:
    """One draw cut in three, so that no image is in two parts."""
    from . import toybox

    version, count = TOYS[name], TOY_TRAIN + TOY_HOLDOUT + TOY_TEST
    images, labels, factors, masks = toybox.draw(count, seed, side, version=version)
    classes = tuple(toybox.design(version)[0])
    everything = ImageSet(images, labels, classes, name, "train", factors, masks).to(device)
    parts, start = [], 0
    for split, count in (("train", TOY_TRAIN), ("holdout", TOY_HOLDOUT), ("test", TOY_TEST)):
        index = torch.arange(start, start + count, device=everything.device)
        parts.append(replace(everything.subset(index), split=split))
        start += count
    return Splits(*parts)


def batch_order(seed: int, epoch: int, pictures: int) -> Tensor:
    """The shuffled picture numbers of an epoch: a function of seed and epoch alone, so nothing of it need be saved."""
    return torch.randperm(pictures, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def evenly_spaced(pictures: dataset.ImageSet, most: int) -> dataset.ImageSet:
    """At most `most` pictures, spread evenly over the set: sets may be stored class by class."""
    return pictures.subset(torch.arange(0, len(pictures), -(-len(pictures) // most), device=pictures.device))
