"""Numbers as colours: a pale one for nought, darker for more; two colours where numbers have a sign. Always with a scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import pencil
from .errors import InputError
from .palette import AGREE, DISAGREE, INK
from .pencil import SMALL

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

# Lightness falls from end to end, so that order shows without colour; after Tol's "YlOrBr" (see `palette`), ends as there
MORE = ("#FFFFE5", "#FEE391", "#FB9A29", "#CC4C02", "#662506")
SIGNED = (DISAGREE, "#FFFFFF", AGREE)  # orange-red below nought, white at it, blue above


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
    sheet.paste(pencil.enlarged(ramp, 1), (x, y))
    draw.rectangle((x, y, x + width - 1, y + 9), outline=INK)
    for i, text in enumerate(ends):
        anchor = "la" if i == 0 else "ra" if i == len(ends) - 1 else "ma"
        draw.text((x + i * (width - 1) / (len(ends) - 1), y + 13), text, INK, pencil.font(SMALL), anchor=anchor)
