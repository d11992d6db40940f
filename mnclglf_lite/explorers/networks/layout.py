"""Where the boxes of a graph go: in columns from left to right, so that lines are short and few of them cross.

    1  column      one more than the last of what a box is made of; what only leads on stands just before what it leads to
    2  lanes       boxes that belong together (calls of one network) stand under one another, with room for a heading
    3  order       as few crossings as possible (`ordered`)
    4  height      as near to the neighbours as the order and the gaps allow: least squares with a fixed order (pooling)

A line over several columns gets a slot in each of those between, so that it runs through no box and no text. This is the
method of Sugiyama, Tagawa and Toda (1981) with lanes; the pooling in step 4 is that of isotonic regression.

Step 3 tries two ways and keeps the better result: every lane goes to the mean rank of its neighbours, column after column,
forth and back (barycentres); and neighbours change places as long as that pays. A lane stays together. Where nothing is
to be gained, boxes stay in the order in which they were made, the one that a reader knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from ...drawing.canvas import apart
from ...drawing.strokes import Rect

ORDER_SWEEPS = 12  # forth and back (ours: the pictures no longer change)
SLOT = 12  # pixels of height for a line that passes a column
MOVED = 0.1  # of a crossing: what it costs when two boxes leave the order in which they were made (ours)


@dataclass
class Item:
    """A box in a column, or the slot of a line that passes by."""

    key: str
    column: int
    height: float
    lane: str = ""
    above: float = 0.0  # room for a heading, in the first box of a lane
    near: list[Item] = field(default_factory=list)  # in the column before and in the one behind
    y: float = 0.0  # of its middle


def crossings(rows: Sequence[Sequence[Item]]) -> int:
    """How many pairs of lines between neighbouring columns cross."""
    total = 0
    for row, following in pairwise(rows):
        rank = {id(item): i for i, item in enumerate(following)}
        lines = [(i, rank[id(n)]) for i, item in enumerate(row) for n in item.near if n.column == item.column + 1]
        total += sum((a - c) * (b - d) < 0 for i, (a, b) in enumerate(lines) for c, d in lines[:i])
    return total


def ordered(rows: list[list[Item]]) -> list[list[Item]]:
    """The columns in their best order: few crossings, and little moved from the order in which things were made."""
    start = [_by_lane(row, {id(item): i for i, item in enumerate(row)}) for row in rows]
    first = {id(item): i for row in start for i, item in enumerate(row)}

    def cost(some: list[list[Item]]) -> float:
        pairs = ((a, b) for row in some for i, b in enumerate(row) for a in row[:i] if a.height != SLOT)
        return crossings(some) + MOVED * sum(first[id(a)] > first[id(b)] for a, b in pairs)

    found = [_swapped(start, cost)]
    rows = [list(row) for row in start]
    for sweep in range(ORDER_SWEEPS):
        forward = sweep % 2 == 0
        for c in range(1, len(rows)) if forward else range(len(rows) - 2, -1, -1):
            rows[c] = _by_lane(rows[c], _wishes(rows[c], rows[c - 1 if forward else c + 1]))
        found.append([list(row) for row in rows])
    best = min(found, key=cost)
    return min(best, _swapped(best, cost), key=cost)


def _wishes(row: list[Item], beside: list[Item]) -> dict[int, float]:
    """Where each box of a column would like to be: at the mean rank of its neighbours in another."""
    rank = {id(item): i for i, item in enumerate(beside)}
    found = {}
    for i, item in enumerate(row):
        ranks = [rank[id(n)] for n in item.near if id(n) in rank]
        found[id(item)] = sum(ranks) / len(ranks) if ranks else i * len(beside) / len(row)
    return found


def _swapped(rows: list[list[Item]], cost: Callable[[list[list[Item]]], float]) -> list[list[Item]]:
    """Lanes that are neighbours, and boxes in them, change places as long as it pays."""
    rows = [list(row) for row in rows]
    least = cost(rows)
    better = True
    while better:
        better = False
        for c, row in enumerate(rows):
            groups = [list(group) for _, group in groupby(row, key=lambda item: item.lane or id(item))]
            tries = [groups[:i] + [groups[i + 1], groups[i]] + groups[i + 2 :] for i in range(len(groups) - 1)]
            for g, group in enumerate(groups):
                for i in range(len(group) - 1):
                    inner = group[:i] + [group[i + 1], group[i]] + group[i + 2 :]
                    tries.append(groups[:g] + [inner] + groups[g + 1 :])
            for attempt in tries:
                rows[c] = [item for group in attempt for item in group]
                if (now := cost(rows)) < least:
                    least, better = now, True
                    break
                rows[c] = row
    return rows


def _by_lane(row: list[Item], wish: dict[int, float]) -> list[Item]:
    """A column in the order of wishes, where a lane stays together and goes to the mean of its boxes' wishes."""
    lanes: dict[str, list[Item]] = {}
    for item in row:
        lanes.setdefault(item.lane or f"alone {id(item)}", []).append(item)
    for members in lanes.values():
        members.sort(key=lambda item: wish[id(item)])
    groups = sorted(lanes.values(), key=lambda members: sum(wish[id(m)] for m in members) / len(members))
    return [item for members in groups for item in members]


# ---- the heights, and everything in pixels

SWEEPS = 24  # through all columns, for the heights (ours: the pictures no longer change)
GAP, LANE_GAP = 8, 20  # pixels: between boxes of a lane, between lanes
GUTTER, LINE = (38, 96), 2  # between columns, at least and at most, and what a line through it adds
PAD = 7  # pixels around the boxes of a lane

Way = tuple[str, str]


