"""Numbers as colours, always with a scale: one for numbers with a sign, and ramps from pale to deep for amounts.

The signed scale is the same in all figures: orange-red below zero, white at zero, blue above. Blue means
positive, alike, together.
`side_by_side` draws two tables of numbers on one scale, with the number in each cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InputError
from . import canvas
from .canvas import SMALL, new_canvas
from .palette import AGREE, DISAGREE, GREY, INK, ink_on, rgb

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

# Lightness falls from end to end, so that order shows without colour; after Tol's "YlOrBr" (see `palette`), ends as there
MORE = ("#FFFFE5", "#FEE391", "#FB9A29", "#CC4C02", "#662506")
SIGNED = (DISAGREE, "#FFFFFF", AGREE)
CELL = (52, 26)  # pixels, width and height of a table's cell: room for "-12.34"
NUMBERS_MOST = 16  # columns; beyond that cells are small and without numbers


def shade(values: np.ndarray, stops: Sequence[str]) -> np.ndarray:
    """Numbers (...) from 0 to 1 as colours (..., 3), uint8, between evenly spaced stops."""
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError("numbers to be shown as colours must be finite; got some that are not (NaN or infinite)")
    marks, at = np.array([rgb(stop) for stop in stops]), np.linspace(0, 1, len(stops))
    channels = [np.interp(values, at, marks[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)


def signed(values: np.ndarray, largest: float) -> np.ndarray:
    """Numbers (...) as colours (..., 3) of the signed scale, full at `largest` in size and beyond; NaN is white."""
    share = np.nan_to_num(np.asarray(values, dtype=np.float64) / max(largest, 1e-300))
    return shade((share.clip(-1, 1) + 1) / 2, SIGNED)


def cells(colours: np.ndarray, width: int, height: int) -> Image:
    """Colours (R, C, 3) as cells of so many pixels, with thin white lines between them where there is room."""
    from PIL import Image

    grid = colours.repeat(height, 0).repeat(width, 1)  # (R height, C width, 3)
    if min(width, height) >= 6:
        grid[::height], grid[:, ::width] = 255, 255
    return Image.fromarray(grid)


def bar(sheet: Image, draw: ImageDraw, corner: tuple[int, int], width: int, stops: Sequence[str], ends: list[str]) -> None:
    """A scale of `width` pixels, 10 high, with its numbers below, evenly spaced: the first at its left end."""
    x, y = corner
    sheet.paste(cells(shade(np.linspace(0, 1, width), stops)[None], 1, 10), (x, y))
    draw.rectangle((x, y, x + width - 1, y + 9), outline=INK)
    for i, text in enumerate(ends):
        anchor = "la" if i == 0 else "ra" if i == len(ends) - 1 else "ma"
        draw.text((x + i * (width - 1) / (len(ends) - 1), y + 13), text, INK, canvas.font(SMALL), anchor=anchor)


def short(value: float) -> str:
    """Two decimals, and no minus before a zero."""
    return f"{value:.2f}".replace("-0.00", "0.00")


def side_by_side(left: object, right: object, names: Sequence[str], note: str = "") -> Image:
    """Two tables (N, M) of one shape under their names, on one scale; cells in which they differ have a thick frame."""
    tables = [canvas.array(table).astype(float) for table in (left, right)]
    if tables[0].ndim != 2 or tables[0].shape != tables[1].shape or not tables[0].size:
        raise InputError(f"two tables (N, M) of one shape are drawn; got {tables[0].shape} and {tables[1].shape}")
    rows, columns = tables[0].shape
    numbers = columns <= NUMBERS_MOST
    width, height = CELL if numbers else (12, 12)
    wide, top_line = columns * width, canvas.TEXT + 8
    sheet, draw, top = new_canvas(2 * wide + 30, top_line + rows * height, "", note)
    largest = max(float(np.abs(np.where(np.isfinite(table), table, 0)).max()) for table in tables)
    differs = ~np.isclose(*tables, rtol=1e-5, atol=1e-5, equal_nan=True)
    for side, (table, name) in enumerate(zip(tables, names, strict=True)):
        x0, y0, colours = canvas.MARGIN + side * (wide + 30), top + top_line, signed(table, largest)
        draw.text((x0, top), name, INK, canvas.font(canvas.TEXT))
        sheet.paste(cells(colours, width, height), (x0, y0))
        for (i, j), value in np.ndenumerate(table) if numbers else ():
            at = (x0 + (j + 0.5) * width, y0 + (i + 0.5) * height)
            draw.text(at, short(value), ink_on(colours[i, j]), canvas.font(12), anchor="mm")
        for i, j in np.argwhere(differs):
            x, y = x0 + j * width, y0 + i * height
            draw.rectangle((x + 1, y + 1, x + width - 2, y + height - 2), outline=INK if side else GREY, width=2)
    return sheet
