"""Small line charts for figures that move under a slider or while a run trains: drawn with Pillow, in a few milliseconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import canvas
from .canvas import SMALL
from .palette import FAINT, GREY, INK
from .strokes import FINE, Dash, Point, dashes

if TYPE_CHECKING:
    from PIL.Image import Image

DASHED, DOTTED = (7, 4), (2, 3)  # pixels drawn and left out
DOT = 2.5  # pixels: radius of a point's disc
EDGE = 4  # pixels drawn around a plot, so that what lies on its border is whole
SAMPLE = 16  # pixels: the piece of a line beside its name

Ticks = Sequence[tuple[float, str]]  # values and their texts


@dataclass(frozen=True)
class Line:
    """Points joined, or marked by discs, or both; those that are not finite are left out. A lone point is always a disc."""

    x: Sequence[float]
    y: Sequence[float]
    colour: str = INK
    width: float = 1.5  # pixels; 0: nothing is joined
    dash: Dash = ()
    dots: bool = False

    @classmethod
    def through(cls, points: Sequence[tuple[float, float]], *style: Any, **more: Any) -> Line:
        """A line through points (x, y), in the style that follows."""
        return cls([x for x, _ in points], [y for _, y in points], *style, **more)


@dataclass(frozen=True)
class Chart:
    """A place on a sheet, and the numbers at its edges. What lies beyond them is drawn at the edge."""

    box: tuple[int, int, int, int]  # left, top, width, height of the plot itself, pixels; numbers stand outside
    x: tuple[float, float]
    y: tuple[float, float]
    log_x: bool = False
    log_y: bool = False

    def at(self, x: float | np.ndarray, y: float | np.ndarray) -> tuple[float | np.ndarray, float | np.ndarray]:
        """Where a point lies on the sheet, or where points do."""
        left, top, width, height = self.box
        return left + width * _share(x, *self.x, self.log_x), top + height * (1 - _share(y, *self.y, self.log_y))

    def draw(
        self, sheet: Image, lines: Sequence[Line], between: tuple[Line, Line] | None = None, shade: str = FAINT,
        x_ticks: Ticks = (), y_ticks: Ticks = (), name: str = "",
    ) -> None:  # fmt: skip
        """Axes, numbers, lines, the area `between` two of them, and a name above."""
        from PIL import Image, ImageDraw

        left, top, width, height = self.box
        fine = Image.new("RGB", (FINE * (width + 2 * EDGE), FINE * (height + 2 * EDGE)), "white")
        pen = ImageDraw.Draw(fine)

        def places(x: Sequence[float], y: Sequence[float]) -> list[Point]:
            finite = np.isfinite(np.asarray(y, dtype=float))
            px, py = self.at(np.asarray(x, dtype=float)[finite], np.asarray(y, dtype=float)[finite])
            return list(zip((FINE * (px - left + EDGE)).tolist(), (FINE * (py - top + EDGE)).tolist(), strict=True))

        def rule(x: tuple[float, float], y: tuple[float, float], colour: str) -> None:
            """A level or upright line of exactly one pixel."""
            left, top, right, bottom = (FINE * round(part / FINE) for point in places(x, y[::-1]) for part in point)
            pen.rectangle((left, top, right + FINE - 1, bottom + FINE - 1), colour)

        if between:
            one, other = (places(line.x, line.y) for line in between)
            pen.polygon(one + other[::-1], shade)
        for value, _ in x_ticks:
            rule((value, value), self.y, FAINT)
        for value, _ in y_ticks:
            rule(self.x, (value, value), FAINT)
        rule(self.x, (self.y[0], self.y[0]), GREY)
        rule((self.x[0], self.x[0]), self.y, GREY)
        for line in lines:
            points = places(line.x, line.y)
            for piece in dashes(points, tuple(FINE * part for part in line.dash)) if line.width else ():
                pen.line(piece, line.colour, round(FINE * line.width), joint="curve")
            for x, y in points if line.dots or len(points) == 1 else ():
                pen.ellipse((x - FINE * DOT, y - FINE * DOT, x + FINE * DOT, y + FINE * DOT), line.colour)
        sheet.paste(fine.reduce(FINE), (left - EDGE, top - EDGE))
        pen = ImageDraw.Draw(sheet)
        for x, text in x_ticks:
            pen.text((self.at(x, self.y[0])[0], top + height + 3), text, INK, canvas.font(SMALL), anchor="ma")
        for y, text in y_ticks:
            pen.text((left - 5, self.at(self.x[0], y)[1]), text, INK, canvas.font(SMALL), anchor="rm")
        pen.text((left, top - 7), name, INK, canvas.font(SMALL), anchor="ls")

    def dot(self, sheet: Image, x: float, y: float, colour: str, radius: int = 4) -> None:
        """A dot with a white rim."""
        from PIL import ImageDraw

        px, py = (round(v) for v in self.at(x, y))
        ImageDraw.Draw(sheet).ellipse((px - radius, py - radius, px + radius, py + radius), colour, outline="white")

    def upright(self, sheet: Image, x: float, colour: str = INK) -> None:
        """A dashed line from bottom to top: the present."""
        from PIL import ImageDraw

        pen, (px, bottom), top = ImageDraw.Draw(sheet), self.at(x, self.y[0]), self.box[1]
        for piece in dashes([(px, top), (px, bottom)], (3, 3)):
            pen.line(piece, colour, 1)


def key(sheet: Image, corner: tuple[int, int], width: int, names: Sequence[tuple[str, Line]]) -> int:
    """Names, each with a piece of its line, from `corner` on in rows no wider than `width`. Returns their height."""
    from PIL import ImageDraw

    pen, (left, y), x = ImageDraw.Draw(sheet), corner, corner[0]
    for name, line in names:
        wide = SAMPLE + 4 + int(canvas.font(SMALL).getlength(name))
        if x + wide > left + width and x > left:
            x, y = left, y + 18
        for piece in dashes([(x, y + 8), (x + SAMPLE, y + 8)], line.dash):
            pen.line(piece, line.colour, max(1, round(line.width)))
        pen.text((x + SAMPLE + 4, y + 8), name, INK, canvas.font(SMALL), anchor="lm")
        x += wide + 12
    return y + 18 - corner[1]


def ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Two to five round numbers between the limits, with their texts."""
    raw = (high - low) / 4
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= raw)
    values = [round(i * step, 10) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [(value, f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}") for value in values]


def _share(value: float | np.ndarray, low: float, high: float, log: bool) -> float | np.ndarray:
    """How far a value is from `low` to `high`, from 0 to 1."""
    value = np.clip(value, low, high)
    return np.log(value / low) / np.log(high / low) if log else (value - low) / (high - low)
