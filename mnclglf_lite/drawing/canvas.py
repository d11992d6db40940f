"""What pictures are drawn with: pixels from any array, a sheet with title and note, frames, marks."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InputError
from .palette import GREY, INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

MARGIN = 14  # pixels of white around everything
TITLE, TEXT, SMALL = 17, 13, 12  # pixels, heights of the letter sizes


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


LIGHT = 100_000  # bytes of a PNG (ours): ten of them in a notebook stay under a megabyte


def light(data: bytes) -> bytes:
    """A PNG as it is, or in 256 colours where it is large: a third of the bytes, and no difference that an eye would see."""
    if len(data) <= LIGHT:
        return data
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        return png(picture.convert("RGB").quantize(256, dither=Image.Dither.NONE))


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
    """A frame two pixels wide, whole or broken; an edge in another colour makes it show on any picture."""
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


def ink_on(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 110 else "white"


def badge(draw: ImageDraw, corner: tuple[int, int], colour: str, tick: bool) -> None:
    """A tick or a cross, white on a disc."""
    x, y = corner
    draw.ellipse((x, y, x + 14, y + 14), colour, outline="white")
    strokes = [(3, 7, 6, 10), (6, 10, 11, 4)] if tick else [(4, 4, 10, 10), (4, 10, 10, 4)]
    for x0, y0, x1, y1 in strokes:
        draw.line((x + x0, y + y0, x + x1, y + y1), "white", 2)
