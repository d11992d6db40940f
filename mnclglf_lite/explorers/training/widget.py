"""The training board: see a run while it trains."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ...drawing.canvas import Drawing
from ...training.recorder import CALLBACK_SECONDS
from ...training.run import Run
from ..shell import Explorer
from .figure import board
from .progress import ProgressSnapshot, ProgressTracker, in_words

if TYPE_CHECKING:
    from PIL.Image import Image

WORDS_SECONDS = 5.0  # between two changes of the words (ours): a screen reader says each of them to its end
ALT = "Curves of a training run: the loss and its parts, kNN accuracy, spread, effective rank and learning rate."


class TrainingBoard(Explorer):
    """Curves that grow while a run trains, and where it stands in words. It has no buttons, since a cell that runs hears
    none: the square button (interrupt) stops the run, everything so far is kept, and the same cell run again goes on.

    Give it to `train`; it shows itself where the cell's output is, draws itself at most twice a second, and leaves a picture
    of the end in the saved notebook.

        board = TrainingBoard()
        run = train(recipe, splits, out="runs/mine", resume=True, callback=board)

    `sight` is what it saw last (`progress.ProgressSnapshot`), `figure()` its figure, `words` the same in words. Outside of
    a notebook it shows nothing: the line of each epoch is the record.
    """

    def __init__(self) -> None:
        self.trail = ProgressTracker()
        self.sight = ProgressSnapshot()
        self.said = in_words(self.sight)
        self.drawn_at = self.said_at = float("-inf")
        self.handle = None  # of the cell's output, once it is shown
        super().__init__([], [])

    def __call__(self, run: Run) -> None:
        """Look at a run: what `train` does, between steps."""
        fresh = self.trail.run is not run
        self.sight = self.trail.look(run)
        now = time.perf_counter()
        if run.live and not fresh and now - self.drawn_at < 0.9 * CALLBACK_SECONDS:  # short epochs end more often than that
            return
        if not run.live or fresh or now - self.said_at > WORDS_SECONDS:
            self.said, self.said_at = in_words(self.sight), now
        self.redraw()
        self.drawn_at = time.perf_counter()
        if self.handle is None:
            self.handle = shown(self)
        elif not run.live and self.handle:
            self.handle.update(self)  # so that the picture for where widgets are not live is that of the end

    def draw(self) -> Drawing:
        """The curves as they are now."""
        return Drawing(self.figure(), self.said, ALT)

    def figure(self) -> Image:
        """The picture, to save or to end a cell with."""
        return board(self.sight)


def shown(board: TrainingBoard):
    """Show a board where the running cell's output is, and hand back the handle to it; False outside of a notebook."""
    from IPython import get_ipython
    from IPython.display import display

    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return False
    return display(board, display_id=True)
