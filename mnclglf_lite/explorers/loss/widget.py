"""The loss explorer: who pulls and who pushes in a small batch, and what temperature does to it."""

from __future__ import annotations

from dataclasses import replace

import ipywidgets

from ...core.errors import InputError, unknown
from ...drawing.canvas import Drawing
from ..shell import Explorer, choice, log_slider, slider, steps_slider
from .batch import QUEUE_MOST, Batch, drawn
from .figure import similarity_figure
from .pairs import LOSSES, SECOND, WITH_QUEUE, Table, loss_table
from .temperature import HIGHEST, LOWEST, curves
from .words import heads, loss_words


class LossExplorer(Explorer):
    """Similarities, softmax rows, and the pull and push of every loss of the package on every pair of a small batch.

    Args:
        batch: embeddings to look at, such as `batch.encoded(encoder, pictures, view)` makes of real pictures. Without
            one they are drawn, and two sliders set how alike the views of a picture are, and how alike different pictures.
        loss: the loss to begin with, a name of `pairs.LOSSES`.
        temperature: the temperature to begin with, 0.02 to 2.

    Attributes:
        table: the `pairs.Table` behind the picture: similarities, softmax, gradient (R, C), value and bounds.
        batch: the `batch.Batch` that is looked at.
        chosen: the anchor that was clicked last, such as "C1"; its row is shown with numbers.

    Example:
        explorer = LossExplorer(temperature=1.0)
        explorer                      # last line of a cell
        explorer.table.gradient       # in another cell: dL/ds of every pair
    """

    def __init__(self, batch: Batch | None = None, loss: str = "info_nce", temperature: float = 0.2):
        if loss not in LOSSES:
            raise unknown("loss", loss, LOSSES)
        if not LOWEST <= temperature <= HIGHEST:
            raise InputError(f"the temperature to begin with lies from {LOWEST} to {HIGHEST}; got {temperature}")
        self._given, self._curves = batch, {}
        entries = QUEUE_MOST if batch is None else len(batch.queue)
        sizes = sorted({2**k for k in range(1, 7) if 2**k <= entries} | {entries})
        self.loss = choice("loss", [(f"{title} ({name})", name) for name, title in LOSSES.items()], loss)
        self.temperature = log_slider("temperature", temperature, LOWEST, HIGHEST)
        self.second = {
            "soft_cross_entropy": log_slider(*SECOND["soft_cross_entropy"], LOWEST, HIGHEST),
            "distillation_kl": slider(*SECOND["distillation_kl"], 0.5, 10.0, 0.5),
        }
        self.queue = steps_slider("queue size", sizes, min(16, entries))
        self.alignment = slider("alignment of views", 0.6, 0.0, 1.0, 0.05, "cosine of a picture's two views, about")
        self.sameness = slider("sameness of pictures", 0.2, 0.0, 1.0, 0.05, "cosine of different pictures, about")
        self.draw_number = slider("draw", 0, 0, 20, 1, "other embeddings of the same kind")
        made = [] if batch is not None else [self.alignment, self.sameness, self.draw_number]
        controls = [self.loss, self.temperature, *self.second.values(), self.queue, *made]
        for control in controls:
            control.layout.width = "400px"  # two in a row
        wrap = ipywidgets.Layout(flex_flow="row wrap")
        super().__init__([ipywidgets.Box(controls, layout=wrap)], controls)

    def draw(self) -> Drawing:
        name, queue, temperature = self.loss.value, self.queue.value, two_digits(self.temperature.value)
        for other, control in self.second.items():
            control.layout.display = None if other == name else "none"
        self.queue.layout.display = None if name in WITH_QUEUE else "none"
        self.temperature.layout.display = "none" if name == "negative_cosine" else None
        second = two_digits(self.second[name].value) if name in self.second else None
        made = (self.alignment.value, self.sameness.value, self.draw_number.value)
        if self._given is None:
            batch = drawn(alignment=made[0], sameness=made[1], seed=made[2]).with_queue(queue)
        else:
            batch = self._given.with_queue(queue)
        key = (name, queue, second, made)
        if key not in self._curves:  # nothing in them depends on the temperature
            self._curves = {key: curves(name, batch, second)}
        self.batch: Batch = batch
        self.table: Table = loss_table(name, batch, temperature, second)
        rows = heads(name, batch)[0]
        # where second views are no anchors, the first view of that picture
        wanted = (self.chosen, self.chosen[:1] + "1", rows[0])
        row = rows.index(next(head for head in wanted if head in rows))
        drawing = similarity_figure(self.table, batch, self._curves[key], row)
        alt = f"Matrices of a batch of {len(batch)} pictures under {LOSSES[name]}: similarities, softmax, pull and push."
        return replace(drawing, words=loss_words(self.table, batch, row), alt=alt)


def two_digits(value: float) -> float:
    """The number that a log slider shows, in place of the power of ten behind it."""
    return float(f"{value:.2g}")
