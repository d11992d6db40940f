"""Numbers as colours, always with a scale: pale to dark for amounts, two colours around white where numbers have a sign.

`side_by_side` draws two tables of numbers on one scale, with the number in each cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InputError
from . import canvas
from .canvas import SMALL, new_canvas
from .palette import AGREE, DISAGREE, GREY, INK

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

# Lightness falls from end to end, so that order shows without colour; after Tol's "YlOrBr" (see `palette`), ends as there
MORE = ("#FFFFE5", "#FEE391", "#FB9A29", "#CC4C02", "#662506")
SIGNED = (DISAGREE, "#FFFFFF", AGREE)  # orange-red below zero, white at it, blue above


def shade(values: np.ndarray, stops: tuple[str, ...]) -> np.ndarray:
    """Numbers (...) from 0 to 1 as colours (..., 3), uint8, between evenly spaced stops."""
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError("numbers to be shown as colours must be finite; got some that are not (NaN or infinite)")
    marks = np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops])
    at = np.linspace(0, 1, len(stops))
    channels = [np.interp(values, at, marks[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)


def bar(sheet: Image, draw: ImageDraw, corner: tuple[int, int], width: int, stops: tuple[str, ...], ends: list[str]) -> None:
    """A scale of `width` pixels, 10 high, with its numbers below, evenly spaced: the first at its left end."""
    x, y = corner
    ramp = shade(np.linspace(0, 1, width), stops)[None].repeat(10, 0)  # (10, width, 3)
    sheet.paste(canvas.enlarged(ramp, 1), (x, y))
    draw.rectangle((x, y, x + width - 1, y + 9), outline=INK)
    for i, text in enumerate(ends):
        anchor = "la" if i == 0 else "ra" if i == len(ends) - 1 else "ma"
        draw.text((x + i * (width - 1) / (len(ends) - 1), y + 13), text, INK, canvas.font(SMALL), anchor=anchor)


# --- Tables of numbers as figures: blue below zero, white at zero, orange above it, the number in each cell.

if TYPE_CHECKING:
    from PIL.Image import Image

CELL = (52, 26)  # pixels, width and height: room for "-12.34"
NUMBERS_MOST = 16  # columns; beyond that cells are small and without numbers


def tint(value: float, largest: float) -> str:
    """The colour of a number: the nearer to `largest` in size, the fuller."""
    share = min(1.0, abs(value) / largest) if largest > 0 and np.isfinite(value) else 0.0
    full = np.array([int((AGREE if value < 0 else DISAGREE)[i : i + 2], 16) for i in (1, 3, 5)])
    return "#" + "".join(f"{round(255 + share * (channel - 255)):02x}" for channel in full)


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
        x0, y0 = canvas.MARGIN + side * (wide + 30), top + top_line
        draw.text((x0, top), name, INK, canvas.font(canvas.TEXT))
        for (i, j), value in np.ndenumerate(table):
            x, y, colour = x0 + j * width, y0 + i * height, tint(value, largest)
            draw.rectangle((x, y, x + width - 1, y + height - 1), colour, outline="white")
            if numbers:
                draw.text((x + width / 2, y + height / 2), short(value), canvas.ink_on(colour), canvas.font(12), anchor="mm")
        for i, j in np.argwhere(differs):
            x, y = x0 + j * width, y0 + i * height
            draw.rectangle((x + 1, y + 1, x + width - 2, y + height - 2), outline=INK if side else GREY, width=2)
    return sheet
