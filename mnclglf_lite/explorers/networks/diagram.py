"""The figure of a step's graph: networks in columns from the views to the loss, and which ways a gradient goes.

    thick solid blue     a gradient comes back this way
    thin dashed orange   none does; a ring with a bar says where one that could have gone on is stopped
    double frame         a target network, which follows another by moving average; a dotted arc shows which

Networks are frames, and every call of one is a box in its frame: boxes in one frame are the same weights, used again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.errors import InputError, unknown
from ...drawing import canvas
from ...drawing.canvas import MARGIN, SMALL, TEXT, Drawing, Place, new_canvas
from ...drawing.palette import AGREE, DISAGREE, GREY, INK
from ...drawing.strokes import DASH, FILLS, Point, Rect, Strokes, dashes
from ...views.view import denormalise
from . import layout
from .graph import Edge, Graph, Node
from .layout import PAD, Piece, Places
from .words import name

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SHOW = {"everything": None, "ways a gradient goes": True, "ways without": False}  # what is not asked for is drawn faintly
BOX, LINE = 26, 15  # pixels: height of a call's box, from one line of a heading to the next
THUMB, MANY, SMALLEST = 64, 6, 32  # pixels of the largest view; beyond MANY views pictures get smaller
LEAST = 700  # pixels of width: the legend's
ARC = (10, 7)  # pixels: how far out a column's first arc goes, and each further one


def diagram(
    graph: Graph, picture: int = 0, show: str = "everything", chosen: str = "", title: str = "", below: Image | None = None
) -> Drawing:
    """Draw a graph, with a place for each node, and `below` it another image.

    picture: which image of the batch is shown in its views. chosen: a node that gets a thick edge.
    """
    if show not in SHOW:
        raise unknown("thing to show", show, SHOW)
    if not 0 <= picture < graph.pictures:
        raise InputError(f"picture {picture} of {graph.pictures}: give a number from 0 to {graph.pictures - 1}")
    places = placed(graph)
    sheet, draw, top = new_canvas(max(LEAST, round(places.width)), round(places.height) + 2 * LINE + 12, title, "")
    strokes = Strokes(places.width, places.height, PAD)
    for lane, rects in places.lanes.items():
        for rect in rects if lane in graph.networks else ():
            strokes.frame(rect, "memory" if graph.networks[lane].holds else graph.networks[lane].learns)
    for one, twin, out in arcs(graph, places):
        strokes.arc(one, twin, out)
    wanted, points = SHOW[show], routes(graph.edges, places)
    for edge in sorted(graph.edges, key=lambda edge: (wanted is None or edge.gradient == wanted, edge.gradient)):
        faint = wanted is not None and edge.gradient != wanted
        strokes.way(points[edge.source, edge.target], edge.gradient, edge.cut not in ("", "frozen"), faint)
    for node in graph.nodes.values():
        if node.kind != "view":
            strokes.box(places.boxes[node.id], node.gradient is not None, node.id == chosen)
    sheet.paste(strokes.finished(), (MARGIN - PAD, top - PAD))
    boxes = {key: (MARGIN + x0, top + y0, MARGIN + x1, top + y1) for key, (x0, y0, x1, y1) in places.boxes.items()}
    for lane, rects in places.lanes.items():
        for number, (x0, y0, _, _) in enumerate(rects):
            for i, line in enumerate(headings(graph, lane, again=number > 0)):
                colour, size = (GREY, SMALL) if i else (INK, TEXT)
                draw.text((MARGIN + x0 + PAD, top + y0 + 4 + LINE * i), line, colour, canvas.font(size))
    for node in graph.nodes.values():
        if node.kind == "view":
            _thumb(sheet, draw, boxes[node.id], node, picture, node.id == chosen)
        else:
            _text(draw, boxes[node.id], node)
    _legend(draw, MARGIN, top + places.height + 14)
    sheet = _stacked(sheet, below) if below else sheet
    places = [Place.on(sheet, key, (x0, y0, x1 - x0, y1 - y0), name(graph, key)) for key, (x0, y0, x1, y1) in boxes.items()]
    return Drawing(sheet, places=places)


# ---- how much room things need, and where they go


def placed(graph: Graph) -> Places:
    """Where everything stands, in pixels."""
    scale = thumb_scale(graph)
    pieces = {node.id: _piece(graph, node, scale) for node in graph.nodes.values()}
    late = [node.id for node in graph.nodes.values() if node.kind in ("memory", "labels")]
    terms = [node.id for node in graph.nodes.values() if node.kind == "term" and node.id != "loss"]
    return layout.place(pieces, [(edge.source, edge.target) for edge in graph.edges], late, terms)


def routes(edges: Sequence[Edge], places: Places) -> dict[layout.Way, list[Point]]:
    """Each way's points: from the right of a box to its column's end, through its slots, and at last to the left of another
    box. Where several ways begin or end at one box they are spread, so that none hides another."""
    found: dict[layout.Way, list[Point]] = {}
    for edge in edges:
        way = (edge.source, edge.target)
        start, end = (places.boxes[key] for key in way)
        first, last = (start[1] + start[3]) / 2, (end[1] + end[3]) / 2
        slots = [point for left, right, y in places.slots[way] for point in ((left, y), (right, y))]
        begin, finish = (places.doors[edge.source][1], first), (places.doors[edge.target][0], last)
        found[way] = [(start[2], first), begin, *slots, finish, (end[0], last)]
    for key, (_, high, _, low) in places.boxes.items():
        for side, step, one, door, beyond in ((0, 6.0, 0, 1, 2), (1, 9.0, -1, -2, -3)):
            ways = sorted((way for way in found if way[side] == key), key=lambda way, at=beyond: found[way][at][1])
            apart = min(step, (low - high - 8) / max(1, len(ways) - 1))
            for i, way in enumerate(ways):
                for point in (one, door):
                    x, y = found[way][point]
                    found[way][point] = (x, y + apart * (i - (len(ways) - 1) / 2))
    return found


def arcs(graph: Graph, places: Places) -> list[tuple[Rect, Rect, float]]:
    """The frames of networks and of their target networks in the same column, and how far out the arc between them goes."""
    pairs = [
        (one, twin)
        for path, network in graph.networks.items()
        for twin in places.lanes.get(path, ())
        for one in places.lanes.get(network.follows, ())
        if one[0] == twin[0]
    ]
    pairs.sort(key=lambda pair: abs(pair[0][1] - pair[1][1]))  # the shortest inside
    count: dict[float, int] = {}
    found = []
    for one, twin in pairs:
        number = count[one[0]] = count.get(one[0], -1) + 1
        found.append((one, twin, ARC[0] + ARC[1] * number))
    return found


def thumb_scale(graph: Graph) -> float:
    """How much larger than itself a view is shown: the same for all, so that smaller ones look smaller."""
    sides = [node.tensor.shape[-1] for node in graph.nodes.values() if node.kind == "view"]
    most = THUMB if len(sides) <= MANY else SMALLEST
    return most // max(sides) if max(sides) <= most else most / max(sides)


def _piece(graph: Graph, node: Node, scale: float) -> Piece:
    lane = f"views {shape(node.tensor.shape)}" if node.kind == "view" else node.network
    lines = headings(graph, lane) if lane else []
    heading, wide = LINE * len(lines) + 6 if lines else 0, _width(lines) + 2 * PAD + 4
    if node.kind == "view":
        side = round(node.tensor.shape[-1] * scale)
        return Piece(26 + side, side, lane, heading, wide)
    lines = _lines(node)
    if node.kind in ("term", "value", "labels"):
        return Piece(20 + _width(lines), max(LINE * len(lines) + 10, 11 * len(graph.into(node.id))))
    return Piece(30 + sum(canvas.font(TEXT).getlength(line) for line in lines), BOX, lane, heading, wide)


def _width(lines: Sequence[str]) -> float:
    return max((canvas.font(SMALL if i else TEXT).getlength(line) for i, line in enumerate(lines)), default=0.0)


# ---- what is written


def headings(graph: Graph, lane: str, again: bool = False) -> list[str]:
    """The lines above a lane; `again` above a second lane of the same network, in another column."""
    if lane not in graph.networks:
        return ["views", lane.removeprefix("views ")]
    network = graph.networks[lane]
    if again:
        return [lane, "the same weights again"]
    if network.holds:
        takes = f"then takes {', '.join(network.takes)}" if network.takes else "stands still"
        return [lane, f"holds {shape(network.holds)}", takes]
    learns = {"gradient": "learns by gradient", "moving average": f"follows, {network.momentum:.3g}"}
    return [lane, network.what, f"{network.parameters:,} numbers", learns.get(network.learns, "learns nothing")]


def shape(sizes: Sequence[int]) -> str:
    """(32, 128) as it is written in code."""
    return str(tuple(sizes))


def _lines(node: Node) -> list[str]:
    """What stands in a node's box: a call's and a memory's side by side, others' below one another."""
    if node.kind == "term":
        value = f"{float(node.tensor):.3f}"
        return [node.label, value] if node.id == "loss" else [node.label, value, f"counts {node.gradient or 0:.3g}"]
    if node.kind in ("value", "labels"):
        return [node.label, shape(node.tensor.shape)]
    if node.kind == "memory":
        return [shape(node.tensor.shape), "" if node.network else node.label]
    return [f"{node.method}: {shape(node.gives[-1])}" if node.method else shape(node.gives[-1]), node.label]


def _text(draw: ImageDraw, box: Rect, node: Node) -> None:
    x0, y0, x1, y1 = box
    lines, middle = _lines(node), (y0 + y1) / 2
    if node.kind in ("call", "memory"):
        draw.text((x0 + 7, middle), lines[0], GREY, canvas.font(SMALL), anchor="lm")
        draw.text((x1 - 7, middle), lines[1], INK, canvas.font(TEXT), anchor="rm")
        return
    for i, line in enumerate(lines):
        y = middle + LINE * (i - (len(lines) - 1) / 2)
        draw.text(((x0 + x1) / 2, y), line, INK, canvas.font(SMALL if i else TEXT), anchor="mm")


def _thumb(sheet: Image, draw: ImageDraw, box: Rect, node: Node, picture: int, chosen: bool) -> None:
    tile, side = canvas.pixels(denormalise(node.tensor[picture : picture + 1]).clamp(0, 1))[0], round(box[3] - box[1])
    x, y = round(box[2]) - side, round(box[1])
    if chosen:
        draw.rectangle((x - 3, y - 3, x + side + 2, y + side + 2), INK)
    sheet.paste(canvas.resized(tile, side), (x, y))
    draw.text((box[0] + 2, (box[1] + box[3]) / 2), node.label, INK, canvas.font(TEXT), anchor="lm")


def _stacked(above: Image, below: Image) -> Image:
    from PIL import Image

    sheet = Image.new("RGB", (max(above.width, below.width), above.height + below.height), "white")
    sheet.paste(above, (0, 0))
    sheet.paste(below, (0, above.height))
    return sheet


def _legend(draw: ImageDraw, x: float, y: float) -> None:
    """What the lines mean."""

    def say(text: str, at: float) -> float:
        draw.text((at, y), text, INK, canvas.font(SMALL), anchor="lm")
        return at + canvas.font(SMALL).getlength(text) + 26

    draw.line((x, y, x + 34, y), AGREE, 3)
    at = say("a gradient comes back this way", x + 42)
    for piece in dashes([(at, y), (at + 34, y)], DASH):
        draw.line(piece, DISAGREE, 2)
    at = say("no gradient", at + 42)
    draw.ellipse((at, y - 6, at + 12, y + 6), "white", DISAGREE, 2)
    draw.line((at + 3, y, at + 9, y), DISAGREE, 2)
    say("stopped here: detach, no_grad, or no derivative", at + 18)
    y += LINE + 4
    draw.rectangle((x, y - 6, x + 34, y + 6), FILLS["moving average"], DISAGREE)
    draw.rectangle((x + 3, y - 3, x + 31, y + 3), outline=DISAGREE)
    at = say("a twin: follows another network, and keeps so much of itself", x + 42)
    draw.rectangle((at, y - 6, at + 34, y + 6), FILLS["gradient"], AGREE, 2)
    say("boxes in one frame: the same weights, used again", at + 42)
