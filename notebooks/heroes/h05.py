"""Notebook 05: three ways to place embeddings. The one with the best loss is the worst of them."""

import math

import torch
from PIL import Image, ImageDraw

from mnclglf_lite.drawing import canvas
from mnclglf_lite.drawing.palette import AGREE, CLASS_COLOURS, DISAGREE, FAINT, GREY, INK
from mnclglf_lite.evaluation import collapse
from mnclglf_lite.evaluation.collapse import feature_std

FINE = 2  # drawn twice as large and made small again, for smooth circles
WIDE, TALL, RADIUS, LONG = 900, 420, 88, 150  # pixels; LONG: a full bar
NAMES = ("spread out", "on one line", "in one point")


def places():
    """Angles in degrees of 20 pairs of views, for each of the three."""
    rng = torch.Generator().manual_seed(3)
    noise = torch.randn(2, 20, generator=rng)
    around = torch.arange(20) * 18.0 + 16 * noise
    line = torch.where(torch.arange(20) % 2 == 0, 25.0, 205.0) + 4 * noise
    return around, line, 310 + 1.5 * noise


def unit(angles):
    return torch.stack([(angles * math.pi / 180).cos(), (angles * math.pi / 180).sin()], dim=-1)  # (2, 20, 2)


def text(pen, at, words, colour, size, anchor="la"):
    pen.text((FINE * at[0], FINE * at[1]), words, colour, canvas.font(FINE * size), anchor=anchor)


def bar(pen, x, y, share, colour):
    pen.rectangle([FINE * v for v in (x, y, x + LONG, y + 11)], FAINT)
    pen.rectangle([FINE * v for v in (x, y, x + max(2, LONG * share), y + 11)], colour)


def draw():
    sheet = Image.new("RGB", (FINE * WIDE, FINE * TALL), "white")
    pen = ImageDraw.Draw(sheet)
    for column, (name, angles) in enumerate(zip(NAMES, places(), strict=True)):
        middle, top = 155 + 295 * column, 140
        text(pen, (middle, 14), name, INK, 17, "ma")
        pen.ellipse([FINE * v for v in (middle - RADIUS, top - RADIUS, middle + RADIUS, top + RADIUS)], None, GREY, FINE)
        views = unit(angles)
        for i in range(20):
            ends = [(FINE * (middle + RADIUS * float(x)), FINE * (top + RADIUS * float(y))) for x, y in views[:, i]]
            pen.line(ends, CLASS_COLOURS[i % 10], 2 * FINE)
            for x, y in ends:
                pen.ellipse((x - 9, y - 9, x + 9, y + 9), CLASS_COLOURS[i % 10], "white")
        loss = float(collapse.alignment(*views))
        # of two dimensions: rank 1 is an empty bar, 2 a full one
        spread, rank = float(feature_std(views[0])), float(collapse.effective_rank(views[0]))
        rows = (
            ("loss", f"{loss:.2f}", loss / 0.2, DISAGREE), ("spread", f"{spread:.2f}", spread, AGREE),
            ("rank", f"{rank:.1f}", rank - 1, AGREE),
        )  # fmt: skip
        for row, (what, value, share, colour) in enumerate(rows):
            y = 264 + 34 * row
            text(pen, (middle - 82, y - 5), what, INK, 15, "ra")
            bar(pen, middle - 72, y, min(1.0, share), colour)
            text(pen, (middle + 88, y - 5), value, INK, 15)
    foot = "Forty views of twenty pictures; a line joins the two views of one. The loss: how far they lie apart, lower is better."
    text(pen, (14, 380), foot, GREY, 12)
    text(
        pen,
        (14, 397),
        "It is best where everything has collapsed. Spread and rank, of a circle's two dimensions, tell.",
        GREY,
        12,
    )
    return sheet.resize((WIDE, TALL), Image.Resampling.LANCZOS).quantize(96).convert("RGB")
