"""The figure of one step with what lies behind one of its boxes: the diagram above, the tensor below.

The tensor is shown as it is: rows of numbers as rows of small squares (blue above zero, orange below), feature maps as
images of their channels, views as views.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...core.errors import unknown
from ...drawing import canvas, heatmap
from ...drawing.canvas import MARGIN, SMALL, TEXT, Drawing, new_canvas
from ...drawing.palette import FAINT, GREY, INK
from ...views.view import denormalise
from .diagram import diagram
from .graph import Graph, Node
from .words import describe, describe_node, facts, name

if TYPE_CHECKING:
    from PIL.Image import Image

WIDE, HIGH = 512, 160  # pixels: the most that a heat map takes
STEP = 17  # pixels from line to line
LEFT = 270  # pixels: where the tensor's picture begins
COLOURS = "blue: above 0, orange: below; full colour from \u00b1"
CHANNELS, PICTURES = 24, 10  # of maps, of views: how many are shown at most (ours)


def step_figure(graph: Graph, title: str, picture: int = 0, show: str = "everything", chosen: str = "") -> Drawing:
    """The diagram, below it the tensor behind the node `chosen`, and both in words. "" is a network's first output."""
    if not chosen:
        chosen = next((key for key, node in graph.nodes.items() if node.names and node.kind == "call"), "loss")
    if chosen not in graph.nodes:
        raise unknown("box", chosen, graph.nodes)
    head = f"{title}: one step on {graph.pictures} pictures, {graph.progress:.0%} of the run done"
    words = f"Looking at {describe_node(graph, chosen)}\n{title}: {describe(graph)}"
    return replace(diagram(graph, picture, show, chosen, head, panel(graph, chosen, picture)), words=words)


def panel(graph: Graph, key: str, picture: int = 0) -> Image:
    """What is behind a node: what is measured of its tensor on the left, its numbers on the right."""
    node = graph.nodes[key]
    found = facts(graph, key)
    shown, caption = portrait(node, picture, graph.pictures)
    sheet, draw, top = new_canvas(LEFT + WIDE, 26 + HIGH + 2 * STEP + 4, "", "")
    draw.line((MARGIN, 6, sheet.width - MARGIN, 6), FAINT, 2)
    draw.text((MARGIN, top), name(graph, key), INK, canvas.font(TEXT + 2))
    for i, (head, value) in enumerate(found):
        y = top + 26 + STEP * i
        draw.text((MARGIN, y), head, GREY, canvas.font(SMALL))
        draw.text((MARGIN + 116, y), value, INK, canvas.font(SMALL))
    if shown:
        sheet.paste(shown, (MARGIN + LEFT, top + 26))
        if node.tensor.ndim == 2 and len(node.tensor) == graph.pictures and node.kind != "memory":  # a row is a picture
            y = top + 26 + (picture + 0.5) * shown.height / graph.pictures
            draw.polygon((MARGIN + LEFT - 10, y - 5, MARGIN + LEFT - 10, y + 5, MARGIN + LEFT - 2, y), INK)
        for i, line in enumerate(caption.split("\n")):
            draw.text((MARGIN + LEFT, top + 30 + shown.height + STEP * i), line, GREY, canvas.font(SMALL))
    return sheet


def portrait(node: Node, picture: int, pictures: int) -> tuple[Image | None, str]:
    """A tensor's numbers as a picture, and what it shows."""
    x = node.tensor
    if x.numel() == 1 or not x.is_floating_point():
        return None, ""
    if node.kind == "view":
        views = x[: min(len(x), PICTURES)]
        tiles = canvas.pixels(denormalise(views).clamp(0, 1))
        scale = max(1, min(3, WIDE // (len(tiles) * (tiles.shape[2] + 4))))
        shown = canvas.tiled([canvas.enlarged(tile, scale) for tile in tiles], len(tiles), 4)
        return shown, f"this view of the first {len(tiles)} pictures"
    if x.ndim == 4 and x.shape[-1] * x.shape[-2] > 1:
        maps = x[picture % len(x)][:CHANNELS]
        most = _limit(maps)
        scale = max(1, min(8, WIDE * 2 // (len(maps) * (maps.shape[2] + 2)), 64 // maps.shape[2]))
        tiles = [canvas.enlarged(heatmap.signed(channel.float().numpy(), most), scale) for channel in maps]
        columns = len(tiles) if len(tiles) <= 12 else -(-len(tiles) // 2)
        caption = f"picture {picture}: its first {len(maps)} of {x.shape[1]} channels\n{COLOURS}{most:.2g}"
        return canvas.tiled(tiles, columns, 4), caption
    table = x.flatten(0, -2) if x.ndim > 1 else x[None]
    part = table[:HIGH, :WIDE]
    most = _limit(part)
    across, down = max(1, min(16, WIDE // part.shape[1])), max(1, min(16, HIGH // len(part)))
    cells = heatmap.cells(heatmap.signed(part.float().numpy(), most), across, down)
    kept = [f"{some:,}" if some == all_ else f"the first {some} of {all_:,}" for some, all_ in zip(part.shape, table.shape)]  # noqa: B905
    row = ", a row for each picture" if len(table) == pictures and node.kind != "memory" else ""
    return cells, f"{kept[0]} rows of {kept[1]} numbers{row}\n{COLOURS}{most:.2g}"


def _limit(x: Tensor) -> float:
    """Where the colours end: 99 of 100 numbers lie within."""
    x = x.abs().flatten().float()
    return max(float(torch.quantile(x[:100_000], 0.99)), 1e-12)
