"""What figures are drawn with: pixels from any array, a sheet with title and note, frames, marks; and what comes out."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InputError
from .palette import AGREE, DISAGREE, GREY, INK, ink_on

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

MARGIN = 14  # pixels of white around everything
TITLE, TEXT, SMALL = 17, 13, 12  # pixels, heights of the letter sizes

Box = tuple[float, float, float, float]  # left, top, width, height


@dataclass(frozen=True)
class Place:
    """A part of a figure that can be clicked: by mouse, or by Tab and Enter."""

    name: str  # what `Explorer.chosen` becomes
    box: Box  # as shares of the figure's sides
    label: str  # what a screen reader says, and the mouse shows

    @classmethod
    def on(cls, sheet: Image, name: str, box: Box, label: str) -> Place:
        """A place whose box is given in the sheet's pixels."""
        return cls(name, tuple(side / whole for side, whole in zip(box, 2 * sheet.size, strict=True)), label)


@dataclass(frozen=True)
class Drawing:
    """A figure, the places on it that can be clicked, and the same in words."""

    picture: Image | Figure
    words: str = ""  # the state, in words: changes with every control
    alt: str = ""  # what kind of figure it is, in a sentence
    places: Sequence[Place] = ()


def array(x: object) -> np.ndarray:
    """A tensor of any device, or anything array-like, as an array."""
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)


def pixels(images: object) -> np.ndarray:
    """Pictures as uint8 (N, H, W, 3): from uint8, or float in [0, 1], tensors or arrays (N, 3, H, W)."""
    x = array(images)
    if x.ndim != 4 or x.shape[1] != 3 or not x.size:
        raise InputError(f"pictures must be (N, 3, H, W) with N >= 1; got shape {x.shape}")
    if x.dtype != np.uint8:
        if not np.issubdtype(x.dtype, np.floating):
            raise InputError(f"pictures must be uint8, or float in [0, 1]; got {x.dtype}")
        if not (x.min() >= -1e-3 and x.max() <= 1 + 1e-3):  # false for NaN too
            raise InputError(
                f"float pictures must lie in [0, 1]; got {x.min():.2f} to {x.max():.2f}: "
                "a normalised view goes through view.denormalise first"
            )
        x = np.rint(x.clip(0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))  # (N, 3, H, W) -> (N, H, W, 3)


def png(picture: Figure | Image) -> bytes:
    """A picture as PNG bytes: what an Image widget or a page takes. The same picture gives the same bytes."""
    buffer = io.BytesIO()
    if hasattr(picture, "savefig"):
        picture.savefig(buffer, format="png", dpi=144, metadata={"Software": None})
    else:
        picture.save(buffer, "PNG", compress_level=3)  # two thirds of the time of 6, a tenth more bytes (measured)
    return buffer.getvalue()


def css_width(picture: Figure | Image) -> int:
    """Pixels at which a page shows a figure: plots have two pixels to a CSS pixel (`png`), so that text is sharp."""
    return round(96 * picture.get_size_inches()[0]) if hasattr(picture, "savefig") else picture.width


LIGHT = 100_000  # bytes of a PNG (ours): ten of them in a notebook stay under a megabyte


def light(data: bytes) -> bytes:
    """A PNG as it is, or in 256 colours where it is large: a third of the bytes, and no difference that an eye would see."""
    if len(data) <= LIGHT:
        return data
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        return png(picture.convert("RGB").quantize(256, dither=Image.Dither.NONE))


def mimebundle(data: bytes, width: int, text: str) -> tuple[dict[str, str], dict[str, dict[str, object]]]:
    """PNG bytes as IPython takes them, data and metadata, with `text` for those who cannot see them."""
    shown = {"text/plain": text, "image/png": base64.b64encode(light(data)).decode()}
    return shown, {"image/png": {"width": width, "alt": text}}


@functools.lru_cache
def font(size: int):
    from PIL import ImageFont

    return ImageFont.load_default(size)


def new_canvas(width: int, height: int, title: str, note: str) -> tuple[Image, ImageDraw, int]:
    """A white sheet with room for `width` x `height`, its pen, and the y where the room begins."""
    from PIL import Image, ImageDraw

    lines = wrapped(note, SMALL, max(width, 200))
    wide = max(width, *(int(font(SMALL).getlength(text)) for text in lines or [""]))
    wide = max(wide, int(font(TITLE).getlength(title)))
    top = MARGIN + (TITLE + 14 if title else 0)
    below = 8 + len(lines) * (SMALL + 4) if lines else 0
    sheet = Image.new("RGB", (wide + 2 * MARGIN, top + height + below + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 3), title, INK, font(TITLE))
    for i, text in enumerate(lines):
        draw.text((MARGIN, top + height + 8 + i * (SMALL + 4)), text, GREY, font(SMALL))
    return sheet, draw, top


