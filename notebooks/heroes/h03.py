"""Notebook 03: three networks, one of which learns; where gradient goes, and where it is stopped."""

from dataclasses import replace

import torch
from PIL import Image, ImageDraw

from mnclglf_lite.data import toybox
from mnclglf_lite.drawing import canvas
from mnclglf_lite.drawing.palette import AGREE, DISAGREE, FAINT, GREY, INK
from mnclglf_lite.views.named_views import TOY_VIEW
from mnclglf_lite.views.patches import grid_patches
from mnclglf_lite.views.view import render_view, sample_params

WIDE, TALL, TILE = 906, 440, 84
ROWS = (92, 234, 376)  # the middle line of each network
BOX = 112, 52


def arrow(pen, start, end, colour, width=2):
    """A line with a head at its end, along x or along y."""
    (x0, y0), (x1, y1) = start, end
    pen.line((x0, y0, x1, y1), colour, width)
    size = 4 + 2 * width
    if y0 == y1:
        back = size if x1 > x0 else -size
        pen.polygon([(x1, y1), (x1 - back, y1 - size * 0.6), (x1 - back, y1 + size * 0.6)], colour)
    else:
        back = size if y1 > y0 else -size
        pen.polygon([(x1, y1), (x1 - size * 0.6, y1 - back), (x1 + size * 0.6, y1 - back)], colour)


def box(pen, x, y, text, colour, below="", fill="white"):
    pen.rounded_rectangle((x, y - BOX[1] // 2, x + BOX[0], y + BOX[1] // 2), 8, fill, colour, 2)
    pen.text((x + BOX[0] / 2, y - (8 if below else 0)), text, INK, canvas.font(15), anchor="mm")
    pen.text((x + BOX[0] / 2, y + 12), below, GREY, canvas.font(12), anchor="mm")


def pictures():
    """Three views of a toy, the second one also as four patches: tiles (84, 84, 3)."""
    images, labels, *_ = toybox.draw(10, 6, fixed={"size": 0.85, "x": 0.0, "y": 0.0, "contrast": 0.7})
    view = replace(TOY_VIEW, size=TILE // 3, scale=(0.6, 1.0), gray_p=0.0)
    draws = torch.Generator().manual_seed(6)
    three = [
        render_view(images[labels == 5], view, sample_params(view, 1, (32, 32), draws), False).clamp(0, 1) for _ in range(3)
    ]
    return [canvas.pixels(x)[0] for x in three], canvas.pixels(grid_patches(three[1])[:, 0])


def draw():
    sheet = Image.new("RGB", (WIDE, TALL), "white")
    pen = ImageDraw.Draw(sheet)
    tiles, quarters = pictures()
    heads = ("online network", "stop-gradient network", "momentum network")
    for row, (y, head) in enumerate(zip(ROWS, heads, strict=True)):
        pen.text((14, y - 70), head, INK, canvas.font(17))
        if row == 1:  # in four pieces
            for k, quarter in enumerate(quarters):
                place = (14 + k // 2 * 45, y - 42 + k % 2 * 45)
                sheet.paste(Image.fromarray(quarter).resize((39, 39), Image.Resampling.NEAREST), place)
        else:
            sheet.paste(Image.fromarray(tiles[row]).resize((TILE, TILE), Image.Resampling.NEAREST), (14, y - 42))
        colour = AGREE if row == 0 else GREY
        arrow(pen, (104, y), (138, y), GREY)
        box(pen, 142, y, "backbone", colour, ("learns", "the same weights", "a slow twin")[row])
        arrow(pen, (258, y), (282, y), GREY)
        box(pen, 286, y, "projector", colour, ("learns", "the same weights", "a slow twin")[row])
        if row != 1:
            arrow(pen, (402, y), (426, y), GREY)
            box(pen, 430, y, *(("predictor", AGREE, "learns") if row == 0 else ("queue", GREY, "nearest entry")))
        arrow(pen, (402 if row == 1 else 546, y), (574, y), GREY)
        pen.text((594, y), ("p", "c", "n")[row], INK, canvas.font(24), anchor="mm")
    for x in (198, 342):  # the twin follows
        for y in range(ROWS[0] + 30, ROWS[2] - 34, 10):
            if not ROWS[1] - 34 < y < ROWS[1] + 30:
                pen.line((x, y, x, y + 4), GREY, 2)
        pen.polygon([(x, ROWS[2] - 27), (x - 6, ROWS[2] - 37), (x + 6, ROWS[2] - 37)], GREY)
    losses = ((166, "local term", ROWS[1]), (308, "global term", ROWS[2]))
    for y, name, source in losses:
        pen.rounded_rectangle((742, y - 25, 892, y + 25), 8, FAINT, INK, 2)
        pen.text((817, y), name, INK, canvas.font(17), anchor="mm")
        pen.line((614, source, 702, source, 702, y + 10), GREY, 2)
        arrow(pen, (702, y + 10), (738, y + 10), GREY)
        for x in (650, 658):  # a bar that no gradient passes
            pen.line((x, source - 18, x, source + 18), DISAGREE, 4)
        pen.line((738, y - 10, 728, y - 10), AGREE, 4)
    pen.line((728, ROWS[0], 728, losses[1][0] - 10), AGREE, 4)
    arrow(pen, (730, ROWS[0]), (616, ROWS[0]), AGREE, 4)
    for x in (578, 430, 286):
        arrow(pen, (x, ROWS[0] - 38), (x - 124, ROWS[0] - 38), AGREE, 4)
    pen.text((742, ROWS[0] - 36), "gradient", AGREE, canvas.font(17))
    pen.text((655, ROWS[2] + 26), "stopped", DISAGREE, canvas.font(17), anchor="ma")
    pen.text((204, ROWS[1] + 52), "follows", GREY, canvas.font(13))
    return sheet
