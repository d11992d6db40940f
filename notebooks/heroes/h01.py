"""Notebook 01: one toy, two global and three local views, and what a network makes of it."""

import dataclasses

import torch
from PIL import Image, ImageDraw

from mnclglf_lite.data import toybox
from mnclglf_lite.drawing import canvas
from mnclglf_lite.drawing.palette import AGREE, BOX_COLOURS, DISAGREE, GREY, INK
from mnclglf_lite.views.view import View, render_view, sample_params

ZOOM, VIEW = 9, 4  # screen pixels a pixel: of the picture, of a view
BOXES = ((1, 1, 25, 24), (6, 5, 25, 26), (3, 4, 13, 13), (15, 14, 14, 14), (8, 17, 12, 13))  # two large, three small
PLACES = ((356, 40), (502, 40), (356, 216), (443, 216), (530, 216))
TEXTS = (
    (56, "changes from view to view", DISAGREE),
    (80, "place, size, colour, light:", INK),
    (104, "little help to find the partner,", INK),
    (128, "so they can be forgotten", INK),
    (172, "stays in most views", AGREE),
    (196, "how the bricks are arranged:", INK),
    (220, "it finds the partner,", INK),
    (244, "so it has to be learned", INK),
)


def draw():
    image = toybox.draw(40, 8, fixed={"x": 0.0, "y": 0.0, "size": 0.72, "rotation": 12.0, "contrast": 0.6})[0][26:27]
    view = View(scale=(0.4, 1.0), jitter=(0.5, 0.5, 0.8, 0.5), jitter_p=1.0, gray_p=0.0, blur_p=0.0)
    draws = sample_params(view, 5, (32, 32), torch.Generator().manual_seed(9))
    sheet = Image.new("RGB", (900, 374), "white")
    pen = ImageDraw.Draw(sheet)
    for x, y, text in ((14, 8, "a picture and five boxes"), (356, 8, "global views"), (356, 184, "local views")):
        pen.text((x, y), text, INK, canvas.font(17))
    sheet.paste(canvas.enlarged(canvas.pixels(image)[0], ZOOM), (14, 40))
    for i, (box, (x, y)) in enumerate(zip(BOXES, PLACES, strict=True)):
        kind = dataclasses.replace(view, size=32 if i < 2 else 16)
        row = dataclasses.replace(draws.rows(slice(i, i + 1)), boxes=torch.tensor([box]).float())
        made = render_view(image, kind, row, normalise=False).clamp(0, 1)
        shown, colour, letter = canvas.enlarged(canvas.pixels(made)[0], VIEW), BOX_COLOURS[i], "ABCDE"[i]
        top, left, height, width = (ZOOM * side for side in box)
        corner = (14 + left, 40 + top)
        canvas.frame(pen, (*corner, corner[0] + width - 1, corner[1] + height - 1), colour, i >= 2, INK)
        canvas.tag(pen, (corner[0] + 3, corner[1] + 3), letter, colour)
        canvas.frame(pen, (x - 3, y - 3, x + shown.width + 2, y + shown.height + 2), colour, i >= 2)
        sheet.paste(shown, (x, y))
        canvas.tag(pen, (x + 2, y + 2), letter, colour)
    pen.polygon([(318, 174), (334, 184), (318, 194)], GREY)
    for y, text, colour in TEXTS:
        pen.text((666, y), text, colour, canvas.font(16))
    pen.text((14, 342), "Choosing views is choosing what the network cannot use.", INK, canvas.font(17))
    pen.text((666, 346), "a toy of the toy box", GREY, canvas.font(12))
    return sheet
