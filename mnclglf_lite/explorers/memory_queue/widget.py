"""The queue explorer: who stands in a queue as it fills, and how often the nearest entry is of the right class."""

from __future__ import annotations

from dataclasses import replace

import ipywidgets
from torch import Tensor

from ...data.dataset import ImageSet
from ...drawing.canvas import Drawing
from ..shell import Explorer, slider, steps_slider
from .figure import queue_figure
from .replay import Moment, QueueStory


class QueueExplorer(Explorer):
    """A query and its nearest entries in a queue that fills batch by batch, and their agreement with its class over time.

    Args:
        features: float (N, D) of the pictures, such as `evaluate.extract_features(run.backbone, pictures)`. The encoder is
            frozen: they are computed once.
        pictures: an `ImageSet` of N pictures. One of each class is a query; the others come in a random order, at most 100
            batches of them.
        batch: pictures pushed at a time. Sizes of the queue are this times a power of two.
        seed: of the order, and of the random vectors that a queue starts with.

    Attributes:
        moment: the `replay.Moment` that is shown: neighbours, what fills the queue, agreement of the coming batch.
        story: the `replay.QueueStory` behind it; `story.queue(size, pushed)` is the `memory_queue.Queue` itself.
        chosen: "query 3" when the fourth query was clicked last.

    Example:
        toys = load_dataset("toybox").test
        QueueExplorer(evaluate.extract_features(run.backbone, toys), toys)
    """

    def __init__(self, features: Tensor, pictures: ImageSet, batch: int = 64, seed: int = 0):
        self.story = QueueStory(features, pictures, batch, seed)
        sizes = self.story.sizes
        self.pushed = slider("batches pushed", 0, 0, self.story.steps - 1, 1)
        self.size = steps_slider("queue size", sizes, sizes[len(sizes) // 2])
        controls = [self.pushed, self.size]
        super().__init__([ipywidgets.Box(controls, layout=ipywidgets.Layout(flex_flow="row wrap"))], controls)

    def draw(self) -> Drawing:
        query = int(self.chosen.removeprefix("query ") or 0)
        self.moment: Moment = self.story.moment(self.size.value, self.pushed.value, query)
        alt = "Queries to choose from, the nearest entries of the queue, the queue in blocks, and agreement over time."
        return replace(queue_figure(self.story, self.moment), words=self.story.words(self.moment), alt=alt)
