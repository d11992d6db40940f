"""Colours and marks that stay apart for every kind of colour vision, on screen and in print.

Colour never speaks alone: classes have a marker, boxes a letter, agreement a tick or a cross.
"""

from __future__ import annotations

import numpy as np

# Paul Tol's "muted" set of nine (technical note SRON/EPS/TN/09-002, 2021), its two palest made deeper so that
# dots of them show on white, and a dark grey as the tenth
CLASS_COLOURS = (
    "#CC6677", "#332288", "#DDAA33", "#117733", "#56B4E9",
    "#882255", "#44AA99", "#999933", "#AA4499", "#555555",
)  # fmt: skip
# on a dark page the four darkest are made lighter
CLASS_COLOURS_ON_DARK = (
    "#DD7788", "#9A8FF0", "#DDAA33", "#44AA66", "#56B4E9",
    "#D65C92", "#5FC9B8", "#B9B94A", "#C873C8", "#B5B5B5",
)  # fmt: skip
# the same order as matplotlib's markers; the page of `explore` draws the same ten
CLASS_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")

# Okabe and Ito (2008), "Color universal design": for a few things on top of a photograph
BOX_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2", "#F0E442", "#EEEEEE")

# Blue with a tick, orange-red with a cross (Okabe and Ito). Of numbers with a sign, blue is above zero: alike, together
AGREE, DISAGREE = "#0072B2", "#D55E00"
INK, GREY, FAINT = "#222222", "#767676", "#E4E4E4"  # text, small print (4.5 : 1 on white), grid lines


def class_style(label: int) -> tuple[str, str]:
    """Colour and marker of a class. Beyond ten, markers shift against colours: a hundred different pairs."""
    return CLASS_COLOURS[label % 10], CLASS_MARKERS[(label + label // 10) % 10]


def rgb(colour: str) -> tuple[int, int, int]:
    """'#0072B2' as red, green and blue, 0 to 255 each."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def luminance(fill: str | np.ndarray) -> np.ndarray:
    """Relative luminance (WCAG 2) of a colour, or of colours (..., 3) from 0 to 255: (...), 0 is black, 1 white."""
    share = np.asarray(rgb(fill) if isinstance(fill, str) else fill) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)


def ink_on(fill: str | np.ndarray) -> str | list:
    """Return 'black' or 'white', whichever contrasts more with a fill: 4.58 : 1 at the least. For fills (..., 3), lists."""
    return np.where(luminance(fill) > 0.179, "black", "white").tolist()  # 0.179 contrasts alike with both
