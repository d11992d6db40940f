"""The training board's figure: the loss with its parts, and what the monitor measures of the features, epoch by epoch.

Drawn with Pillow, since it is drawn twice a second beside the training itself: a matplotlib figure takes several times as
long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.text import format_duration
from ...drawing import canvas
from ...drawing.canvas import MARGIN, TEXT, Box, new_canvas
from ...drawing.linechart import Chart, Line, Ticks, key, ticks
from ...drawing.palette import AGREE, CLASS_COLOURS, FAINT, GREY, INK
from .progress import ProgressSnapshot

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

WIDE, HIGH = 900, 250  # pixels
LOSS, GAP = 420, 34  # pixels: width of the loss's panel, between panels
AXIS = 28  # pixels left of an axis, for its numbers
HEAD, FOOT = 20, 16  # pixels above a panel's curves, and below them for the numbers of the steps
PARTS = [CLASS_COLOURS[i] for i in (0, 3, 1, 5, 2)]  # for the parts of a loss, each with dashes of its own
DASHES = ((9, 4), (3, 3), (14, 3), (5, 7), (2, 5))  # pixels drawn and left out


def board(sight: ProgressSnapshot) -> Image:
    """What there is to see of a run; paletted, which halves the time that its PNG takes."""
    title = f"{sight.method} on {sight.dataset}, seed {sight.seed}" if sight.begun else "no run yet"
    sheet, draw, top = new_canvas(WIDE, HIGH + 34, title, "")
    _progress(draw, sight, top)
    top += 34
    steps = (0.0, float(max(1, sight.total)))
    named, means = _losses(sight)
    used = key(sheet, (MARGIN, top), LOSS, named)
    lines = [*(line for _, line in named), means]
    box = (MARGIN, top + used - HEAD + 6, LOSS, HIGH - used + HEAD - 6)
    _panel(sheet, box, lines, steps, _limits(lines), x_ticks=[(0, "step 0"), (steps[1], f"{steps[1]:,.0f}")])
    width, height = (WIDE - LOSS - 2 * GAP) // 2, (HIGH - GAP + 12) // 2
    for i, (name, lines, most) in enumerate([*_gauges(sight), _rate(sight)]):
        left = MARGIN + LOSS + GAP + (width + GAP) * (i % 2)
        box = (left, top + (height + GAP - 12) * (i // 2), width, height)
        _panel(sheet, box, lines, steps, (0.0, 1.08 * most), name)
    return _paletted(sheet)


def _losses(sight: ProgressSnapshot) -> tuple[list[tuple[str, Line]], Line]:
    """The loss and its parts since each look, with their names, and the means of epochs as dots in their middle."""
    named = []
    for i, (name, points) in enumerate(sight.losses.items() if sight.losses else [("loss", [])]):
        colour, dash = (PARTS[(i - 1) % len(PARTS)], DASHES[(i - 1) % len(DASHES)]) if i else (INK, ())
        named.append((f"{name.removeprefix('loss_')} {_short(sight.now(name))}", Line.through(points, colour, dash=dash)))
    ends = [0, *(row["step"] for row in sight.history)]
    means = [((begin + end) / 2, row["loss"]) for begin, end, row in zip(ends, ends[1:], sight.history, strict=False)]
    return named, Line.through(means, width=0, dots=True)


def _gauges(sight: ProgressSnapshot) -> list[tuple[str, list[Line], float]]:
    """What the monitor measures of the features after each epoch, and how far up each axis goes."""
    most = f" of {sight.dim}" if sight.dim else ""
    found = []
    for label, column, factor, unit, least in (
        ("kNN", "knn", 100.0, " %", 10.0),
        ("spread", "spread", 1.0, "", 1.0),
        ("effective rank", "rank", 1.0, most, 4.0),
    ):
        points = [(row["step"], factor * row[column]) for row in sight.history if column in row]
        now = f"{label} {_short(points[-1][1])}{unit}" if points else f"{label}: after an epoch"
        highest = max([least, *(y for _, y in points if math.isfinite(y))])
        found.append((now, [Line.through(points, AGREE, dots=True)], highest))
    return found


def _rate(sight: ProgressSnapshot) -> tuple[str, list[Line], float]:
    """The learning rate: solid so far, dashed from here on."""
    done = [point for point in sight.rates if point[0] <= sight.step]
    so_far = [*done, (sight.step, sight.rate)] if done else []
    lines = [Line.through(sight.rates, GREY, dash=(3, 3)), Line.through(so_far)]
    return f"learning rate {_short(sight.rate)}", lines, max((y for _, y in sight.rates), default=1.0)


def _paletted(sheet: Image) -> Image:
    """The same in 255 colours, white kept white."""
    from PIL import Image

    small = sheet.quantize(255, Image.Quantize.FASTOCTREE)
    colours, white = small.getpalette(), 3 * small.getpixel((0, 0))
    small.putpalette([*colours[:white], 255, 255, 255, *colours[white + 3 :]])
    return small


def _progress(draw: ImageDraw, sight: ProgressSnapshot, y: float) -> None:
    """A bar, and in front of it where the run is."""
    state = "training" if sight.live else "done" if sight.finished else "stopped" if sight.begun else "waiting"
    text = f"{state}: step {sight.step:,} of {sight.total:,}" if sight.begun else state
    if sight.epochs:
        text += f", epoch {sight.epoch:.1f} of {sight.epochs:.1f}"
    draw.text((MARGIN, y + 8), text, INK, canvas.font(TEXT), anchor="lm")
    left = MARGIN + LOSS + GAP
    time = f"{format_duration(sight.seconds)} gone"
    if sight.left is not None and not sight.finished:
        time += f", {format_duration(sight.left)} left"
    if sight.speed:
        time += f", {sight.speed:,.0f} pictures/s"
    draw.text((MARGIN + WIDE, y + 8), time, INK, canvas.font(TEXT), anchor="rm")
    right = MARGIN + WIDE - canvas.font(TEXT).getlength(time) - 14
    share = sight.step / sight.total if sight.begun else 0.0
    draw.rectangle((left, y + 2, right, y + 14), FAINT)
    draw.rectangle((left, y + 2, left + (right - left) * share, y + 14), AGREE)


def _panel(
    sheet: Image, box: Box, lines: Sequence[Line], x: tuple[float, float], y: tuple[float, float], name: str = "",
    x_ticks: Ticks = (),
) -> None:  # fmt: skip
    """A chart in a box, which has room for the numbers at its axes and for the name above."""
    left, top, width, height = (round(v) for v in box)
    tall = height - HEAD - (FOOT if x_ticks else 0)
    chart = Chart((left + AXIS, top + HEAD, width - AXIS, tall), x, y)
    chart.draw(sheet, lines, x_ticks=x_ticks, y_ticks=ticks(*y), name=name)


def _limits(lines: Sequence[Line]) -> tuple[float, float]:
    """From below the least to above the largest, where they are numbers."""
    values = [y for line in lines for y in line.y if math.isfinite(y)]
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.5
    return low - room, high + room


def _short(value: float | None) -> str:
    return "..." if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