def wrapped(text: str, size: int, width: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and font(size).getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def enlarged(tile: np.ndarray, scale: int) -> Image:
    """(H, W, 3), every pixel a square of `scale` pixels; not smoothed: we see what the network sees."""
    from PIL import Image

    size = (tile.shape[1] * scale, tile.shape[0] * scale)
    return Image.fromarray(tile).resize(size, Image.Resampling.NEAREST)


def resized(tile: np.ndarray, side: int) -> Image:
    """(H, W, 3) as a square of `side` pixels: enlarged without smoothing, or made smaller by means."""
    from PIL import Image

    how = Image.Resampling.NEAREST if side >= tile.shape[1] else Image.Resampling.BOX
    return Image.fromarray(np.ascontiguousarray(tile)).resize((side, side), how)


def tiled(tiles: Sequence[Image], columns: int, gap: int = 0) -> Image:
    """Images of one size in rows of `columns`, on white."""
    from PIL import Image

    width, height = tiles[0].width + gap, tiles[0].height + gap
    sheet = Image.new("RGB", (columns * width - gap, -(-len(tiles) // columns) * height - gap), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (i % columns * width, i // columns * height))
    return sheet


def fitting(draw: ImageDraw, text: str, size: int, width: float) -> str:
    """The text, its end cut off where it is too long."""
    if draw.textlength(text, font(size)) <= width:
        return text
    while text and draw.textlength(text + "...", font(size)) > width:
        text = text[:-1]
    return text + "..."


def centred(draw: ImageDraw, top: tuple[float, float], text: str, size: int, colour: str, width: float) -> None:
    """Text around the middle of its upper edge, cut to `width`."""
    draw.text(top, fitting(draw, text, size, width), colour, font(size), anchor="ma")


def frame(draw: ImageDraw, box: tuple[float, float, float, float], colour: str, dash: bool, edge: str = "") -> None:
    """A frame two pixels wide, solid or dashed; an edge in another colour makes it show on any image."""
    x0, y0, x1, y1 = (round(v) for v in box)
    if edge:
        draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=edge)
        draw.rectangle((x0 + 2, y0 + 2, x1 - 2, y1 - 2), outline=edge)
    draw.rectangle((x0, y0, x1, y1), outline="white" if dash else colour, width=2)
    if dash:
        for x in range(x0, x1 + 1, 9):
            for y in (y0, y1 - 1):
                draw.rectangle((x, y, min(x + 5, x1), y + 1), colour)
        for y in range(y0, y1 + 1, 9):
            for x in (x0, x1 - 1):
                draw.rectangle((x, y, x + 1, min(y + 5, y1)), colour)


def tag(draw: ImageDraw, corner: tuple[float, float], letter: str, colour: str) -> None:
    """A letter, or a few, on a block of its colour."""
    x, y = (round(v) for v in corner)
    width = tag_width(letter)
    draw.rectangle((x, y, x + width - 1, y + 15), colour, outline=INK)
    draw.text((x + width / 2, y + 8), letter, ink_on(colour), font(TEXT), anchor="mm")


def tag_width(letter: str) -> int:
    """Pixels across a tag: 16 for one letter."""
    return 16 if len(letter) == 1 else round(font(TEXT).getlength(letter)) + 6


def badge(draw: ImageDraw, corner: tuple[int, int], colour: str, tick: bool) -> None:
    """A tick or a cross, white on a disc."""
    x, y = corner
    draw.ellipse((x, y, x + 14, y + 14), colour, outline="white")
    strokes = [(3, 7, 6, 10), (6, 10, 11, 4)] if tick else [(4, 4, 10, 10), (4, 10, 10, 4)]
    for x0, y0, x1, y1 in strokes:
        draw.line((x + x0, y + y0, x + x1, y + y1), "white", 2)


def neighbour(
    sheet: Image, draw: ImageDraw, corner: tuple[int, int], tile: Image, same: bool, name: str, room: int
) -> None:  # fmt: skip
    """A neighbour in a strip, its name below on `room` pixels. The query's class: blue frame, tick. Another: dashed orange
    frame, cross."""
    (x, y), colour = corner, AGREE if same else DISAGREE
    frame(draw, (x - 3, y - 3, x + tile.width + 2, y + tile.height + 2), colour, dash=not same)
    sheet.paste(tile, (x, y))
    badge(draw, (x + tile.width - 15, y + tile.height - 15), colour, same)
    centred(draw, (x + tile.width / 2, y + tile.height + 3), name, SMALL, colour, room)


def apart(wanted: Sequence[float], gaps: Sequence[float], low: float = -np.inf, high: float = np.inf) -> list[float]:
    """Places as near as can be (least squares) to those wanted, each at least its gap after the one before, within bounds.

    gaps: one a place; that of the first is not looked at. By pooling adjacent violators, as in isotonic regression.
    """
    shift = np.cumsum([0.0, *gaps[1:]])[: len(wanted)].tolist()
    pools: list[list[float]] = []  # [sum, count] of what the gaps leave to choose: places that must share one value
    for place, moved in zip(wanted, shift, strict=True):
        pools.append([place - moved, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            total, count = pools.pop()
            pools[-1] = [pools[-1][0] + total, pools[-1][1] + count]
    most = high - max(shift, default=0.0)
    free = [max(low, min(most, total / count)) for total, count in pools for _ in range(int(count))]
    return [place + moved for place, moved in zip(free, shift, strict=True)]
