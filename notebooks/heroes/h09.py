"""Notebook 09: our small runs and what the authors print, on one scale, each with what it takes to read it."""

import json

from PIL import Image, ImageDraw

from mnclglf_lite.drawing import canvas
from mnclglf_lite.drawing.palette import AGREE, DISAGREE, FAINT, GREY, INK
from mnclglf_lite.results import published, records

WIDTH, ROW, LEFT = 900, 26, 130


def draw():
    found = json.loads((records.KEPT / "cifar10-slim" / "compare.json").read_text())
    rows, views = found["rows"], found["budget"]["image_views"]
    ours = {name: 100 * entry["runs"][0]["linear"]["top1"] for name, entry in rows.items()}
    paper = {r.method: r.top1 for r in published.PUBLISHED if r.dataset == "cifar10" and "2306.15930" in r.source}
    order = sorted(paper, key=paper.get, reverse=True)
    sheet = Image.new("RGB", (WIDTH, 92 + ROW * len(order) + 52), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((14, 10), "CIFAR-10, linear top-1: the same names, not the same thing", INK, canvas.font(19))

    def x(value):
        return LEFT + (value - 30) * (WIDTH - LEFT - 30) / 70

    for tick in range(30, 101, 10):
        pen.line((x(tick), 74, x(tick), 82 + ROW * len(order)), FAINT)
        pen.text((x(tick), 86 + ROW * len(order)), f"{tick} %", GREY, canvas.font(12), anchor="ma")
    pen.ellipse((LEFT, 46, LEFT + 12, 58), AGREE)
    pen.text((LEFT + 18, 44), f"ours: slim network, {views:,} views, one CPU core, last step", INK, canvas.font(13))
    pen.polygon([(LEFT + 440, 44), (LEFT + 447, 52), (LEFT + 440, 60), (LEFT + 433, 52)], outline=DISAGREE, width=2)
    pen.text((LEFT + 454, 44), "the authors': ResNet-18, 224 pixels, best epoch", INK, canvas.font(13))
    for i, name in enumerate(order):
        y = 86 + i * ROW
        pen.text((LEFT - 14, y), name, INK, canvas.font(14), anchor="rm")
        pen.line((x(30), y, x(100), y), FAINT)
        if name in ours:
            pen.ellipse((x(ours[name]) - 6, y - 6, x(ours[name]) + 6, y + 6), AGREE)
        p = x(paper[name])
        pen.polygon([(p, y - 8), (p + 7, y), (p, y + 8), (p - 7, y)], "white", outline=DISAGREE, width=2)
    pen.text(
        (14, sheet.height - 24),
        "ours: data/runs/cifar10-slim, seed 0; the authors': README of the code of arXiv 2306.15930",
        GREY,
        canvas.font(12),
    )
    return sheet
