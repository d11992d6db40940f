"""Small line charts for pictures that move under a slider: drawn with Pillow, in a few milliseconds, lines made smooth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import canvas
from .canvas import SMALL
from .palette import FAINT, GREY, INK

if TYPE_CHECKING:
    from PIL.Image import Image

FINE = 3  # times the resolution that lines are drawn in, before it is averaged down
TURN = {"-": (), "--": (7, 4), ":": (2, 3)}  # pixels drawn and left out


@dataclass(frozen=True)
class Line:
    """Points joined. `style` is "-", "--" or ":"."""

    x: Sequence[float]
    y: Sequence[float]
    colour: str = INK
    width: float = 1.5  # pixels
    style: str = "-"


@dataclass(frozen=True)
class Chart:
    """A place on a sheet, and the numbers at its edges. What lies beyond them is cut off at the edge."""

    box: tuple[int, int, int, int]  # left, top, width, height of the plot itself, pixels; numbers stand outside
    x: tuple[float, float]
    y: tuple[float, float]
    log_x: bool = False
    log_y: bool = False

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies on the sheet."""
        left, top, width, height = self.box
        return left + width * _share(x, *self.x, self.log_x), top + height * (1 - _share(y, *self.y, self.log_y))

    def draw(
        self, sheet: Image, lines: Sequence[Line], between: tuple[Line, Line] | None = None, shade: str = FAINT,
        x_ticks: Sequence[tuple[float, str]] = (), y_ticks: Sequence[tuple[float, str]] = (), name: str = "",
    ) -> None:  # fmt: skip
        """Axes, numbers, lines, the area `between` two of them, and a name above."""
        from PIL import Image, ImageDraw

        left, top, width, height = self.box
        edge = 4  # pixels around the plot, so that a line on its border keeps its width
        fine = Image.new("RGB", (FINE * (width + 2 * edge), FINE * (height + 2 * edge)), "white")
        pen = ImageDraw.Draw(fine)

        def place(x: float, y: float) -> tuple[float, float]:
            px, py = self.at(x, y)
            return FINE * (px - left + edge), FINE * (py - top + edge)

        if between:
            one, other = ([place(*point) for point in zip(line.x, line.y, strict=True)] for line in between)
            pen.polygon(one + other[::-1], shade)
        for x, _ in x_ticks:
            pen.line((place(x, self.y[0]), place(x, self.y[1])), FAINT, FINE)
        for y, _ in y_ticks:
            pen.line((place(self.x[0], y), place(self.x[1], y)), FAINT, FINE)
        pen.line([place(self.x[0], self.y[1]), place(self.x[0], self.y[0]), place(self.x[1], self.y[0])], GREY, FINE)
        for line in lines:
            points = [place(*point) for point in zip(line.x, line.y, strict=True)]
            for piece in _pieces(points, [FINE * part for part in TURN[line.style]]):
                pen.line(piece, line.colour, round(FINE * line.width), joint="curve")
        sheet.paste(fine.reduce(FINE), (left - edge, top - edge))
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
        """A broken line from bottom to top: the present."""
        from PIL import ImageDraw

        pen, (px, bottom), top = ImageDraw.Draw(sheet), self.at(x, self.y[0]), self.box[1]
        for y in range(round(top), round(bottom), 6):
            pen.line((px, y, px, min(y + 3, bottom)), colour, 1)

    def key(self, sheet: Image, names: Sequence[tuple[str, Line]]) -> None:
        """What each line is, in a row below the numbers of the x axis."""
        from PIL import ImageDraw

        pen, (left, top, width, height) = ImageDraw.Draw(sheet), self.box
        y, words = top + height + 27, [canvas.font(SMALL).getlength(name) for name, _ in names]
        gap = (width - sum(words) - 20 * len(names)) / max(1, len(names) - 1)
        for i, (name, line) in enumerate(names):
            x = left + sum(words[:i]) + i * (20 + gap)
            for piece in _pieces([(x, y), (x + 16, y)], list(TURN[line.style])):
                pen.line(piece, line.colour, max(1, round(line.width)))
            pen.text((x + 20, y), name, INK, canvas.font(SMALL), anchor="lm")


def _share(value: float, low: float, high: float, log: bool) -> float:
    """How far a value is from `low` to `high`, from 0 to 1."""
    value = min(max(value, low), high)
    return math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)


def _pieces(points: list[tuple[float, float]], turn: list[int]) -> list[list[tuple[float, float]]]:
    """A line of points as the pieces of it that are drawn: `turn` = (drawn, left out), or none for a whole line."""
    if not turn:
        return [points] if len(points) > 1 else []
    pieces, travelled = [], 0.0
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        length = math.hypot(x1 - x0, y1 - y0)
        at = 0.0
        while at < length:
            phase = (travelled + at) % sum(turn)
            drawn = phase < turn[0]
            step = min((turn[0] if drawn else sum(turn)) - phase, length - at) or 1e-6
            if drawn:
                ends = [(x0 + (x1 - x0) * u / length, y0 + (y1 - y0) * u / length) for u in (at, at + step)]
                pieces.append(ends)
            at += step
        travelled += length
    return pieces
