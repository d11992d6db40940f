"""Lines of a diagram: frames, boxes, arrows, solid and dashed. Drawn large and shrunk, which smooths them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from .palette import AGREE, DISAGREE, FAINT, GREY, INK

if TYPE_CHECKING:
    from PIL.Image import Image

FINE = 2  # times larger than it is shown
DASH = (7, 5)  # pixels drawn, pixels left out
FILLS = {"gradient": "#EDF4FA", "moving average": "#FBF2EA", "nothing": "#F7F7F7"}  # faint tints of the lines' colours
RING, APART = 6, 14  # pixels: radius of a stop sign, least distance between two
BOW = 20  # straight pieces that make a bow

Point = tuple[float, float]
Dash = tuple[int, int] | tuple[()]  # pixels drawn and left out; () is a solid line
Rect = tuple[float, float, float, float]  # left, top, right, bottom


class Strokes:
    """A white sheet of `width` x `height` pixels, and pens. (0, 0) lies `border` pixels inside its corner."""

    def __init__(self, width: float, height: float, border: int):
        from PIL import Image, ImageDraw

        size = (FINE * (round(width) + 2 * border), FINE * (round(height) + 2 * border))
        self.sheet, self.border = Image.new("RGB", size, "white"), border
        self.draw = ImageDraw.Draw(self.sheet)
        self.stops: list[Point] = []  # signs that stand already: no second one on top

    def finished(self) -> Image:
        """The sheet at the size at which it is shown."""
        return self.sheet.reduce(FINE)

    def frame(self, rect: Rect, kind: str) -> None:
        """A network's frame: thick where it learns by gradient, double for a target network, dashed for a queue."""
        x0, y0, x1, y1 = rect
        if kind == "memory":
            self.draw.rectangle(self._at(*rect), FILLS["nothing"])
            self.line([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], GREY, 1.5, DASH)
            return
        colour = {"gradient": AGREE, "moving average": DISAGREE, "nothing": GREY}[kind]
        self.draw.rectangle(self._at(*rect), FILLS[kind], colour, FINE * (2 if kind == "gradient" else 1))
        if kind == "moving average":
            self.draw.rectangle(self._at(x0 + 3, y0 + 3, x1 - 3, y1 - 3), None, colour, FINE)

    def box(self, rect: Rect, learns: bool, chosen: bool) -> None:
        """A white box, blue where a gradient arrived; the chosen one has a thick black edge."""
        colour = INK if chosen else AGREE if learns else GREY
        self.draw.rounded_rectangle(self._at(*rect), 5 * FINE, "white", colour, (3 if chosen else 1) * FINE)

    def arc(self, one: Rect, twin: Rect, out: float) -> None:
        """From a network's heading to its target network's, around the left of their column, `out` pixels away from it."""
        (x0, y0), (x1, y1) = (one[0], one[1] + 14), (twin[0], twin[1] + 14)
        turn = math.copysign(10, y1 - y0)
        self.line([(x0, y0), (x0 - out, y0 + turn), (x1 - out, y1 - turn), (x1, y1)], GREY, 1.5, (2, 3))
        self.head((x1, y1), GREY, 5)

    def way(self, points: Sequence[Point], gradient: bool, stopped: bool, faint: bool) -> None:
        """A way with a gradient: thick, solid, blue. Without: thin, dashed, orange, with a sign where it is stopped."""
        line = curve(points)
        colour = FAINT if faint else AGREE if gradient else DISAGREE
        self.line(line, colour, 2.5 if gradient else 1.5, () if gradient else DASH)
        self.head(line[-1], colour, 8 if gradient else 6)
        if stopped:
            places = [line[i] for i in (9, 6, 12, 4, 14)]  # in the middle of the first bow, or near it
            free = [place for place in places if all(math.dist(place, other) > APART for other in self.stops)]
            if free:
                self.stops.append(free[0])
                self.stop(free[0], colour)

    def stop(self, middle: Point, colour: str) -> None:
        """A ring with a bar."""
        x, y = middle
        self.draw.ellipse(self._at(x - RING, y - RING, x + RING, y + RING), "white", colour, 2 * FINE)
        self.draw.line(self._at(x - 3, y, x + 3, y), colour, 2 * FINE)

    def head(self, tip: Point, colour: str, size: float) -> None:
        """An arrow's head that points to the right."""
        x, y = tip
        self.draw.polygon(self._at(x, y, x - size, y - size / 2, x - size, y + size / 2), colour)

    def line(self, points: Sequence[Point], colour: str, width: float, dash: Dash = ()) -> None:
        """A line, solid or in dashes."""
        for piece in dashes(points, dash):
            self.draw.line([tuple(self._at(*point)) for point in piece], colour, round(width * FINE), "curve")

    def _at(self, *numbers: float) -> list[float]:
        return [FINE * (number + self.border) for number in numbers]


def dashes(points: Sequence[Point], dash: Dash) -> list[list[Point]]:
    """The pieces of a line that are drawn: dashes of even length, whatever its bends; all of it where it is solid."""
    if not dash:
        return [list(points)] if len(points) > 1 else []
    pieces, travelled, turn = [], 0.0, sum(dash)
    for (x0, y0), (x1, y1) in pairwise(points):
        length, at = math.hypot(x1 - x0, y1 - y0), 0.0
        while at < length:
            phase = (travelled + at) % turn
            end = min(at + max((dash[0] if phase < dash[0] else turn) - phase, 1e-6), length)
            if phase < dash[0]:
                pieces.append([(x0 + (x1 - x0) * u / length, y0 + (y1 - y0) * u / length) for u in (at, end)])
            at = end
        travelled += length
    return pieces


def curve(points: Sequence[Point]) -> list[Point]:
    """Through gutters in a bow, through columns straight on: the first and the last point are a box's own, and between them
    come the two ends of each bow."""
    line = [points[0]]
    for (x0, y0), (x1, y1) in zip(points[1:-1:2], points[2:-1:2], strict=True):
        bend = (x1 - x0) / 2
        for i in range(BOW + 1):
            t = i / BOW
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3  # Bernstein's polynomials
            line.append((a * x0 + b * (x0 + bend) + c * (x1 - bend) + d * x1, (a + b) * y0 + (c + d) * y1))
    return [*line, points[-1]]
