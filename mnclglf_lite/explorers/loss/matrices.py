"""Matrices as figures: cells in their colours, with numbers where there is room for them and arrows where there is not.

Rows are anchors; what is outlined belongs together, and what is hatched does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...drawing import canvas, heatmap
from ...drawing.canvas import SMALL, TEXT
from ...drawing.palette import FAINT, GREY, INK, ink_on
from .batch import Batch
from .pairs import BOTH_SIDES, SOFT, Table

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SIMILARITY, SOFTMAX, TARGET = "#332288", "#117733", "#882255"  # deep ends of ramps from white (Paul Tol's muted set)
LEGIBLE = 27  # pixels: cells this wide show their number
THUMBNAIL = 14  # pixels: columns this wide show their picture


@dataclass(frozen=True, eq=False)
class Panel:
    """One matrix: what is shown, and how a number becomes a colour and a text."""

    name: str
    texts: list[list[str]]  # R rows of C
    pixels: np.ndarray  # uint8 (R, C, 3), the cells' colours
    blank: np.ndarray  # bool (R, C), cells that do not count
    outlined: np.ndarray  # bool (R, C)
    arrows: np.ndarray | None = None  # (R, C) from -1, the largest downwards, to 1, the largest upwards


def panels_of(table: Table) -> list[Panel]:
    """Similarity, target where a teacher sets it, softmax where there is one, pull and push."""
    s, gradient = table.similarity.numpy(), table.gradient.numpy()
    unused, outlined = table.unused.numpy(), table.positive.numpy()
    itself = unused if table.name in BOTH_SIDES else np.zeros_like(unused)  # others have a cosine, used or not

    def panel(name: str, words, values: np.ndarray, colours: np.ndarray, blank: np.ndarray, arrows=None):
        texts = [[words(x) for x in row] for row in values]
        return Panel(name, texts, np.where(blank[..., None], np.uint8(255), colours), blank, outlined, arrows)

    def ramp(shares: np.ndarray, deep: str) -> np.ndarray:
        return heatmap.shade(shares.clip(0, 1), ("#FFFFFF", deep))

    # squares and roots: most cosines lie near 0, most shares too, and are to be told apart there
    panels = [panel("cosine similarity s", cosine_text, s, ramp(((s + 1) / 2) ** 2, SIMILARITY), itself)]
    if table.name in SOFT:
        target = table.target.numpy()
        panels.append(panel("target, % of each row", percent_text, target, ramp(np.sqrt(target), TARGET), unused))
    if table.probability is not None:
        p = table.probability.numpy()
        panels.append(panel("softmax, % of each row", percent_text, p, ramp(np.sqrt(p), SOFTMAX), unused))
    pull = -np.sign(gradient) * np.sqrt(np.abs(gradient) / max(np.abs(gradient).max(), 1e-300))  # -1 to 1
    return [*panels, panel("pull and push, dL/ds", signed_text, gradient, heatmap.signed(pull, 1.0), unused, pull)]


def draw_panel(sheet: Image, draw: ImageDraw, panel: Panel, corner: tuple[int, int], cell: tuple[int, int]) -> None:
    """The cells of a panel, `cell` = (width, height) pixels each."""
    (left, top), (wide, high) = corner, cell
    rows, columns = panel.blank.shape
    sheet.paste(heatmap.cells(panel.pixels, wide, high), (left, top))
    ink = ink_on(panel.pixels)
    font, both = canvas.font(SMALL - 1), panel.arrows is not None and high >= 24
    for i in range(rows):
        for j in range(columns):
            x, y = left + j * wide, top + i * high
            if panel.blank[i, j]:
                if wide >= 6:
                    draw.line((x + 2, y + high - 2, x + wide - 2, y + 2), GREY)
            elif wide >= LEGIBLE:
                text = panel.texts[i][j].lstrip("-") if both else panel.texts[i][j]  # the arrow is the sign
                draw.text((x + wide / 2, y + high * (0.66 if both else 0.5)), text, ink[i][j], font, anchor="mm")
                if both and text != "0":
                    arrow(draw, (x + wide / 2, y + high * 0.26), 4, panel.arrows[i, j] > 0, ink[i][j])
            elif panel.arrows is not None and wide >= 8 and abs(panel.arrows[i, j]) > 0.12:
                size = max(2, 0.36 * min(wide, high) * abs(panel.arrows[i, j]))
                arrow(draw, (x + wide / 2, y + high / 2), size, panel.arrows[i, j] > 0, ink[i][j])
    if wide < 6:
        draw.rectangle((left - 1, top - 1, left + columns * wide, top + rows * high), outline=FAINT)
    for i, j in np.argwhere(panel.outlined):
        x, y = left + j * wide, top + i * high
        draw.rectangle((x, y, x + wide, y + high), outline=INK, width=2 if wide >= 10 else 1)


def arrow(draw: ImageDraw, centre: tuple[float, float], size: float, up: bool, colour: str) -> None:
    """A triangle: upwards, the similarity is to grow; downwards, it is to fall."""
    (x, y), tip = centre, -size if up else size
    draw.polygon([(x - size, y - tip / 2), (x + size, y - tip / 2), (x, y + tip)], colour)


def row_head(
    sheet: Image, draw: ImageDraw, corner: tuple[int, int], name: str, picture: np.ndarray | None, high: int, chosen: bool
) -> None:
    """A row's name, inverted if chosen, and its picture."""
    x, y = corner
    if chosen:
        draw.rectangle((x, y, x + 23, y + high - 1), INK)
    draw.text((x + 12, y + high / 2), name, "white" if chosen else INK, canvas.font(min(SMALL, high)), anchor="mm")
    if picture is not None:
        sheet.paste(canvas.resized(picture, high - 1), (x + 25, y))


