"""From image files to arrays: TinyImageNet, and any folder of images.

Every reader returns a `Read`: uint8 images (N, 3, H, W) with integer labels (N,), and the class names.
Needs NumPy; Pillow is imported where it is used.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core.errors import InputError
from ..core.progress import Progress, say

TINY_FOLDER = "tiny-imagenet-200"
TINY_CLASSES, TINY_TRAIN, TINY_VAL = 200, 500, 50  # classes, and images of each (the published counts)
TINY_SIDE = 64  # pixels, as published


class Read(NamedTuple):
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray] | None
    classes: tuple[str, ...]


def read_tinyimagenet(root: Path) -> Read:
    """TinyImageNet-200 from its published layout; its val part serves as the test part.

    Labels follow the sorted WordNet ids, as torchvision's ImageFolder numbers them. Some pictures are grey:
    they become RGB with three equal channels.
    """
    wnids, train, val = find_tinyimagenet(root)
    folder = root / TINY_FOLDER
    words = dict(line.split("\t", 1) for line in (folder / "words.txt").read_text().splitlines() if "\t" in line)
    classes = tuple(words.get(wnid, wnid).split(",")[0].strip() for wnid in wnids)
    parts = []
    for what, files in (("train", train), ("val", val)):
        images, errors = _decode([path for path, _ in files], TINY_SIDE, f"tinyimagenet {what}")
        if errors:
            path, error = errors[0]
            raise InputError(
                f"{len(errors)} of the {what} pictures cannot be read, first {path} ({error}): "
                f"delete {folder} and fetch it again: mnclglf-lite fetch tinyimagenet"
            )
        parts.append((images, np.array([label for _, label in files])))
    return Read(*parts, classes)


def find_tinyimagenet(root: Path) -> tuple[list[str], list[tuple[Path, int]], list[tuple[Path, int]]]:
    """Sorted WordNet ids, and (file, label) of each train and val picture. InputError if any is missing."""
    folder = root / TINY_FOLDER
    notes = folder / "val" / "val_annotations.txt"
    for path in (folder / "wnids.txt", folder / "words.txt", notes):
        if not path.is_file():
            raise InputError(
                f"no whole tinyimagenet in {root}: expected the file {path} (and train/<id>/images, "
                "val/images, wnids.txt, words.txt, as published). To get it: mnclglf-lite fetch tinyimagenet"
            )
    wnids = sorted((folder / "wnids.txt").read_text().split())
    if len(set(wnids)) != TINY_CLASSES:
        raise InputError(f"{folder / 'wnids.txt'} lists {len(set(wnids))} classes, expected {TINY_CLASSES}")
    number = {wnid: label for label, wnid in enumerate(wnids)}
    train = [
        (path, label)
        for wnid, label in number.items()
        for path in sorted((folder / "train" / wnid / "images").glob("*.JPEG"))
    ]
    there = {path.name for path in (folder / "val" / "images").glob("*.JPEG")}
    rows = sorted(line.split("\t")[:2] for line in notes.read_text().splitlines() if "\t" in line)
    val = [(folder / "val" / "images" / file, number[wnid]) for file, wnid in rows if file in there and wnid in number]
    for what, files, expected, usual in (
        ("train", train, TINY_TRAIN, "the archive was unpacked only in part, or pictures were sorted out"),
        (
            "val",
            val,
            TINY_VAL,
            "the pictures were moved out of val/images; they belong there, all in one folder, and "
            "val/val_annotations.txt says the class of each",
        ),
    ):
        counts = Counter(label for _, label in files)
        for wnid, label in number.items():
            if counts[label] != expected:
                raise InputError(
                    f"tinyimagenet's {what} part in {folder} has {counts[label]} images of class {wnid}, "
                    f"expected {expected}. The usual reason: {usual}. Put the published layout back, or "
                    "delete the folder and run: mnclglf-lite fetch tinyimagenet"
                )
    return wnids, train, val


def read_folder(path: Path, side: int) -> Read:
    """Any folder of images, in one of torchvision's ImageFolder layouts.

    PATH/train/<class>/... with PATH/test/<class>/... (or PATH/val/...), or PATH/<class>/... alone (then
    `test` is None). Each picture's short side becomes `side` pixels (antialiased), then its centre is cut.
    A file that cannot be read is named in one line and left out.
    """
    if not path.is_dir():
        raise InputError(f"no folder of images at {path}: expected {path}/<class>/<image>, one folder a class")
    train = path / "train"
    tests = [path / name for name in ("test", "val") if (path / name).is_dir()]
    if not train.is_dir():
        if tests:
            raise InputError(f"{path} has {tests[0].name}/ but no train/: expected both, or only class folders")
        train, tests = path, []
    classes = _classes(train)
    strange = sorted(set(_classes(tests[0])) - set(classes)) if tests else []
    if strange:
        raise InputError(f"{tests[0]} has classes that {train} has not: {', '.join(strange[:5])}")
    parts = [_read_classes(part, classes, side) for part in (train, *tests[:1])]
    fewest = 2 if tests else 3  # one image each for train, hold-out and, where it is cut from train, test
    counts = np.bincount(parts[0][1], minlength=len(classes))
    if counts.min() < fewest:
        raise InputError(
            f"class {classes[counts.argmin()]!r} in {train} has {counts.min()} readable images: every class "
            f"needs at least {fewest}, so that each part gets one. Add images, or remove the folder"
        )
    return Read(parts[0], parts[1] if tests else None, tuple(classes))


def _classes(path: Path) -> list[str]:
    found = sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith("."))
    if not found:
        raise InputError(f"no class folders in {path}: expected {path}/<class>/<image>")
    return found


def _read_classes(path: Path, classes: list[str], side: int) -> tuple[np.ndarray, np.ndarray]:
    from torchvision.datasets.folder import IMG_EXTENSIONS  # the endings of ImageFolder

    files = [
        (file, label)
        for label, name in enumerate(classes)
        for file in sorted((path / name).rglob("*"))
        if file.suffix.lower() in IMG_EXTENSIONS and file.is_file()
    ]
    if not files:
        raise InputError(f"no images under {path}: expected files ending in {', '.join(sorted(IMG_EXTENSIONS))}")
    images, errors = _decode([file for file, _ in files], side, str(path))
    for file, error in errors:
        say(f"left out, cannot be read as an image: {file} ({error})")
    if not len(images):
        raise InputError(f"none of the {len(files)} image files under {path} can be read: the first is {files[0][0]}")
    bad = {file for file, _ in errors}
    return images, np.array([label for file, label in files if file not in bad])


def _decode(files: list[Path], side: int, what: str) -> tuple[np.ndarray, list[tuple[Path, str]]]:
    """Readable pictures, uint8 (N, 3, side, side) in the files' order; and (file, reason) for the others."""
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError(f"reading image files needs Pillow ({error}): pip install pillow") from None
    images = np.empty((len(files), 3, side, side), dtype=np.uint8)

    def one(at: int) -> str | None:
        try:
            with Image.open(files[at]) as picture:
                picture = picture.convert("RGB")
        except Exception as error:  # what Pillow raises differs by format: OSError, SyntaxError, ValueError ...
            return " ".join(str(error).split()) or type(error).__name__
        if picture.size != (side, side):
            short = min(picture.size)
            size = [int(side * length / short) for length in picture.size]  # torchvision's Resize rounds down too
            picture = picture.resize(size, Image.Resampling.BILINEAR)
            left, top = (round((length - side) / 2) for length in size)
            picture = picture.crop((left, top, left + side, top + side))
        images[at] = np.asarray(picture).transpose(2, 0, 1)  # (S, S, 3) -> (3, S, S)
        return None

    errors, bad, line = [], [], Progress(f"images of {what}", len(files))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside the interpreter lock
        for at, reason in enumerate(pool.map(one, range(len(files)))):
            if reason is not None:
                errors.append((files[at], reason))
                bad.append(at)
            line.show(at + 1)
    line.end()
    return (np.delete(images, bad, axis=0) if bad else images), errors
