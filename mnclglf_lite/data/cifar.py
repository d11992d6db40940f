"""CIFAR-10 and CIFAR-100 from disk: every file is checked before it is believed, and before it is unpickled.

Needs NumPy; torchvision is imported where it is used.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from ..core.errors import InputError
from .image_folders import Read

# SHA-256 of pixels (uint8, N x 3 x 32 x 32, torchvision's order) followed by labels (uint8), computed by us
# from the published files: what CIFAR-10 must be when it comes as plain arrays, not as the published pickles.
CIFAR10_SHA256 = {
    "train": "1e91790dbaf241617ca1f29a9aba08eb9a62df84cc90676b47edd05ad2ab3c94",
    "test": "9a4c74f5c8b6f2c4e13d3a1dfb43a5a8cda8a9da515e99fd620d2013a1a6287a",
}
CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()  # as in batches.meta
CIFAR10_ARRAYS = "cifar-10-arrays"  # our name for the folder of plain arrays


def read_cifar(root: Path, name: str) -> Read:
    """CIFAR-10 or CIFAR-100 from torchvision's folder layout, or CIFAR-10 from checked plain arrays."""
    form = find_cifar(root, name)
    if form is None:
        base = torchvision_cifar(name).base_folder
        inner = root.name == base
        raise InputError(
            f"no {name} in {root}: expected the folder {root / base}"
            + (f". {root} is that inner folder itself: give its parent, {root.parent}" if inner else "")
            + f". To get it: mnclglf-lite fetch {name}"
        )
    if form == CIFAR10_ARRAYS:
        return Read(_arrays(root, "train"), _arrays(root, "test"), tuple(CIFAR10_CLASSES))
    parts = [torchvision_cifar(name)(root, train=train, download=False) for train in (True, False)]
    return Read(
        *((np.ascontiguousarray(p.data.transpose(0, 3, 1, 2)), np.array(p.targets)) for p in parts), tuple(parts[0].classes)
    )


def find_cifar(root: Path, name: str) -> str | None:
    """The folder inside `root` that holds the set, or None where there is none. Damaged files: InputError.

    CIFAR's files are pickles, and unpickling runs what a file says. So the MD5 of every file is compared with
    torchvision's list first, and nothing else is ever unpickled.
    """
    if name == "cifar10" and (root / CIFAR10_ARRAYS).is_dir() and not (root / "cifar-10-batches-py").is_dir():
        for split in ("train", "test"):
            _arrays(root, split)
        return CIFAR10_ARRAYS
    source = torchvision_cifar(name)
    folder = root / source.base_folder
    if not folder.is_dir():
        return None
    for file, md5 in [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]:
        remedy = f"delete the folder {folder} and fetch it again: mnclglf-lite fetch {name}"
        if not (folder / file).is_file():
            raise InputError(f"{folder / file} is missing, so this {name} is not whole: {remedy}")
        if (got := digest(folder / file, "md5")) != md5:
            raise InputError(
                f"{folder / file} is damaged (cut short or changed): its MD5 is {got}, expected {md5}. "
                f"It was not opened. {remedy[0].upper()}{remedy[1:]}"
            )
    return source.base_folder


def digest(path: Path, kind: str) -> str:
    """Hexadecimal "md5" or "sha256" of a file."""
    sum_ = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sum_.update(block)
    return sum_.hexdigest()


def cifar10_sha256(images: np.ndarray, labels: np.ndarray) -> str:
    """SHA-256 of pixels followed by labels, both as uint8: what `CIFAR10_SHA256` lists."""
    sum_ = hashlib.sha256(np.ascontiguousarray(images, dtype=np.uint8))
    sum_.update(np.ascontiguousarray(labels, dtype=np.uint8))
    return sum_.hexdigest()


def _arrays(root: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    folder = root / CIFAR10_ARRAYS
    remedy = f"delete {folder} and fetch it again: mnclglf-lite fetch cifar10"
    try:
        images, labels = (np.load(folder / f"{split}_{what}.npy", allow_pickle=False) for what in ("images", "labels"))
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"the {split} arrays in {folder} cannot be read ({error}): {remedy}") from None
    if cifar10_sha256(images, labels) != CIFAR10_SHA256[split]:
        raise InputError(f"the {split} arrays in {folder} are not CIFAR-10 (wrong SHA-256): {remedy}")
    return images, labels


def torchvision_cifar(name: str):
    """torchvision's CIFAR10 or CIFAR100; InputError, with the remedy, where it cannot be imported."""
    try:
        from torchvision.datasets import CIFAR10, CIFAR100
    except (ImportError, RuntimeError) as error:  # RuntimeError: "operator torchvision::nms does not exist"
        raise InputError(
            f"torchvision cannot be imported here, and {name} is read with it ({error}). It must match "
            "torch: install both again together, pip install --upgrade torch torchvision"
        ) from None
    return {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]
