"""Looking at features: one page that opens from disk and answers to the hand, and two pictures for a report.

The page is a single file: data, pictures, style and script are inside it. It asks nobody for anything, and
its security policy has the browser see to that. Neighbours are those of the embedding space, not of the flat
map: where the map puts apart what belongs together, the lines on it show it.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import checkpoint, figures, maps
from .data import ImageSet
from .errors import InputError, unknown
from .palette import CLASS_COLOURS, CLASS_COLOURS_ON_DARK
from .pencil import array, pixels

NEIGHBOURS = 8  # lines from a point, pictures in a strip (ours)
TILE_MOST = 64  # pixels: larger pictures are shrunk to it on the page
QUALITY = 90  # of the JPEG: 2,000 pictures of 32 pixels make about 2 MB


def _text(values: np.ndarray, dtype: str) -> str:
    """An array as little-endian base64, for the script to read."""
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode()


def _sprite(tiles: np.ndarray) -> tuple[str, int, int]:
    """All pictures (N, H, W, 3) on one sheet: a data address, side of a tile, tiles a row.

    A tile's side is a multiple of 8, the JPEG's block, so that no picture stains its neighbour.
    """
    from PIL import Image

    side = min(TILE_MOST, -(-tiles.shape[1] // 8) * 8)
    columns = int(np.ceil(np.sqrt(len(tiles))))
    sheet = Image.new("RGB", (columns * side, -(-len(tiles) // columns) * side))
    for i, tile in enumerate(tiles):
        picture = Image.fromarray(tile)
        if picture.size != (side, side):
            picture = picture.resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(picture, (i % columns * side, i // columns * side))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode(), side, columns


def page(
    points: Tensor, images: Tensor, labels: Tensor, classes: Sequence[str], neighbours: Tensor,
    dimensions: int, title: str = "", caption: str = "", index: Tensor | None = None,
) -> str:  # fmt: skip
    """The page as text.

    points (N, 2), images uint8 (N, 3, H, W), labels (N,); neighbours (N, k) are positions among the N,
    nearest first, found in the space of `dimensions` dimensions; index (N,): numbers of the pictures.
    """
    points, labels, near = array(points), array(labels), array(neighbours)
    tiles = pixels(images)
    count = len(tiles)
    numbers = np.arange(count) if index is None else array(index)
    if points.shape != (count, 2) or labels.shape != (count,) or numbers.shape != (count,):
        raise InputError(
            f"{count} pictures need points ({count}, 2) and as many labels and numbers; "
            f"got {points.shape}, {labels.shape}, {numbers.shape}"
        )
    if near.ndim != 2 or near.shape[0] != count or not near.shape[1]:
        raise InputError(f"{count} pictures need neighbours ({count}, k); got {near.shape}")
    if near.min() < 0 or near.max() >= count or (near == np.arange(count)[:, None]).any():
        raise InputError(f"neighbours must be positions from 0 to {count - 1}, never the picture itself")
    if not np.isfinite(points).all():
        raise InputError("the points of a map must be finite numbers")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise InputError(f"labels are {labels.min()} to {labels.max()}, class names {len(classes)}: one a label")
    sprite, side, columns = _sprite(tiles)
    data = {
        "points": _text(points, "<f4"),
        "labels": _text(labels, "<i4"),
        "neighbours": _text(near, "<i4"),
        "index": _text(numbers, "<i4"),
        "k": near.shape[1],
        "classes": [str(name) for name in classes],
        "colours": CLASS_COLOURS,
        "darkColours": CLASS_COLOURS_ON_DARK,
        "sprite": sprite,
        "tile": side,
        "columns": columns,
    }
    assets = resources.files(__package__) / "assets"
    filled = {
        "title": html.escape(title),
        "caption": html.escape(caption),
        "dimensions": f"{dimensions:,}",
        "data": json.dumps(data).replace("<", "\\u003c"),  # no class name can end the script element
        "script": (assets / "map.js").read_text(encoding="utf-8"),
    }
    parts = (assets / "page.html").read_text(encoding="utf-8").split("{{")
    text = parts[0]
    for part in parts[1:]:  # one pass: what is filled in is never searched for names again
        name, rest = part.split("}}", 1)
        text += filled[name] + rest
    return text


def write_page(path: str | Path, *args, **kwargs) -> Path:
    """`page` into a file, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_atomically(path, page(*args, **kwargs).encode("utf-8"))
    return path


def explore(
    features: Tensor, pictures: ImageSet, out_dir: str | Path, kind: str = "umap", seed: int | None = None,
    points: int = maps.POINTS, k: int = NEIGHBOURS, title: str = "", caption: str = "",
) -> list[Path]:  # fmt: skip
    """Features (N, D) of an image set as map.html, map.png and neighbours.png in `out_dir`; their paths.

    At most `points` pictures, always the same draw, are on the map, and neighbours are among them. kind:
    "umap", "tsne" or "pca"; seed: makes UMAP repeatable (t-SNE takes 0 if none is given). Layouts are kept in
    `out_dir`.
    """
    if features.ndim != 2 or len(features) != len(pictures):
        raise InputError(f"{len(pictures)} pictures need features (N, D), one row each; got {features.shape}")
    if kind not in maps.KINDS:
        raise unknown("map", kind, maps.KINDS)
    chosen = maps.cap(len(pictures), points)
    shown = pictures.subset(chosen.to(pictures.device)).to("cpu")
    features = features.detach().cpu()[chosen]
    near, _ = maps.neighbours(features, min(k, len(shown) - 1))
    params = {} if seed is None or kind == "pca" else {"seed": seed}
    out_dir = Path(out_dir)
    place = maps.layout(features, kind, out_dir / "layouts", **params)
    agree = float((shown.labels[near] == shown.labels[:, None]).float().mean())
    title = title or pictures.name
    count = f"{len(shown):,}" if len(shown) == len(pictures) else f"{len(shown):,} of {len(pictures):,}"
    note = f"{count} pictures of {pictures.name} ({pictures.split}); {maps.describe(kind, **params)}. "
    note += f"{100 * agree:.0f} % of the {near.shape[1]} nearest neighbours (cosine, "
    note += f"{features.shape[1]} dimensions) share the picture's label."
    note = f"{caption}. {note}" if caption else note
    paths = [out_dir / "map.html", out_dir / "map.png", out_dir / "neighbours.png"]
    dimensions = features.shape[1]
    write_page(paths[0], place, shown.images, shown.labels, shown.classes, near, dimensions, title, note, chosen)
    figures.save(figures.scatter_map(place, shown.labels, shown.classes, title, note), paths[1])
    first = torch.stack([(shown.labels == c).nonzero()[0, 0] for c in shown.labels.unique()[:10]])
    scale = max(1, 64 // shown.side)
    strips = figures.neighbour_strips(
        shown.images, first, near[first], shown.labels, shown.classes, scale=scale, title=title, note=note
    )
    figures.save(strips, paths[2])
    return paths
