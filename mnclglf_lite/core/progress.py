"""Progress in one line: written over in a terminal, now and then a new line in a file or a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from .text import format_left

SOON = 0.2  # seconds between two updates in a terminal (ours)


def say(line: str) -> None:
    """One line about what is being done, at once: on stderr, since it is no result."""
    print(line, file=sys.stderr, flush=True)


class Progress:
    """How far long work has come. `show` says it only when it is time to, so that short work says nothing.

    Args:
        what: the work, in a few words. total, start: where it ends and begins, in `unit`s, such as "{:,.0f}".format.
        patience: seconds until the first line where there is no terminal; later lines come ever more rarely.
    """

    def __init__(
        self, what: str, total: float, start: float = 0, unit: Callable[[float], str] = "{:,.0f}".format,
        patience: float = 3.0,
    ):  # fmt: skip
        self.what, self.total, self.start, self.unit = what, total, start, unit
        self.began, self.terminal, self.shown = time.monotonic(), sys.stderr.isatty(), False
        self.next = min(patience, 1.0) if self.terminal else patience

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def show(self, done: float) -> float:
        """Say how far it is, if it is time to; returns the rate in units a second."""
        seconds = self.seconds
        rate = (done - self.start) / max(seconds, 1e-3)
        if seconds >= self.next:
            left = (self.total - done) / max(rate, 1e-9)
            text = f"{self.what}: {self.unit(done)} of {self.unit(self.total)}, {format_left(seconds, left)}"
            if self.terminal:
                print(f"\r{text:<78}", end="", file=sys.stderr, flush=True)
            else:
                say(text)
            self.shown, self.next = True, seconds + (SOON if self.terminal else max(5.0, seconds / 2))
        return rate

    def end(self) -> None:
        """Leave the line, where there is one."""
        if self.terminal and self.shown:
            print(file=sys.stderr)
