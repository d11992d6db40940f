"""The figure of the crop explorer: an image with the boxes of its views, and the views as the network gets them.

cuts = sample.cut(picture, recipe, seed)
drawing = figure.crop_figure(picture, cuts, mask=mask, maps=True)
drawing.picture, drawing.places
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

import numpy as np

from ...drawing import canvas, heatmap
from ...drawing.canvas import MARGIN, SMALL, TEXT, Drawing, Place, new_canvas
from ...drawing.palette import AGREE, BOX_COLOURS, DISAGREE, GREY, INK
from .coverage import Count, Target, density, percent
from .sample import WHOLE, Cuts

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from torch import Tensor

# pixels: the picture, the strip beside it, a global view in it, a map, space between things, a line of text
SIDE, STRIP, VIEW, MAP, GAP, LINE = 320, 500, 100, 160, 8, 18


def crop_figure(
    picture: Tensor, cuts: Cuts, *, mask: Tensor | None = None, maps: bool = False, chosen: str = "",
    target: Target | None = None, counted: Count | None = None,
) -> Drawing:  # fmt: skip
    """Draw the first of the draws of an image (3, H, W); a place for each view.

    mask: bool (H, W), true on the object, which the maps outline. maps: heat maps of all draws, below the views.
    chosen: name of a view; its box is then shown alone. target, counted: a tick or a cross below for each aim.
    """
    source = canvas.pixels(picture[None])[0]
    scale = max(1, SIDE // max(source.shape[:2]))
    height, width = (side * scale for side in source.shape[:2])
    column = max(width, SIDE)
    cells, strip = _strip(cuts)
    tall = max(height, strip + (LINE + MAP * height // width + 36 if maps else 0))
    sheet, draw, top = new_canvas(column + 24 + STRIP, tall + (28 if target and counted else 0), "", "")
    sheet.paste(canvas.enlarged(source, scale), (MARGIN, top))
    _boxes(sheet, draw, cuts, chosen, (MARGIN, top), scale, (width, height))
    if maps:
        for i, (boxes, kind) in enumerate(((cuts.local, "local"), (cuts.whole, "global"))):
            corner = (MARGIN + column + 24 + i * (MAP + 40), top + strip)
            _map(sheet, draw, density(boxes, source.shape[:2]).numpy(), mask, corner, MAP, kind)
    places = _views(sheet, draw, cuts, cells, (MARGIN + column + 24, top))
    if target and counted:
        _target(draw, target, counted, (MARGIN, top + tall + 10))
    return Drawing(sheet, places=places)


def look(cuts: Cuts, i: int) -> tuple[str, bool]:
    """Colour of view i, and whether its lines are dashed: patches and crops have the colour of the view they stand for."""
    return BOX_COLOURS[(ord(cuts.names[i][0]) - ord("A")) % len(BOX_COLOURS)], i >= WHOLE


def _boxes(
    sheet: Image, draw: ImageDraw, cuts: Cuts, chosen: str, corner: tuple[int, int], scale: int, room: tuple[int, int]
) -> None:
    """Frames, local ones first, so that solid lines lie on dashed ones; then letters, each where there is room for it."""
    order = [*range(WHOLE, len(cuts.names)), *range(WHOLE)]
    order = [cuts.names.index(chosen)] if chosen in cuts.names else order
    frames = []
    for i in order:
        y, x, h, w = (scale * v for v in cuts.boxes[i, 0].tolist())
        frames.append((corner[0] + x, corner[1] + y, corner[0] + x + w - 1, corner[1] + y + h - 1))
        colour, broken = look(cuts, i)
        canvas.frame(draw, frames[-1], colour, broken, "" if broken else INK)
    taken: list[tuple[int, int, int]] = []
    for i, (x0, y0, x1, y1) in reversed(list(zip(order, frames, strict=True))):
        wide = canvas.tag_width(cuts.names[i])
        last_x, last_y = (round(max(low + 3, high)) for low, high in ((x0, x1 - 2 - wide), (y0, y1 - 18)))
        most_x, most_y = corner[0] + room[0] - wide, corner[1] + room[1] - 16  # a box may be smaller than its letters
        xs, ys = (range(round(low) + 3, high + 1, step) for low, high, step in ((x0, last_x, wide + 1), (y0, last_y, 17)))
        spots = itertools.chain(itertools.product((xs[0], last_x), (ys[0], last_y)), itertools.product(xs, ys))
        spots = ((min(x, most_x), min(y, most_y)) for x, y in spots)
        free = (s for s in spots if not any(abs(s[1] - b) < 17 and a - wide - 1 < s[0] <= a + w for a, b, w in taken))
        spot = next(free, (min(xs[0], most_x), min(ys[0], most_y)))
        taken.append((*spot, wide))
        sheet.paste(_text(cuts.names[i], look(cuts, i)[0]), spot)


@functools.lru_cache(maxsize=256)
def _text(text: str, colour: str, tag: bool = True) -> Image:
    """A tag, or a line of small print, by itself: the same few come again whenever a slider moves, and letters are slow."""
    from PIL import Image as pillow
    from PIL import ImageDraw as pen

    wide = canvas.tag_width(text) if tag else round(canvas.font(SMALL).getlength(text)) + 2
    block = pillow.new("RGB", (wide, 16 if tag else LINE - 1), "white")
    if tag:
        canvas.tag(pen.Draw(block), (0, 0), text, colour)
    else:
        pen.Draw(block).text((0, 0), text, colour, canvas.font(SMALL))
    return block


def _strip(cuts: Cuts) -> tuple[list[tuple[str, int, list[tuple[int, int, int]]]], int]:
    """Where the views go: heading, its y and (view, x, y) of the cells, for each group; and how high all of it is."""
    zoom = _zoom(cuts)
    numbered = sum(len(name) > 1 for name in cuts.names)
    small = WHOLE + numbered
    headings = ("global views", "what the local targets of A and B see", "small local views")
    groups, y = [], 0
    for heading, members in zip(headings, (range(WHOLE), range(WHOLE, small), range(small, len(cuts.names))), strict=True):
        if not members:
            continue
        size = cuts.shown[members[0]].shape[-1]
        across, down = max(zoom * size, _foot(cuts, members[-1])), zoom * size + max(18, size if zoom > 1 else 0) + 6
        columns = max(1, (STRIP + GAP) // (across + GAP))
        if members[0] == WHOLE and columns < numbered <= 2 * columns:
            columns = numbered // 2  # those of A in a line, those of B below
        places = [(i, k % columns * (across + GAP), y + LINE + k // columns * (down + GAP)) for k, i in enumerate(members)]
        how = f"{zoom} times enlarged and in true size" if zoom > 1 else "in true size"
        groups.append((f"{heading}: {size} pixels, {how}", y, places))
        y = places[-1][2] + down + GAP
    return groups, y


def _zoom(cuts: Cuts) -> int:
    """One for all views, so that smaller ones look smaller."""
    return max(1, round(VIEW / cuts.shown[0].shape[-1]))


def _foot(cuts: Cuts, i: int) -> int:
    """Width of what stands below a view: its tag, and the view in its true size."""
    return canvas.tag_width(cuts.names[i]) + (4 + cuts.shown[i].shape[-1] if _zoom(cuts) > 1 else 0)


def _views(sheet: Image, draw: ImageDraw, cuts: Cuts, groups: list, corner: tuple[int, int]) -> list[Place]:
    """The views, enlarged and in true size, each with its tag; returns where they stand."""
    zoom, places = _zoom(cuts), []
    for heading, line, cells in groups:
        sheet.paste(_text(heading, GREY, tag=False), (corner[0], corner[1] + line))
        for i, x, y in cells:
            x, y, (colour, broken) = corner[0] + x, corner[1] + y, look(cuts, i)
            tile = canvas.pixels(cuts.shown[i][None])[0]
            large = canvas.enlarged(tile, zoom)
            canvas.frame(draw, (x - 2, y - 2, x + large.width + 1, y + large.height + 1), colour, broken, INK)
            sheet.paste(large, (x, y))
            sheet.paste(_text(cuts.names[i], colour), (x, y + large.height + 4))
            if zoom > 1:
                sheet.paste(canvas.enlarged(tile, 1), (x + canvas.tag_width(cuts.names[i]) + 4, y + large.height + 4))
            down = large.height + max(20, tile.shape[0] + 4 if zoom > 1 else 0)
            box = (x - 3, y - 3, max(large.width, _foot(cuts, i)) + 6, down + 6)
            places.append(Place.on(sheet, cuts.names[i], box, f"view {cuts.names[i]}: its box alone"))
    return places


def _map(
    sheet: Image, draw: ImageDraw, share: np.ndarray, mask: Tensor | None, corner: tuple[int, int], width: int, kind: str
) -> None:
    """How often each pixel falls into a box, (H, W), with the object's outline and a scale."""
    from PIL import Image as pillow

    (x, y), most = corner, max(float(share.max()), 1e-9)
    height = width * share.shape[0] // share.shape[1]
    sheet.paste(_text(f"how often in a {kind} box", INK, tag=False), (x, y))
    shown = pillow.fromarray(heatmap.shade(share / most, heatmap.MORE)).resize((width, height), pillow.Resampling.NEAREST)
    sheet.paste(shown, (x, y + LINE))
    if mask is not None:
        big = np.asarray(pillow.fromarray(mask.numpy()).resize((width, height), pillow.Resampling.NEAREST))
        edge = np.zeros_like(big)
        edge[:-1] |= big[:-1] != big[1:]
        edge[:, :-1] |= big[:, :-1] != big[:, 1:]
        sheet.paste(AGREE, (x, y + LINE), pillow.fromarray((255 * edge).astype(np.uint8)))
    heatmap.bar(
        sheet, draw, (x, y + LINE + height + 4), width, heatmap.MORE, ["0 %", f"{50 * most:.0f} %", f"{100 * most:.0f} %"]
    )


def _target(draw: ImageDraw, target: Target, counted: Count, corner: tuple[int, int]) -> None:
    """The aims, each with a tick where it is reached and a cross where it is not."""
    (x, y), (apart, near) = corner, target.checks(counted)
    aims = [
        (apart and near, "Target reached" if apart and near else "Target not reached yet"),
        (apart, f"overlap {percent(counted.overlap)}, aim: less than {percent(target.overlap)}"),
        (near, f"touch the object: {percent(counted.touch)}, aim: at least {percent(target.touch)}"),
    ]
    for good, text in aims:
        canvas.badge(draw, (x, y), AGREE if good else DISAGREE, good)
        draw.text((x + 20, y + 7), text, INK, canvas.font(TEXT), anchor="lm")
        x += 48 + int(draw.textlength(text, canvas.font(TEXT)))
