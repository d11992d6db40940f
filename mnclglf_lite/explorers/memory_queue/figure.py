"""A moment of a queue as a figure: the query, its nearest entries, the queue itself, and agreement over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...drawing import canvas, heatmap
from ...drawing.canvas import MARGIN, SMALL, TEXT, Drawing, Place, new_canvas
from ...drawing.linechart import DASHED, Chart, Line
from ...drawing.palette import AGREE, DISAGREE, FAINT, GREY, INK, ink_on
from .replay import Moment, Neighbour, QueueStory, ago

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

WIDTH = 780  # pixels
TILE, STEP = 64, 97  # side of a neighbour, and from one to the next
QUERY = 48  # side of a picture to choose
MEAN_OF = 5  # batches, of the lines of agreement (ours)
OTHERS = "#A8A8A8"  # lines of other sizes
KEY = (
    "Blue, tick, long mark below the queue: the query's class. Orange and dashed, cross, short mark: another class. "
    f"Lines: means of {MEAN_OF} batches; dot: the coming one."
)


def queue_figure(story: QueueStory, moment: Moment) -> Drawing:
    """A moment, with a place for each query that can be chosen."""
    title = f"The queue after {moment.pushed} batch{'es' * (moment.pushed != 1)}"
    sheet, draw, top = new_canvas(WIDTH, 554, title, KEY)
    tiles = canvas.pixels(story.pictures.images[story.queries])
    draw.text((MARGIN, top), "query, one of each class", INK, canvas.font(TEXT))
    places = []
    for i, (picture, tile) in enumerate(zip(story.queries, tiles, strict=True)):
        x, y = MARGIN + 3 + i * 65, top + 22
        if picture == moment.query:
            draw.rectangle((x - 3, y - 3, x + QUERY + 2, y + QUERY + 2), outline=INK, width=3)
        sheet.paste(canvas.resized(tile, QUERY), (x, y))
        colour = INK if picture == moment.query else GREY
        canvas.centred(draw, (x + QUERY / 2, y + QUERY + 4), story.name(picture), SMALL, colour, 64)
        label = f"take this {story.name(picture)} as the query"
        places.append(Place.on(sheet, f"query {i}", (x, y, QUERY, QUERY + 20), label))
    top += 104
    draw.text((MARGIN, top), f"nearest entries of the queue ({story.name(moment.query)}?)", INK, canvas.font(TEXT))
    for i, near in enumerate(moment.neighbours):
        _entry(sheet, draw, (MARGIN + 3 + i * STEP, top + 24), story, moment, near, i + 1)
    top += 156
    _blocks(draw, top, story, moment)
    _agreement(sheet, story, moment, top + 92)
    return Drawing(sheet, places=places)


def _entry(
    sheet: Image, draw: ImageDraw, corner: tuple[int, int], story: QueueStory, moment: Moment, near: Neighbour, rank: int
) -> None:
    """A neighbour with frame and mark, or a tile that says that it is none; cosine and age below."""
    (x, y), end = corner, TILE - 1
    if near.picture < 0:
        draw.rectangle((x - 3, y - 3, x + end + 3, y + end + 3), outline=GREY)
        for offset in range(-TILE, TILE, 9):  # hatched
            ends = [(x + max(0, offset), y + max(0, -offset)), (x + min(end, end + offset), y + min(end, end - offset))]
            draw.line(ends, FAINT)
        canvas.centred(draw, (x + TILE / 2, y + TILE + 4), "random start", SMALL, GREY, STEP)
    else:
        tile = canvas.resized(canvas.pixels(story.pictures.images[near.picture][None])[0], TILE)
        name = f"{rank}: {story.name(near.picture)}"
        canvas.neighbour(sheet, draw, corner, tile, story.agrees(moment, near), name, STEP)
    canvas.centred(draw, (x + TILE / 2, y + TILE + 19), f"cosine {near.cosine:.3f}", SMALL, INK, STEP)
    if near.picture >= 0:
        canvas.centred(draw, (x + TILE / 2, y + TILE + 34), ago(near.age), SMALL, GREY, STEP)


def _blocks(draw: ImageDraw, top: int, story: QueueStory, moment: Moment) -> None:
    """The places of the queue, a block a batch: how old each is, where the neighbours stand, which leaves next."""
    n = len(moment.blocks)
    text = f"the queue: {moment.size:,} places, a block for each batch of {story.batch}, numbered; the darker, the newer"
    draw.text((MARGIN, top), text, INK, canvas.font(TEXT))
    wide, y, high = WIDTH / n, top + 34, 26
    for j, batch in enumerate(moment.blocks):
        x0, x1 = MARGIN + round(j * wide), MARGIN + round((j + 1) * wide) - 1
        if batch < 0:
            draw.rectangle((x0, y, x1, y + high), "white", outline=FAINT)
            for x in range(x0 + 3, x1 - 3, 8):
                draw.line((x, y + high - 3, min(x + 6, x1 - 2), y + 3), FAINT)
            name, ink = "random", GREY
        else:
            age = (moment.pushed - 1 - batch) / max(1, n - 1)  # 0 the newest, 1 the oldest that a full queue holds
            colour = heatmap.shade(0.85 - 0.7 * age, ("#FFFFFF", AGREE))
            draw.rectangle((x0, y, x1, y + high), tuple(colour.tolist()))
            name, ink = str(batch + 1), ink_on(colour)
        if canvas.font(SMALL).getlength("random" if -1 in moment.blocks else "100") + 4 < wide:
            draw.text(((x0 + x1) / 2, y + high / 2), name, ink, canvas.font(SMALL), anchor="mm")
    x = MARGIN + (moment.pointer + 0.5) * wide
    draw.polygon([(x - 5, y - 10), (x + 5, y - 10), (x, y - 3)], INK)
    anchor, x = ("rm", x - 9) if x > WIDTH / 2 else ("lm", x + 9)
    draw.text((x, y - 8), "the next batch comes here", INK, canvas.font(SMALL), anchor=anchor)
    for near in moment.neighbours:
        x = MARGIN + (near.slot + 0.5) / moment.size * WIDTH
        if near.picture >= 0:
            colour = AGREE if story.agrees(moment, near) else DISAGREE
            draw.line((x, y + high + 2, x, y + high + (12 if story.agrees(moment, near) else 7)), colour, 2)


def _agreement(sheet: Image, story: QueueStory, moment: Moment, top: int) -> None:
    """Agreement of every size over time, this one's in front, and the present."""
    from PIL import ImageDraw

    last = story.steps - 1
    lines = {size: _running(story.agreement(size).numpy()) for size in story.sizes}
    now, times = story.agreement(moment.size).numpy(), list(range(story.steps))
    high = min(1.0, np.ceil(5 * max(*(line.max() for line in lines.values()), now.max(), story.chance) + 0.01) / 5)
    chart = Chart((MARGIN + 40, top + 26, WIDTH - 130, 150), (0, max(last, 1)), (0, high))
    drawn = [Line(times, lines[size], OTHERS) for size in story.sizes if size != moment.size]
    drawn.append(Line((0, last), (story.chance, story.chance), INK, 1.5, DASHED))
    drawn.append(Line(times, lines[moment.size], AGREE, 2.4))
    step = max(1, round(last / 8))
    chart.draw(
        sheet, drawn, None, "", [(t, str(t)) for t in range(0, last + 1, step)],
        [(y, f"{100 * y:.0f} %") for y in (0, high / 2, high)],
        "pictures of the coming batch whose nearest entry has their class, against batches pushed",
    )  # fmt: skip
    chart.upright(sheet, moment.pushed)
    chart.dot(sheet, moment.pushed, moment.agreement, AGREE, 5)
    ends = sorted([(story.chance, 0), *((lines[size][-1], size) for size in story.sizes)], reverse=True)  # from above
    heights = canvas.apart([chart.at(last, value)[1] for value, _ in ends], [13] * len(ends))
    pen = ImageDraw.Draw(sheet)
    for (_, size), y in zip(ends, heights, strict=True):
        text = f"{size:,} (now)" if size == moment.size else f"{size:,}" if size else "chance"
        colour = AGREE if size == moment.size else GREY if size else INK
        pen.text((MARGIN + WIDTH - 82, y), text, colour, canvas.font(SMALL), anchor="lm")


def _running(values: np.ndarray) -> np.ndarray:
    """Means of the last few values, fewer at the start."""
    return np.array([values[max(0, i - MEAN_OF + 1) : i + 1].mean() for i in range(len(values))])
