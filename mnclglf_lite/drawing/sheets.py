"""Sheets of images: arrays in, figure out. Nothing here computes a result, and nothing opens a window.

Grids of images are Pillow images (milliseconds: fit for a slider), plots are matplotlib figures (`plots`).
Each can carry a title that says the message, and a note in small grey print that says how it was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import InputError
from ..core.files import write_atomically
from . import canvas
from .canvas import MARGIN, SMALL, TEXT, array, new_canvas, pixels, png
from .palette import BOX_COLOURS, GREY, INK
from .plots import bars_with_dots, curves, label_curves, scatter_map, two_maps

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

__all__ = [
    "Shown", "bars_with_dots", "contact_sheet", "curves", "label_curves", "neighbour_strips", "pixels", "png", "save",
    "scatter_map", "two_maps", "views_figure",
]  # fmt: skip


def contact_sheet(
    images: object, columns: int = 10, scale: int = 3, labels: Sequence[str] | None = None, gap: int = 4,
    title: str = "", note: str = "",
) -> Image:  # fmt: skip
    """Pictures (N, 3, H, W) in rows of `columns`, a pixel `scale` pixels wide, a name under each if given."""
    tiles = pixels(images)
    if labels is not None and len(labels) != len(tiles):
        raise InputError(f"{len(tiles)} pictures but {len(labels)} labels: give one a picture, or none")
    if columns < 1 or scale < 1 or gap < 0:
        raise InputError(f"a sheet needs columns >= 1, scale >= 1, gap >= 0; got {columns}, {scale}, {gap}")
    (height, width), columns = (side * scale for side in tiles.shape[1:3]), min(columns, len(tiles))
    line = SMALL + 5 if labels is not None else 0
    rows = -(-len(tiles) // columns)
    sheet, draw, top = new_canvas(columns * (width + gap) - gap, rows * (height + gap + line) - gap, title, note)
    for i, tile in enumerate(tiles):
        x, y = MARGIN + i % columns * (width + gap), top + i // columns * (height + gap + line)
        sheet.paste(canvas.enlarged(tile, scale), (x, y))
        if labels is not None:
            canvas.centred(draw, (x + width / 2, y + height + 2), labels[i], SMALL, INK, width + gap)
    return sheet


def views_figure(
    image: object, boxes: object, views: Sequence[object], names: Sequence[str] | None = None,
    side: int = 256, columns: int = 4, title: str = "", note: str = "",
) -> Image:  # fmt: skip
    """One picture (3, H, W) with the boxes of its views, beside the views themselves.

    boxes: (V, 4) top, left, height, width in the picture's pixels, as `ViewParams.boxes`. views: V pictures
    (3, s, s), not normalised; where sizes differ, it shows. Each view has a colour and a letter, in its box
    and under its frame. The picture is shown about `side` pixels high.
    """
    picture = pixels(image[None])[0]
    boxes = array(boxes).astype(float)
    tiles = [pixels(view[None])[0] for view in views]
    if not tiles or boxes.shape != (len(tiles), 4):
        raise InputError(f"views ({len(tiles)}) and boxes {boxes.shape} don't match: one box (4 numbers) a view")
    if names is not None and len(names) != len(tiles):
        raise InputError(f"{len(tiles)} views but {len(names)} names: give one a view, or none")
    scale = max(1, side // max(picture.shape[:2]))
    height, width = (side * scale for side in picture.shape[:2])
    columns, largest = min(columns, len(tiles)), max(max(tile.shape[:2]) for tile in tiles)
    rows = -(-len(tiles) // columns)
    cell = max(48, (height + 10) // rows - 10 - TEXT - 8)  # rows together as tall as the picture
    zoom = max(1, min(cell // largest, scale))  # one zoom for all views, so that smaller ones look smaller
    cell, step = max(cell, zoom * largest), max(cell, zoom * largest) + 10
    sheet, draw, top = new_canvas(width + 24 + columns * step - 10, max(height, rows * (step + TEXT + 8) - 10), title, note)
    sheet.paste(canvas.enlarged(picture, scale), (MARGIN, top))
    tags = []
    for i, (tile, (box_top, left, box_height, box_width)) in enumerate(zip(tiles, boxes, strict=True)):
        colour, letter = BOX_COLOURS[i % len(BOX_COLOURS)], chr(ord("A") + i % 26)
        dash = i % (2 * len(BOX_COLOURS)) >= len(BOX_COLOURS)  # when colours come again, dashed lines
        x0, y0 = MARGIN + left * scale, top + box_top * scale
        canvas.frame(draw, (x0, y0, x0 + box_width * scale - 1, y0 + box_height * scale - 1), colour, dash, INK)
        spot = x0 + 3
        while any(abs(spot - x) < 17 and abs(y0 + 3 - y) < 17 for (x, y), *_ in tags):
            spot += 1  # corners may lie close together: step aside
        tags.append(((spot, y0 + 3), letter, colour))
        x = MARGIN + width + 24 + i % columns * step
        y = top + i // columns * (step + TEXT + 8)
        shown = canvas.enlarged(tile, zoom)
        canvas.frame(draw, (x - 3, y - 3, x + shown.width + 2, y + shown.height + 2), colour, dash)
        sheet.paste(shown, (x, y))
        canvas.tag(draw, (x, y + shown.height + 5), letter, colour)
        if names is not None:
            name = canvas.fitting(draw, names[i], TEXT, cell - 21)
            draw.text((x + 21, y + shown.height + 5), name, INK, canvas.font(TEXT))
    for tag in tags:  # over all frames
        canvas.tag(draw, *tag)
    return sheet


def neighbour_strips(
    images: object, query_index: object, neighbour_index: object, labels: object, classes: Sequence[str],
    row_names: Sequence[str] | None = None, scale: int = 2, title: str = "", note: str = "",
) -> Image:  # fmt: skip
    """Rows of a query and its neighbours. The query's class: blue frame, tick. Another: dashed orange frame, cross.

    images (N, 3, H, W); query_index (Q,) and neighbour_index (Q, k) are positions in them; labels (N,).
    `row_names` stand at the left in place of the query's class: one query can be shown under several methods.
    """
    tiles = pixels(images)
    query, near, label = (array(x).astype(int) for x in (query_index, neighbour_index, labels))
    if near.ndim != 2 or query.shape != near.shape[:1] or not near.size:
        raise InputError(f"strips take queries (Q,) and neighbours (Q, k); got {query.shape} and {near.shape}")
    low, high = min(query.min(), near.min()), max(query.max(), near.max())
    if label.shape != tiles.shape[:1] or low < 0 or high >= len(tiles):
        raise InputError(
            f"{len(tiles)} pictures need as many labels, and positions from 0 to {len(tiles) - 1}; "
            f"got {len(label)} labels, positions from {low} to {high}"
        )
    heads = [str(classes[label[q]]) for q in query] if row_names is None else list(row_names)
    if len(heads) != len(query):
        raise InputError(f"{len(query)} rows but {len(heads)} row names: give one a row, or none")
    height, width = (side * scale for side in tiles.shape[1:3])
    name = 12 + max(int(canvas.font(TEXT).getlength(head)) for head in heads)
    step, line = width + 10, height + SMALL + 16
    first = name + width + 24  # where the neighbours begin
    sheet, draw, top = new_canvas(first + near.shape[1] * step - 10, len(query) * line, title, note)
    for row, (q, others) in enumerate(zip(query, near, strict=True)):
        y = top + row * line
        draw.text((MARGIN, y + height // 2), heads[row], INK, canvas.font(TEXT), anchor="lm")
        sheet.paste(canvas.enlarged(tiles[q], scale), (MARGIN + name, y))
        canvas.centred(draw, (MARGIN + name + width / 2, y + height + 3), "query", SMALL, GREY, step)
        for i, j in enumerate(others):
            corner, tile = (MARGIN + first + i * step, y), canvas.enlarged(tiles[j], scale)
            canvas.neighbour(sheet, draw, corner, tile, label[j] == label[q], str(classes[label[j]]), step)
    return sheet


class Shown:
    """A picture with a sentence for those who cannot see it: what a notebook's cell ends with."""

    def __init__(self, picture: Figure | Image, alt: str):
        self.picture, self.alt = picture, alt

    def _repr_mimebundle_(self, **kwargs: object) -> tuple[dict[str, str], dict[str, dict[str, object]]]:
        return canvas.mimebundle(png(self.picture), canvas.css_width(self.picture), self.alt)


def save(picture: Figure | Image, path: str | Path) -> Path:
    """Write a picture as PNG, whole or not at all."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"pictures are saved as .png; got {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, png(picture))
    return path
