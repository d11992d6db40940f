"""Notebook 07: the same features under nine kNN protocols each; from data/runs/toybox."""

import json

from PIL import Image, ImageDraw

from mnclglf_lite.data.dataset import data_root
from mnclglf_lite.drawing import canvas
from mnclglf_lite.drawing.palette import AGREE, DISAGREE, FAINT, GREY, INK
from mnclglf_lite.evaluation.knn import TRANSFORMS

FINE = 2  # drawn twice as large and made small again, for smooth marks
WIDE, TALL, LEFT, RIGHT = 900, 344, 196, 870  # pixels; the axis runs from LEFT (0 %) to RIGHT (100 %)
ROWS = (("raw pixels", 74), ("8x8 thumbnails", 138), ("SimCLR, trained", 202))
PROTOCOLS = {"knn10": "k 10 with equal votes", "knn20": "k 20", "knn": "k 200"}
LANES = {"raw": -15, "centred": 0, "whitened": 15}  # pixels above and below a row's line
COLOURS = {"raw": DISAGREE, "centred": GREY, "whitened": AGREE}


def mark(pen, x, y, transform):
    """Circle, square, diamond: colour never speaks alone."""
    x, y, r, colour = FINE * x, FINE * y, FINE * 7, COLOURS[transform]
    if transform == "raw":
        pen.ellipse((x - r, y - r, x + r, y + r), colour, "white", FINE)
    elif transform == "centred":
        pen.rectangle((x - r + 2, y - r + 2, x + r - 2, y + r - 2), colour, "white", FINE)
    else:
        pen.polygon([(x, y - r - 3), (x + r + 3, y), (x, y + r + 3), (x - r - 3, y)], colour, "white", FINE)


def text(pen, at, words, colour, size, anchor="la"):
    pen.text((FINE * at[0], FINE * at[1]), words, colour, canvas.font(FINE * size), anchor=anchor)


def draw():
    saved = json.loads((data_root() / "runs" / "toybox" / "compare.json").read_text())
    found = {**saved["baselines"], "SimCLR, trained": saved["rows"]["simclr"]["runs"][0]}
    sheet = Image.new("RGB", (FINE * WIDE, FINE * TALL), "white")
    pen = ImageDraw.Draw(sheet)
    text(pen, (14, 12), "Nine honest numbers for each: which of them do you want to hear?", INK, 17)
    for percent in range(0, 101, 20):
        x = LEFT + (RIGHT - LEFT) * percent / 100
        pen.line([FINE * v for v in (x, 48, x, 232)], FAINT, FINE)
        text(pen, (x, 236), f"{percent} %", GREY, 12, "ma")
    for name, y in ROWS:
        text(pen, (LEFT - 16, y), name, INK, 16, "rm")
        spots = [
            (100 * found[name][protocol][transform]["top1"], transform) for transform in TRANSFORMS for protocol in PROTOCOLS
        ]
        ends = [LEFT + (RIGHT - LEFT) * f(value for value, _ in spots) / 100 for f in (min, max)]
        pen.line([FINE * v for v in (ends[0], y, ends[1], y)], GREY, FINE)
        for value, transform in spots:
            mark(pen, LEFT + (RIGHT - LEFT) * value / 100, y + LANES[transform], transform)
    for i, transform in enumerate(TRANSFORMS):
        mark(pen, 22 + 130 * i, 275, transform)
        text(pen, (36 + 130 * i, 275), transform, INK, 14, "lm")
    text(pen, (430, 275), "three of each: " + ", ".join(PROTOCOLS.values()), INK, 14, "lm")
    queries, bank = found["raw pixels"]["queries"], found["raw pixels"]["bank"]
    foot = f"kNN accuracy on the toy box at 32 pixels, {queries:,} test pictures, bank {bank:,}, T 0.1; SimCLR: seed 0 of data/runs/toybox."
    text(pen, (14, 300), foot, GREY, 12)
    text(pen, (14, 318), "centred: less the mean; whitened: all directions scaled alike. Chance is 10 %.", GREY, 12)
    return sheet.resize((WIDE, TALL), Image.Resampling.LANCZOS).quantize(96).convert("RGB")
