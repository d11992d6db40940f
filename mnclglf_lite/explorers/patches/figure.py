"""The figure of the combine explorer: a view and its patches, and what every combination of them becomes.

found = compute.combined(pictures, method, index, seed, grid=2, combine=2)
drawing = figure.combine_figure(found)         # drawing.picture, drawing.places
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ...drawing import canvas, heatmap
from ...drawing.canvas import MARGIN, SMALL, TEXT, Drawing, Place, new_canvas
from ...drawing.palette import AGREE, BOX_COLOURS, GREY, INK
from .compute import Combined

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from torch import Tensor

ROWS = 18  # combinations that are drawn (ours): a 3x3 grid has 36 pairs
# pixels: a whole view, a row, what the tiles of a row share, an embedding's numbers, the axis of cosines
VIEW, ROW, TILES, STRIP, AXIS = 128, 40, 112, 256, 190
NAME, NUMBERS, COSINE, RANK, WIDTH = 26 + TILES + 8, 226, 508, 722, 850  # where columns begin, and where the last ends
MARKED = "#EAF2F8"  # behind the row that was clicked: pale blue, with a frame


def noun(found: Combined) -> str:
    """What a combination is called."""
    return "pair" if len(found.members[0]) == 2 else "combination"


def combine_figure(found: Combined, chosen: str = "") -> Drawing:
    """Draw the first `ROWS` combinations, or all; a place for each. chosen: such as 'pair 2', whose patches are outlined."""
    names = [f"{noun(found)} {j + 1}" for j in range(min(len(found.members), ROWS))]
    marked = found.members[names.index(chosen)] if chosen in names else None
    view = _tile(found.second, VIEW)
    table = 18 + view.height + 26  # y of the table in the sheet, and then of its last line
    last = table + 20 + (len(names) + 1) * ROW
    sheet, draw, top = new_canvas(WIDTH, last + 56, "", "")
    _patches(sheet, draw, found, marked, view, top)
    most = _above(max(float(found.embeddings.abs().max()), float(found.prediction.abs().max())))
    heads = [(0, noun(found)), (NUMBERS, f"embedding: {found.prediction.numel()} numbers"), (COSINE, "cosine with p(x1)")]
    for x, text in [*heads, (RANK, "more like p(x1) than")]:
        draw.text((MARGIN + x, top + table), text, GREY, canvas.font(SMALL))
    y = top + table + 20
    sheet.paste(_tile(found.first, ROW - 8), (MARGIN + 26, y))
    draw.text((MARGIN + NAME, y + 16), "p(x1)", INK, canvas.font(TEXT), anchor="lm")
    _numbers(sheet, draw, found.prediction, most, (MARGIN + NUMBERS, y + 6))
    places = []
    for j, name in enumerate(names):
        y += ROW
        if name == chosen:
            draw.rectangle((MARGIN - 6, y - 4, MARGIN + WIDTH + 5, y + ROW - 6), MARKED, INK)
        _row(sheet, draw, found, j, most, y)
        places.append(Place.on(sheet, name, (MARGIN - 6, y - 4, WIDTH + 12, ROW - 2), f"{name}: {found.names[j]}"))
    y = top + last
    heatmap.bar(sheet, draw, (MARGIN + NUMBERS, y), STRIP, heatmap.SIGNED, [f"-{most:g}", "0", f"{most:g}"])
    for value in (-1, 0, 1):
        x = MARGIN + COSINE + (value + 1) / 2 * AXIS
        draw.line((x, y + 4, x, y + 9), INK)
        draw.text((x, y + 13), str(value), INK, canvas.font(SMALL), anchor="ma")
    note = "Cosines: the diamond is this picture's own embedding, grey lines are those of the other pictures of the batch."
    rest = f" {len(names)} of {len(found.members)} combinations are drawn." if len(names) < len(found.members) else ""
    draw.text((MARGIN, y + 38), note + rest, GREY, canvas.font(SMALL))
    return Drawing(sheet, places=places)


def _patches(sheet: Image, draw: ImageDraw, found: Combined, marked: tuple[int, ...] | None, view: Image, top: int) -> None:
    """x2 with its patches outlined in it, the patches by themselves, and x1."""
    side = math.isqrt(len(found.patches))
    cell = view.width // side
    apart, first = MARGIN + view.width + 40, MARGIN + 2 * view.width + 40 + 6 * side + 40
    what = "its patches" if found.grid else "random crops for it"
    for x, text in ((MARGIN, "the view x2"), (apart, what), (first, "x1, another view of the picture")):
        draw.text((x, top), text, GREY, canvas.font(SMALL))
    sheet.paste(view, (MARGIN, top + 18))
    sheet.paste(_tile(found.first, VIEW), (first, top + 18))
    for i, patch in enumerate(found.patches):
        across, down = divmod(i, side)  # column by column, as `patches.grid_patches`
        x, y = apart + across * (cell + 6), top + 18 + down * (cell + 6)
        sheet.paste(_tile(patch, cell), (x, y))
        corners = [(x, y)] + ([(MARGIN + across * cell, top + 18 + down * cell)] if found.grid else [])
        for a, b in corners:
            if marked is None or i in marked:
                edge = INK if marked else ""
                canvas.frame(draw, (a, b, a + cell - 1, b + cell - 1), _colour(i), not marked, edge)
            canvas.tag(draw, (a + 3, b + 3), _letter(i), _colour(i))


def _row(sheet: Image, draw: ImageDraw, found: Combined, j: int, most: float, y: int) -> None:
    """One combination: its patches, its name, its embedding, its cosine among those of other pictures."""
    members = found.members[j]
    draw.text((MARGIN, y + 16), str(j + 1), INK, canvas.font(TEXT), anchor="lm")
    step = min(ROW - 4, TILES // len(members))
    for place, i in enumerate(members):
        tile = _tile(found.patches[i], max(step - 4, 1))
        sheet.paste(tile, (MARGIN + 26 + place * step, y + (32 - tile.height) // 2))
    name = found.names[j] if len(members) < 4 else "".join(map(_letter, members))
    draw.text((MARGIN + NAME, y + 16), name, INK, canvas.font(TEXT), anchor="lm")
    _numbers(sheet, draw, found.embeddings[j], most, (MARGIN + NUMBERS, y + 6))
    left = MARGIN + COSINE
    draw.line((left, y + 16, left + AXIS, y + 16), GREY)
    own, *others = [left + (float(c) + 1) / 2 * AXIS for c in found.cosines[j]]
    for x in others:
        draw.line((x, y + 8, x, y + 24), GREY)
    draw.polygon([(own - 6, y + 16), (own, y + 7), (own + 6, y + 16), (own, y + 25)], AGREE, outline="white")
    text = f"{int(found.beaten[j])} of {found.others} others"
    draw.text((MARGIN + RANK, y + 16), text, INK, canvas.font(TEXT), anchor="lm")


def _numbers(sheet: Image, draw: ImageDraw, values: Tensor, most: float, corner: tuple[int, int]) -> None:
    """Numbers (D,) as a strip of colours, in lines of at most `STRIP` of them."""
    from PIL import Image as pillow

    lines = -(-len(values) // STRIP)
    filled = np.zeros(lines * -(-len(values) // lines))
    filled[: len(values)] = values.numpy()
    colours = heatmap.signed(filled, most).reshape(lines, -1, 3)
    sheet.paste(pillow.fromarray(colours).resize((STRIP, 20), pillow.Resampling.NEAREST), corner)
    x, y = corner
    draw.rectangle((x - 1, y - 1, x + STRIP, y + 20), outline=INK)


def _tile(view: Tensor, side: int) -> Image:
    """A view (3, s, s) as a square of `side` pixels."""
    return canvas.resized(canvas.pixels(view[None])[0], side)


def _above(value: float) -> float:
    """The number next above with one digit, so that a scale has a plain end."""
    unit = 10.0 ** math.floor(math.log10(max(value, 1e-12)))
    return math.ceil(value / unit - 1e-9) * unit


def _letter(i: int) -> str:
    return chr(ord("A") + i)


def _colour(i: int) -> str:
    return BOX_COLOURS[i % len(BOX_COLOURS)]
