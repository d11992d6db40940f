"""In which order boxes stand in their columns, so that few lines between neighbouring columns cross.

Two ways are tried, and the better result is kept: every lane goes to the mean rank of its neighbours, column after column,
forth and back (barycentres, Sugiyama and others 1981); and neighbours change places as long as that pays. A lane stays
together. Where nothing is to be gained, boxes stay in the order in which they were made, the one that a reader knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

SWEEPS = 12  # forth and back (ours: the pictures no longer change)
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
    for sweep in range(SWEEPS):
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