@dataclass(frozen=True)
class Piece:
    """A box to be placed: its size, and the lane it belongs to with the lane's heading; without one it stands alone."""

    width: float
    height: float
    lane: str = ""
    heading: float = 0.0  # pixels of height that the lane needs above its first box
    lane_width: float = 0.0  # pixels that its heading needs


@dataclass
class Places:
    """Where everything stands, in pixels from the left upper corner."""

    boxes: dict[str, Rect]
    doors: dict[str, tuple[float, float]]  # left and right end of each box's column
    lanes: dict[str, list[Rect]]  # a network that is called in two columns has two lanes
    slots: dict[Way, list[tuple[float, float, float]]]  # of a long way: left, right and height where it passes a column
    width: float
    height: float


def columns(keys: Sequence[str], ways: Sequence[Way], last: Sequence[str] = ()) -> dict[str, int]:
    """The column of each box; those in `last` share one."""
    found = dict.fromkeys(keys, 0)
    for _ in keys:  # the longest way to each: at most as many rounds as there are boxes
        before = dict(found)
        for source, target in ways:
            found[target] = max(found[target], found[source] + 1)
        if last:
            found |= dict.fromkeys(last, max(found[key] for key in last))
        if found == before:
            break
    return found


def place(pieces: Mapping[str, Piece], ways: Sequence[Way], late: Sequence[str] = (), last: Sequence[str] = ()) -> Places:
    """Place the pieces. `late` ones stand in the column before what they lead to; `last` ones in one column."""
    column = columns(list(pieces), ways, last)
    for key in late:
        ahead = [column[target] for source, target in ways if source == key]
        column[key] = max(0, min(ahead, default=1) - 1)
    items = {key: Item(key, column[key], piece.height, piece.lane) for key, piece in pieces.items()}
    rows: list[list[Item]] = [[] for _ in range(max(column.values(), default=0) + 1)]
    for key in pieces:
        rows[column[key]].append(items[key])
    chains: dict[Way, list[Item]] = {}
    for way in ways:
        chain = [items[way[0]]]
        for between in range(column[way[0]] + 1, column[way[1]]):
            chain.append(Item(f"{way}", between, SLOT))
            rows[between].append(chain[-1])
        chain.append(items[way[1]])
        chains[way] = chain
        for a, b in pairwise(chain):
            a.near.append(b)
            b.near.append(a)
    rows = ordered(rows)
    _heights(rows, pieces)
    return _measured(rows, pieces, chains)


def _heights(rows: list[list[Item]], pieces: Mapping[str, Piece]) -> None:
    """Middles of all boxes: as near as can be to the mean of their neighbours."""
    distances = [_distances(row, pieces) for row in rows]
    for row, gaps in zip(rows, distances, strict=True):
        y = 0.0
        for item, step in zip(row, gaps, strict=True):
            y += step
            item.y = y
    for sweep in range(SWEEPS):
        for row, gaps in zip(*((rows, distances) if sweep % 2 else (rows[::-1], distances[::-1])), strict=True):
            wishes = [sum(n.y for n in item.near) / len(item.near) if item.near else item.y for item in row]
            for item, y in zip(row, apart(wishes, gaps), strict=True):
                item.y = y


def _distances(row: list[Item], pieces: Mapping[str, Piece]) -> list[float]:
    """How far each middle must lie below the one before it, at least."""
    found = []
    for i, item in enumerate(row):
        before = row[i - 1] if i else None
        same = before is not None and item.lane and before.lane == item.lane
        item.above = 0.0 if same or not item.lane else pieces[item.key].heading
        if before is None:
            found.append(item.above + item.height / 2)
            continue
        gap = GAP if same else LANE_GAP if item.lane or before.lane else 2 if item.height == before.height == SLOT else GAP
        pads = 0 if same else PAD * (bool(item.lane) + bool(before.lane))
        found.append(before.height / 2 + gap + pads + item.above + item.height / 2)
    return found


def _measured(rows: list[list[Item]], pieces: Mapping[str, Piece], chains: Mapping[Way, list[Item]]) -> Places:
    """Columns get their widths, and everything its rectangle."""
    top = min((i.y - i.height / 2 - i.above - (PAD if i.lane else 0) for row in rows for i in row), default=0.0)
    boxes: dict[str, Rect] = {}
    doors: dict[str, tuple[float, float]] = {}
    lanes: dict[str, list[Rect]] = {}
    left, edges = 0.0, []
    for row in rows:
        own = [pieces[i.key] for i in row if i.key in pieces]
        width = max((max(p.width + 2 * PAD * bool(p.lane), p.lane_width) for p in own), default=0.0)
        edges.append((left, left + width))
        for item in row:
            item.y -= top
            if item.key in pieces:
                wide = width - 2 * PAD if item.lane else pieces[item.key].width
                x = left + (width - wide) / 2
                doors[item.key] = edges[-1]
                boxes[item.key] = (x, item.y - item.height / 2, x + wide, item.y + item.height / 2)
        for lane, group in groupby(row, key=lambda item: item.lane):
            members = list(group)
            if lane:
                first, final = members[0], members[-1]
                high = first.y - first.height / 2 - first.above - PAD
                lanes.setdefault(lane, []).append((left, high, left + width, final.y + final.height / 2 + PAD))
        lines = sum(n.column == i.column + 1 for i in row for n in i.near)
        gutter = min(GUTTER[1], GUTTER[0] + LINE * lines)
        left += width + gutter
    slots = {way: [(*edges[item.column], item.y) for item in chain[1:-1]] for way, chain in chains.items()}
    bottom = max((i.y + i.height / 2 + (PAD if i.lane else 0) for row in rows for i in row), default=0.0)
    return Places(boxes, doors, lanes, slots, left - gutter, bottom)
