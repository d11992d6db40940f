"""Notebook 02: from pictures to similarities, to shares, to pull and push."""

import torch
from PIL import Image, ImageDraw

from mnclglf_lite.course.exercises.e02 import pull_and_push
from mnclglf_lite.data import toybox
from mnclglf_lite.drawing import canvas, heatmap
from mnclglf_lite.drawing.palette import GREY, INK, ink_on
from mnclglf_lite.views.view import View, render_view, sample_params

N, CELL, TILE = 6, 42, 36


def draw():
    images, *_ = toybox.draw(N, 4)
    view = View(scale=(0.5, 1.0), gray_p=0.2, blur_p=0.0)
    pair = [
        canvas.pixels(
            render_view(images, view, sample_params(view, N, (32, 32), torch.Generator().manual_seed(s)), False).clamp(0, 1)
        )
        for s in (1, 2)
    ]
    rng = torch.Generator().manual_seed(3)
    a = torch.randn(N, 12, generator=rng)
    s = (
        torch.nn.functional.normalize(a, dim=1)
        @ torch.nn.functional.normalize(a + 0.9 * torch.randn(N, 12, generator=rng), dim=1).T
    )
    tables = [
        ("how alike are they?", s),
        ("shares of each row, T = 0.2", (s / 0.2).softmax(1)),
        ("pull (blue) and push", -pull_and_push(s, 0.2)),
    ]
    wide = TILE + 8 + N * CELL
    sheet = Image.new("RGB", (3 * wide + 2 * 34 + 28, N * CELL + TILE + 58), "white")
    pen = ImageDraw.Draw(sheet)
    for k, (name, table) in enumerate(tables):
        x0, y0 = 14 + k * (wide + 34), 40
        pen.text((x0 + TILE + 8, 8), name, INK, canvas.font(17))
        for i in range(N):
            sheet.paste(Image.fromarray(pair[0][i]), (x0, y0 + TILE + 8 + i * CELL + 5))
            sheet.paste(Image.fromarray(pair[1][i]), (x0 + TILE + 8 + i * CELL + 5, y0))
        colours = heatmap.signed(table.numpy(), float(table.abs().max()))
        for i in range(N):
            for j in range(N):
                colour = tuple(colours[i, j].tolist())
                x, y = x0 + TILE + 8 + j * CELL, y0 + TILE + 8 + i * CELL
                pen.rectangle((x, y, x + CELL - 2, y + CELL - 2), colour, outline=INK if i == j else colour, width=2)
                pen.text(
                    (x + CELL / 2, y + CELL / 2),
                    heatmap.short(float(table[i, j])),
                    ink_on(colours[i, j]),
                    canvas.font(12),
                    anchor="mm",
                )
        if k < 2:
            x, y = x0 + wide + 8, y0 + wide / 2
            pen.polygon([(x, y - 9), (x + 14, y), (x, y + 9)], GREY)
    return sheet
