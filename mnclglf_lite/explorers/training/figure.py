"""The training board's picture: the loss with its parts, and what the monitor says of the features, epoch by epoch.

Drawn with Pillow, since it is drawn twice a second beside the training itself: a matplotlib figure takes several times as
long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.text import format_duration
from ...drawing import canvas
from ...drawing.canvas import MARGIN, SMALL, TEXT, new_canvas
from ...drawing.palette import AGREE, CLASS_COLOURS, FAINT, GREY, INK
from ...drawing.strokes import Strokes
from .progress import ProgressSnapshot

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Points = Sequence[tuple[float, float]]

WIDE, HIGH = 900, 250  # pixels
LOSS, GAP = 420, 34  # pixels: width of the loss's panel, between panels
AXIS = 26  # pixels left of an axis, for its numbers
EDGE = 3  # pixels around a panel's curves, so that dots on its rim are whole
HEAD = 24  # pixels above a panel's curves
PARTS = [CLASS_COLOURS[i] for i in (0, 3, 1, 5, 2)]  # for the parts of a loss, each with dashes of its own
DASHES = ((9, 4), (3, 3), (14, 3), (5, 7), (2, 5))  # pixels drawn and left out


@dataclass(frozen=True)
class Curve:
    """A line through points, whole or in dashes; single points are dots."""

    points: Points
    colour: str
    dash: tuple[int, int] | None = None
    dots: bool = False


def board(sight: ProgressSnapshot) -> Image:
    """What there is to see of a run; paletted, which halves the time that its PNG takes."""
    title = f"{sight.method} on {sight.dataset}, seed {sight.seed}" if sight.begun else "no run yet"
    sheet, draw, top = new_canvas(WIDE, HIGH + 34, title, "")
    _progress(draw, sight, top)
    top += 34
    steps = (0.0, float(max(1, sight.total)))
    labels, curves = _losses(sight)
    _panel(sheet, draw, (MARGIN, top, LOSS, HIGH), labels, curves, steps, _limits(curves), ends=True)
    width, height = (WIDE - LOSS - 2 * GAP) // 2, (HIGH - GAP + 12) // 2
    for i, (label, curves, most) in enumerate([*_gauges(sight), _rate(sight)]):
        left = MARGIN + LOSS + GAP + (width + GAP) * (i % 2)
        box = (left, top + (height + GAP - 12) * (i // 2), width, height)
        _panel(sheet, draw, box, [(label, None)], curves, steps, (0.0, 1.08 * most))
    return _paletted(sheet)


def _losses(sight: ProgressSnapshot) -> tuple[list[tuple[str, Curve]], list[Curve]]:
    """The loss and its parts since each look, with their names, and the means of epochs as dots in their middle."""
    named = []
    for i, (name, points) in enumerate(sight.losses.items() if sight.losses else [("loss", [])]):
        curve = Curve(points, PARTS[(i - 1) % len(PARTS)], DASHES[(i - 1) % len(DASHES)]) if i else Curve(points, INK)
        named.append((f"{name.removeprefix('loss_')} {_short(sight.now(name))}", curve))
    ends = [0, *(row["step"] for row in sight.history)]
    means = [((begin + end) / 2, row["loss"]) for begin, end, row in zip(ends, ends[1:], sight.history, strict=False)]
    return named, [*(curve for _, curve in named), Curve(means, INK, dots=True)]


def _gauges(sight: ProgressSnapshot) -> list[tuple[str, list[Curve], float]]:
    """What the monitor says of the features after each epoch, and how far up each axis goes."""
    most = f" of {sight.dim}" if sight.dim else ""
    found = []
    for label, key, factor, unit, least in (
        ("kNN", "knn", 100.0, " %", 10.0),
        ("spread", "spread", 1.0, "", 1.0),
        ("effective rank", "rank", 1.0, most, 4.0),
    ):
        points = [(row["step"], factor * row[key]) for row in sight.history if key in row]
        now = f"{label} {_short(points[-1][1])}{unit}" if points else f"{label}: after an epoch"
        found.append((now, [Curve(points, AGREE, dots=True)], max([least, *(y for _, y in points if math.isfinite(y))])))
    return found


def _rate(sight: ProgressSnapshot) -> tuple[str, list[Curve], float]:
    """The learning rate: so far a whole line, from here on a broken one."""
    done = [point for point in sight.rates if point[0] <= sight.step]
    curves = [Curve(sight.rates, GREY, (3, 3)), Curve([*done, (sight.step, sight.rate)] if done else [], INK)]
    return f"learning rate {_short(sight.rate)}", curves, max((y for _, y in sight.rates), default=1.0)


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
    sheet: Image, draw: ImageDraw, box: tuple[float, float, float, float], labels: Sequence[tuple[str, Curve | None]],
    curves: Sequence[Curve], x: tuple[float, float], y: tuple[float, float], ends: bool = False,
) -> None:  # fmt: skip
    """Curves in a box of left, top, width, height, with words and a sample of each line above."""
    left, top, width, height = (round(v) for v in box)
    at, row = left, top + 8
    for text, curve in labels:
        wide = canvas.font(SMALL if ends else TEXT).getlength(text) + (28 if curve else 0)
        if at + wide > left + width:
            at, row = left, row + HEAD - 6
        if curve:
            _sample(draw, at, row, curve)
        draw.text((at + wide, row), text, INK, canvas.font(SMALL if ends else TEXT), anchor="rm")
        at += wide + 14
    foot, left, width = 14 if ends else 0, left + AXIS, width - AXIS
    high = row + HEAD - 8
    tall = top + height - high - foot
    strokes = Strokes(width, tall, EDGE)
    for value in _ticks(*y):
        strokes.rule(width, tall * (1 - (value - y[0]) / (y[1] - y[0])), FAINT)
    for curve in curves:
        points = [(width * (a - x[0]) / (x[1] - x[0]), tall * (1 - (b - y[0]) / (y[1] - y[0]))) for a, b in curve.points
                  if math.isfinite(b)]  # fmt: skip
        points = [(a, min(max(b, 0), tall)) for a, b in points]
        if len(points) > 1 and not (curve.dots and ends):
            if curve.dash:
                strokes.broken(points, curve.colour, 1.5, curve.dash)
            else:
                strokes.whole(points, curve.colour, 1.5)
        if curve.dots or len(points) == 1:
            for a, b in points:
                strokes.dot((a, b), curve.colour)
    sheet.paste(strokes.finished(), (left - EDGE, high - EDGE))
    draw.line((left, high, left, high + tall, left + width, high + tall), GREY)
    for value in _ticks(*y):
        level = high + tall * (1 - (value - y[0]) / (y[1] - y[0]))
        draw.text((left - 5, level), _tick(value), GREY, canvas.font(SMALL - 1), anchor="rm")
    if ends:
        draw.text((left, high + tall + 3), "step 0", GREY, canvas.font(SMALL - 1))
        draw.text((left + width, high + tall + 3), f"{x[1]:,.0f}", GREY, canvas.font(SMALL - 1), anchor="ra")


def _sample(draw: ImageDraw, x: float, y: float, curve: Curve) -> None:
    on, off = curve.dash or (22, 0)
    for start in range(0, 22, on + off):
        draw.line((x + start, y, min(x + start + on, x + 22), y), curve.colour, 2)


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """From below the least to above the largest, where they are numbers."""
    values = [b for curve in curves for _, b in curve.points if math.isfinite(b)]
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.5
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    """Two to five round numbers between the limits."""
    raw = (high - low) / 4
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= raw)
    return [round(i * step, 10) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _tick(value: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}"


def _short(value: float | None) -> str:
    return "..." if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