def column_heads(
    sheet: Image, draw: ImageDraw, corner: tuple[int, int], names: Sequence[str], batch: Batch, wide: int
) -> None:
    """Names, where they fit, else what the columns are; thumbnails above, where they can be told."""
    left, top = corner
    font = canvas.font(SMALL if wide >= 22 else SMALL - 2)
    fit = all(font.getlength(name) < wide for name in names)
    for j, name in enumerate(names):
        x = left + j * wide
        if fit:
            draw.text((x + wide / 2, top - 3), name, INK, font, anchor="ms")
        elif j == 0 and name != "own" or name in ("A2", "q1"):  # a lone outlined column leaves no room for "own"
            text = "the queue" if name == "q1" else f"views {name[1]}"
            draw.text((x + 1, top - 3), text, INK, canvas.font(SMALL), anchor="ls")
        if wide >= THUMBNAIL and (picture := shown(batch, name)) is not None:
            side = min(wide, 32) - 1
            sheet.paste(canvas.resized(picture, side), (x + (wide - side) // 2, top - 16 - side))


def shown(batch: Batch, name: str) -> np.ndarray | None:
    """The picture behind a head, uint8 (H, W, 3), if there is one: a view, or an entry of the queue."""
    if name.startswith("q"):
        pictures, at = batch.shown_queue, int(name[1:]) - 1
    else:
        pictures, at = batch.shown, -1 if name == "own" else batch.letters.index(name[0]) + len(batch) * (name[1] == "2")
    return None if pictures is None or at < 0 else pictures[at].numpy().transpose(1, 2, 0)


def title_room(batch: Batch, wide: int) -> int:
    """Pixels above a panel: its name, thumbnails, heads of columns."""
    return TEXT + 10 + 16 + (min(wide, 32) if batch.shown is not None and wide >= THUMBNAIL else 0)


# ---- numbers as short texts


def cosine_text(x: float) -> str:
    return f"{x + 0.0:.2f}".replace("0.", ".").replace("-.00", ".00")


def percent_text(p: float) -> str:
    return f"{100 * p:.0f}" if p >= 0.0095 else f"{100 * p:.1f}".replace("0.", ".") if p >= 0.0005 else "0"


def signed_text(g: float) -> str:
    """Two or three digits, with a sign where it is negative: a plus would cost room."""
    size = abs(g)
    if size < 0.0005:
        return "0"
    text = f"{size:.3f}".lstrip("0") if size < 0.0995 else f"{size:.2f}".lstrip("0") if size < 0.995 else f"{size:.1f}"
    return f"-{text}" if g < 0 else text
