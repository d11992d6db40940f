"""What an embedding map is made of: the bytes and words that its script reads, in a notebook as in a page.

    data       what does not change: labels, neighbours, names, pictures on one sheet
    layouts    kind -> points of each side; more may come later
    kind, pinned, selected, isolated    what the hand changes: layout, a picture, pictures, a class
    problem    why the last wish could not be, in words

A map has one side, or two: the same pictures under two encoders, each with neighbours of its own. Numbers travel as
little-endian bytes, never as text.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...core.errors import InputError, unknown
from ...drawing.canvas import array, pixels, tiled
from ...drawing.palette import CLASS_COLOURS, CLASS_COLOURS_ON_DARK
from ...evaluation.layouts import NAMES

TILE_MOST = 64  # pixels: larger pictures are shrunk to it on the sheet
SHEET_BYTES = 5_400_000  # of a sheet: a page with 10,000 pictures stays below 8 MB (base64 makes 4 of 3)
QUALITIES = (90, 85, 80, 75, 70)  # of the JPEG: the first that keeps to SHEET_BYTES, or the last


def sheet(images: object) -> tuple[bytes, int, int]:
    """All pictures (N, 3, H, W) on one JPEG: its bytes, side of a tile, tiles a row.

    A tile's side is a multiple of 8, the JPEG's block, so that no picture stains its neighbour.
    """
    from PIL import Image

    tiles = pixels(images)
    side = min(TILE_MOST, -(-max(tiles.shape[1:3]) // 8) * 8)
    columns = int(np.ceil(np.sqrt(len(tiles))))
    whole = tiled([Image.fromarray(tile).resize((side, side), Image.Resampling.LANCZOS) for tile in tiles], columns)
    for quality in QUALITIES:
        buffer = io.BytesIO()
        whole.save(buffer, "JPEG", quality=quality, subsampling=0)
        if buffer.tell() <= SHEET_BYTES:
            break
    return buffer.getvalue(), side, columns


def packed(values: object, dtype: str) -> bytes:
    """Numbers as little-endian bytes: "f4" points, "u2" labels, "i4" picture numbers."""
    return np.ascontiguousarray(array(values), dtype=f"<{dtype}").tobytes()


def packed_points(sides: Sequence[object], count: int) -> list[bytes]:
    """A layout for the script: points (N, 2) of each side as float32."""
    for points in map(array, sides):
        if points.shape != (count, 2):
            raise InputError(f"{count} pictures need points ({count}, 2); got {points.shape}")
        if not np.isfinite(points).all():
            raise InputError("the points of a map must be finite numbers")
    return [packed(points, "f4") for points in sides]


def map_state(
    layouts: Mapping[str, Sequence[object]], neighbours: Sequence[object], labels: object, classes: Sequence[str],
    dimensions: Sequence[int], images: object = None, index: object = None, names: Sequence[str] = ("",),
    kinds: Sequence[str] | None = None, about: Mapping[str, str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Everything the script needs, checked: see the head of this file.

    layouts: kind -> points (N, 2) a side, the first kind is shown; neighbours: (N, k) a side, positions among the N,
    nearest first, found in a space of `dimensions` (one number a side); labels (N,); images uint8 (N, 3, H, W), or
    None: dots without pictures; index (N,): numbers of the pictures, ascending; names: one a side; kinds: layouts that
    may be asked for (those given); about: kind -> how it was made.
    """
    labels, near = array(labels), [array(each) for each in neighbours]
    count = len(labels)
    numbers = np.arange(count) if index is None else array(index)
    if not count or labels.shape != (count,) or numbers.shape != (count,) or (np.diff(numbers) <= 0).any():
        raise InputError(
            f"a map needs labels (N,) with N >= 1 and as many ascending numbers of pictures; "
            f"got {labels.shape} and {numbers.shape}"
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= len(classes):
        raise InputError(
            f"labels are {labels.dtype} from {labels.min()} to {labels.max()}, class names {len(classes)}: "
            "one a label, from 0 (a set without labels has one class)"
        )
    for each in near:
        if each.ndim != 2 or each.shape[0] != count or not each.shape[1]:
            raise InputError(f"{count} pictures need neighbours ({count}, k); got {each.shape}")
        if each.min() < 0 or each.max() >= count or (each == np.arange(count)[:, None]).any():
            raise InputError(f"neighbours must be positions from 0 to {count - 1}, never the picture itself")
    sides = {len(near), len(dimensions), len(names), *(len(points) for points in layouts.values())}
    if not layouts or sides not in ({1}, {2}) or len({each.shape[1] for each in near}) != 1:
        raise InputError("a map has one side or two: as many layouts, neighbours (with one k), dimensions and names")
    for kind in (*layouts, *(kinds or ())):
        if kind not in NAMES:
            raise unknown("map", kind, NAMES)
    data: dict[str, Any] = {
        "labels": packed(labels, "u2"),
        "index": packed(numbers, "i4"),
        "neighbours": [packed(each, "u2" if count <= 65_536 else "u4") for each in near],
        "k": near[0].shape[1],
        "shares": [agreement(labels, each) for each in near],
        "dimensions": [int(each) for each in dimensions],
        "classes": [str(name) for name in classes],
        "names": [str(name) for name in names],
        "kinds": [[kind, NAMES[kind]] for kind in NAMES if kind in (kinds or layouts)],
        "about": dict(about or {}),
        "colours": list(CLASS_COLOURS),
        "darkColours": list(CLASS_COLOURS_ON_DARK),
        "sheet": b"", "tile": 0, "columns": 0,
    }  # fmt: skip
    if images is not None:
        if len(images) != count:
            raise InputError(f"{count} labels but {len(images)} pictures: one each")
        data["sheet"], data["tile"], data["columns"] = sheet(images)
    return {
        "data": data,
        "layouts": {kind: packed_points(points, count) for kind, points in layouts.items()},
        "kind": next(iter(layouts)),
        "pinned": None,
        "selected": b"",
        "isolated": None,
        "problem": "",
    }


def agreement(labels: object, neighbours: object) -> float:
    """Share of all neighbours (N, k) that have their picture's label."""
    labels, near = array(labels), array(neighbours)
    return float((labels[near] == labels[:, None]).mean())


def tally(labels: object, classes: Sequence[str], most: int = 5) -> str:
    """How many of each class, the largest first: "30 cat, 8 dog and 2 of 1 more class"."""
    counts = np.bincount(array(labels), minlength=len(classes))
    order = [c for c in np.argsort(-counts, kind="stable") if counts[c]]
    text = ", ".join(f"{counts[c]:,} {classes[c]}" for c in order[:most])
    rest = order[most:]
    if rest:
        text += f" and {counts[rest].sum():,} of {len(rest)} more class{'es' if len(rest) > 1 else ''}"
    return text
