"""The similarity matrix of a batch, its softmax rows, and the pull and push of a loss on every pair, as one figure.

Below the matrices: one anchor's row with its numbers, and what the loss and its range would be at other temperatures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import InputError
from ...drawing import canvas
from ...drawing.canvas import MARGIN, SMALL, TEXT, Drawing, Place, new_canvas
from ...drawing.linechart import DASHED, DOTTED, Chart, Line, key
from ...drawing.palette import AGREE, DISAGREE, GREY, INK
from . import matrices
from .batch import Batch
from .matrices import SOFTMAX, TARGET, cosine_text, percent_text, signed_text
from .pairs import LOSSES, SOFT, Table
from .temperature import HIGHEST, LOWEST, MOST_OF, Curves, carriers
from .words import heads, number

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

WIDTH = 780  # pixels, all panels together: what a notebook has room for on a screen of 1280 (measured)
GAP = 26  # between panels
CANDIDATES = 17  # of one anchor's row; of longer rows, the largest
LEVEL, RANGE = "#882255", "#DDEBF3"  # the line of knowing nothing, and the room below it
KEY = "Blue, upwards: pull, dL/ds is negative. Orange, downwards: push, it is positive. Outlined: "


def similarity_figure(table: Table, batch: Batch, curves: Curves | None = None, row: int = 0) -> Drawing:
    """A place for each row's head. `row` is the anchor that is looked at, `curves` those of the batch."""
    rows, columns = heads(table.name, batch)
    if not 0 <= row < len(rows):
        raise InputError(f"this loss has anchors 0 to {len(rows) - 1}; got row {row}")
    panels = matrices.panels_of(table)
    high = max(12, min(32, 288 // len(rows)))  # of a cell, pixels
    head = 34 + (high if batch.shown is not None else 0)
    wide = min(36, max(2, (WIDTH - head - GAP * (len(panels) - 1)) // len(panels) // len(columns)))
    above, below = matrices.title_room(batch, wide), 30 if table.probability is None else 240
    height = above + high * len(rows) + 26
    note = KEY + ("the teacher's first choice." if table.name in SOFT else "pairs that belong together.")
    sheet, draw, top = new_canvas(WIDTH, height + below, _title(table), note)
    top += above
    for i, name in enumerate(rows):
        matrices.row_head(sheet, draw, (MARGIN, top + i * high), name, matrices.shown(batch, name), high, i == row)
    for k, panel in enumerate(panels):
        left = MARGIN + head + k * (max(wide * len(columns), 160) + GAP)  # room for the panel's name
        draw.text((left, top - above), panel.name, INK, canvas.font(TEXT))
        matrices.column_heads(sheet, draw, (left, top), columns, batch, wide)
        matrices.draw_panel(sheet, draw, panel, (left, top), (wide, high))
        y = top + row * high + high / 2
        draw.polygon([(left - 9, y - 5), (left - 9, y + 5), (left - 3, y)], INK)
    places = [
        Place.on(sheet, name, (MARGIN, top + i * high, head - 10, high), f"look at anchor {name}")
        for i, name in enumerate(rows)
    ]
    top += high * len(rows) + 26
    if table.probability is None:  # one number a row: it stands in the matrix already
        alone = "The outlined pairs alone count: no softmax, no push, no temperature."
        draw.text((MARGIN, top), alone, INK, canvas.font(TEXT))
        return Drawing(sheet, places=places)
    _anchor(draw, (MARGIN, top, 514, below), table, batch, row)
    if curves is not None:
        _curves(sheet, table, curves, (MARGIN + 554, top))
    return Drawing(sheet, places=places)


def _title(table: Table) -> str:
    at = "" if table.probability is None else f" at temperature {table.temperature:g}"
    return f"{LOSSES[table.name]}{at}: loss {number(table.value)}"


def _anchor(draw: ImageDraw, box: tuple[int, int, int, int], table: Table, batch: Batch, row: int) -> None:
    """One row with its numbers: bars of the softmax, hollow ones of a soft target beside, cosine, pull or push."""
    left, top, width, height = box
    rows, columns = heads(table.name, batch)
    p, target, s, gradient = (x[row].numpy() for x in (table.probability, table.target, table.similarity, table.gradient))
    positive, used = table.positive[row].numpy(), np.flatnonzero(~table.unused[row].numpy())
    soft, few = table.name in SOFT, ""
    if len(used) > CANDIDATES:
        few = f": the {CANDIDATES} likeliest of {len(used)} candidates"
        used = np.sort(used[np.argsort(-np.maximum(p, target)[used], kind="stable")[:CANDIDATES]])
    draw.text((left, top), f"anchor {rows[row]}{few}", INK, canvas.font(TEXT))
    first, step = left + 66, min(64, (width - 66) // len(used))
    lines = [("softmax, %", [percent_text(x) for x in p]), ("cosine", [cosine_text(x) for x in s])]
    if soft:
        lines.insert(1, ("target, %", [percent_text(x) for x in target]))
    lines.append(("dL/ds", [signed_text(x) for x in gradient]))
    base = top + height - 48 - 18 * len(lines)  # where the bars stand
    tall = base - top - 26
    most, half = max(p[used].max(), target[used].max() if soft else 0), min(14, step // 2 - 3)
    font = canvas.font(SMALL if step >= 34 else SMALL - 1)
    draw.line((first, base, first + step * len(used), base), GREY)
    for k, j in enumerate(used):
        x = first + k * step + step / 2
        draw.rectangle((x - half, base - tall * p[j] / most, x + (-1 if soft else half), base), SOFTMAX)
        if soft:
            draw.rectangle((x + 1, base - tall * target[j] / most, x + half, base), "white", outline=TARGET, width=2)
        if positive[j]:
            draw.rectangle((x - step / 2, base + 4, x + step / 2, base + 22), outline=INK, width=2)
        draw.text((x, base + 13), columns[j], INK, font, anchor="mm")
        colour = AGREE if gradient[j] < 0 else DISAGREE
        for n, (_, texts) in enumerate(lines):
            draw.text((x, base + 34 + 18 * n), texts[j], INK, font, anchor="mm")
        if signed_text(gradient[j]) != "0":
            matrices.arrow(draw, (x, base + 32 + 18 * len(lines)), 4.5, gradient[j] < 0, colour)
    for n, (name, _) in enumerate(lines):
        draw.text((left, base + 34 + 18 * n), name, GREY, canvas.font(SMALL), anchor="lm")


def _curves(sheet: Image, table: Table, curves: Curves, corner: tuple[int, int]) -> None:
    """The loss between knowing nothing and perfect, and how many negatives carry the push, against temperature."""
    left, top = corner
    across, ticks = (LOWEST, HIGHEST), [(t, f"{t:g}") for t in (LOWEST, 0.1, 0.5, HIGHEST)]
    level = Line(curves.temperature, curves.level, LEVEL, 1.5, DASHED)
    best = Line(curves.temperature, curves.best, INK, 1.5, DOTTED)
    box, room = (left, top + 20, 226, 86), table.level - table.best
    if table.name == "distillation_kl":  # its range spans four powers of ten
        chart, marks = Chart(box, across, (1e-3, 30), log_x=True, log_y=True), [(x, f"{x:g}") for x in (0.001, 0.1, 10)]
    else:
        high = max(table.level, 0.1)  # of a queue of one a teacher can say nothing, and the level is 0
        chart = Chart(box, across, (0, 1.5 * high), log_x=True)
        marks = [(0, "0"), (table.level, number(table.level))][: 1 + (table.level > 0)]
    name = f"range at T = {table.temperature:g}: {number(room)} nats"
    loss = Line(curves.temperature, curves.value, AGREE, 2.2)
    chart.draw(sheet, [level, best, loss], (level, best), RANGE, ticks, marks, name)
    chart.upright(sheet, table.temperature)
    chart.dot(sheet, table.temperature, table.value, AGREE)
    key(sheet, (left, top + 125), 240, [("hopeless", level), ("this batch", loss), ("perfect", best)])
    most = max(*curves.carriers, 1)
    chart = Chart((left, top + 168, 226, 46), across, (0, 1.15 * most), log_x=True)
    count = Line(curves.temperature, curves.carriers, DISAGREE, 2.2)
    marks = [(0, "0"), (most, f"{most:.0f}")]
    chart.draw(sheet, [count], None, "", ticks, marks, f"negatives that carry {100 * MOST_OF:.0f} % of the push")
    chart.upright(sheet, table.temperature)
    chart.dot(sheet, table.temperature, float(carriers(table).double().mean()), DISAGREE)
