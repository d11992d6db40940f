"""Notebook 04: a view, its patches, six pairs of them, and what the whole other view is compared with."""

import itertools
from dataclasses import replace

import torch
from PIL import Image, ImageDraw

from mnclglf_lite.data import toybox
from mnclglf_lite.drawing import canvas
from mnclglf_lite.drawing.palette import AGREE, FAINT, GREY, INK
from mnclglf_lite.views.named_views import TOY_VIEW
from mnclglf_lite.views.patches import grid_patches
from mnclglf_lite.views.view import render_view, sample_params

WIDE, TALL, SIDE = 920, 430, 24


def two_views():
    images, labels, *_ = toybox.draw(10, 6, fixed={"size": 0.85, "x": 0.0, "y": 0.0, "contrast": 0.7})
    view = replace(TOY_VIEW, size=SIDE, scale=(0.7, 1.0), gray_p=0.0)
    draws = torch.Generator().manual_seed(6)
    chosen = images[labels == 5]
    return [render_view(chosen, view, sample_params(view, 1, (32, 32), draws), False).clamp(0, 1) for _ in range(2)]


def paste(sheet, tile, x, y, side):
    sheet.paste(Image.fromarray(tile).resize((side, side), Image.Resampling.NEAREST), (x, y))


def arrow(pen, x0, x1, y):
    pen.line((x0, y, x1, y), GREY, 3)
    pen.polygon([(x1 + 4, y), (x1 - 7, y - 7), (x1 - 7, y + 7)], GREY)


def draw():
    sheet = Image.new("RGB", (WIDE, TALL), "white")
    pen = ImageDraw.Draw(sheet)
    first, second = two_views()
    quarters = canvas.pixels(grid_patches(second)[:, 0])
    for x, name in ((14, "a view"), (164, "divide"), (318, "encode"), (452, "combine"), (620, "project"), (760, "compare")):
        pen.text((x, 10), name, INK, canvas.font(17))
    paste(sheet, canvas.pixels(second)[0], 14, 160, 112)
    arrow(pen, 132, 154, 216)
    corners = [(164 + k // 2 * 66, 154 + k % 2 * 66) for k in range(4)]
    for tile, (x, y) in zip(quarters, corners, strict=True):
        paste(sheet, tile, x, y, 58)
    arrow(pen, 294, 312, 216)
    pen.rounded_rectangle((318, 176, 418, 256), 8, "white", AGREE, 2)
    pen.text((368, 206), "backbone", INK, canvas.font(15), anchor="mm")
    pen.text((368, 228), "no gradient", GREY, canvas.font(12), anchor="mm")
    arrow(pen, 424, 442, 216)
    pen.rounded_rectangle((620, 44, 706, 418), 8, "white", AGREE, 2)
    pen.text((663, 220), "projector", INK, canvas.font(15), anchor="mm")
    pen.text((663, 242), "no gradient", GREY, canvas.font(12), anchor="mm")
    for j, pair in enumerate(itertools.combinations(range(4), 2)):
        y = 44 + j * 64
        for k in range(4):
            x0, y0 = 456 + k // 2 * 27, y + k % 2 * 27
            if k in pair:
                paste(sheet, quarters[k], x0, y0, 26)
            else:
                pen.rectangle((x0, y0, x0 + 25, y0 + 25), FAINT)
        pen.text((518, y + 26), f"mean of {pair[0]}, {pair[1]}", GREY, canvas.font(12), anchor="lm")
        pen.line((604, y + 26, 616, y + 26), GREY, 2)
        pen.line((708, y + 26, 742, y + 26), GREY, 2)
        pen.ellipse((744, y + 14, 768, y + 38), "white", INK, 2)
        pen.text((756, y + 25), f"c{j + 1}", INK, canvas.font(12), anchor="mm")
        pen.line((770, y + 26, 858, 216), AGREE, 2)
    pen.ellipse((846, 194, 890, 238), "white", AGREE, 3)
    pen.text((868, 213), "p", INK, canvas.font(22), anchor="mm")
    paste(sheet, canvas.pixels(first)[0], 820, 300, 96)
    pen.line((868, 294, 868, 250), GREY, 3)
    pen.polygon([(868, 243), (861, 254), (875, 254)], GREY)
    pen.text((916, 402), "the other view, whole", GREY, canvas.font(12), anchor="ra")
    return sheet
