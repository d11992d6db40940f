"""Tables, durations and counts as text, for logs, reports and figures; and numbers out of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def format_table(head: list[str], lines: list[list[str]], markdown: bool = False) -> str:
    """A table as aligned text or as Markdown; the first column to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in [head, *lines]) for i in range(len(head))]
    rows = [
        [cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
        for row in [head, *lines]
    ]
    if not markdown:
        return "\n".join("  ".join(row).rstrip() for row in rows)
    rule = ["-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(map(lambda w: max(w, 2), widths))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], rule, *rows[1:]])


def format_duration(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def format_left(spent: float, left: float) -> str:
    """Seconds spent and still to come: '1:05, 0:30 left'."""
    return f"{format_duration(spent)}, {format_duration(left)} left"


def short_count(count: int) -> str:
    """A count in three figures: 912, 34.1 k, 264 k, 11.2 M.

    >>> [short_count(n) for n in (912, 34_120, 264_720, 999_999, 11_173_962)]
    ['912', '34.1 k', '265 k', '1.00 M', '11.2 M']
    """
    for unit, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= 0.9995 * unit:  # what would be rounded to the unit is shown in it
            return f"{count / unit:#.3g}".rstrip(".") + letter
    return str(count)


def plural(count: int, noun: str) -> str:
    """A number with its noun: '1 seed', '3 seeds'."""
    return f"{count} {noun}{'s' * (count != 1)}"


def slug(name: str) -> str:
    """An image set's name as part of a file's name: 'folder-photos-cats' for folder:photos/cats."""
    return name.replace(":", "-").replace("/", "-")


def number(kind: type, example: Any) -> Callable[[str], Any]:
    """A command line's type: what reads a number of this kind, and says what it takes where it cannot."""

    def read(word: str) -> Any:
        try:
            return kind(word)
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"takes {what}, such as {example}; got {word!r}") from None

    return read
