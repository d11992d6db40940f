"""Colours and marks that stay apart for every kind of colour vision, on screen and in print.

Colour never speaks alone: classes have a marker, boxes a letter, agreement a tick or a cross.
"""

from __future__ import annotations

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

AGREE, DISAGREE = "#0072B2", "#D55E00"  # blue with a tick, orange-red with a cross (Okabe and Ito)
INK, GREY, FAINT = "#222222", "#767676", "#E4E4E4"  # text, small print (4.5 : 1 on white), grid lines


def class_style(label: int) -> tuple[str, str]:
    """Colour and marker of a class. Beyond ten, markers shift against colours: a hundred different pairs."""
    return CLASS_COLOURS[label % 10], CLASS_MARKERS[(label + label // 10) % 10]
