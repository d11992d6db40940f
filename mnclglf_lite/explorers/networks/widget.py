"""The network diagram: a method's networks, drawn from what one step of it does."""

from __future__ import annotations

from dataclasses import replace

import ipywidgets

from ...core.errors import InputError
from ...data import toybox
from ...data.dataset import ImageSet, Splits
from ...drawing.canvas import Drawing
from ...methods.registry import METHODS, VARIANTS, variant
from ...recipe.presets import preset
from ...recipe.recipe import Recipe, build_method
from ...training.run import Run
from ..shell import Explorer, choice, slider
from .diagram import SHOW
from .figure import step_figure
from .graph import Graph
from .tracer import FEW, trace

MINE = "the one that was given"
ALT = "A diagram: views on the left, networks in columns, the loss on the right, and the ways of gradients between them."


class NetworkDiagram(Explorer):
    """A method's networks with real shapes: calls, target networks, where gradients go. Click a box for
    the tensor behind it.

    Args:
        method_or_run: a name ("byol", "mnclglf-released", one that `register_method` made known), a `Recipe`, or a `Run`
            with the weights it has now. None begins with MNCLGLF.
        pictures: an `ImageSet` (its first 32 pictures are watched) or the `Splits` of one; toys where there is none.

    `graph` is what was measured (`graph.Graph`): nodes with their tensors, edges with and without gradient, networks.

        explorer = NetworkDiagram("mnclglf")
        explorer
        explorer.graph.named("p1").tensor        # (32, 128)
    """

    def __init__(self, method_or_run: str | Recipe | Run | None = None, pictures: ImageSet | Splits | None = None):
        self.pictures = pictures_from(pictures)
        given = method_or_run
        self.given = given if isinstance(given, (Recipe, Run)) else None
        if given is not None and self.given is None:
            if not isinstance(given, str):
                raise InputError(f"give a method's name, a Recipe or a Run; got {type(given).__name__}")
            variant(given)  # refuses a name that it does not know
        names = [*([MINE] if self.given else []), *METHODS, *VARIANTS]
        share = given.step / given.total_steps if isinstance(given, Run) else 0.1
        self.method = choice("method", names, MINE if self.given else given or "mnclglf")
        self.which = slider("picture", 0, 0, min(FEW, len(self.pictures)) - 1, 1, "which of the pictures the views are of")
        self.progress = slider("share of the run done", round(share, 2), 0.0, 1.0, 0.01, "for losses and twins that change")
        self.shown = choice("show", list(SHOW), "everything")
        self.graphs: dict[tuple[str, float], Graph] = {}
        controls = [self.method, self.which, self.progress, self.shown]
        pairs = [ipywidgets.HBox(controls[:2]), ipywidgets.HBox(controls[2:])]
        super().__init__(pairs, controls)

    @property
    def graph(self) -> Graph:
        """What one step of the method does, as it was measured."""
        key = (self.method.value, self.progress.value)
        if key not in self.graphs:
            if isinstance(self.given, Run) and key[0] == MINE:
                recipe, method = self.given.recipe, self.given.method
            else:
                recipe = self.given if key[0] == MINE else named(key[0])
                method = build_method(recipe, len(self.pictures.classes))
            self.graphs = {key: trace(method, recipe, self.pictures, key[1])}  # the last one alone is kept
        return self.graphs[key]

    def draw(self) -> Drawing:
        """The diagram, and the tensor behind the box that was clicked last, if this method has it."""
        graph = self.graph
        title = graph.recipe.method.name if self.method.value == MINE else self.method.value
        chosen = self.chosen if self.chosen in graph.nodes else ""
        found = step_figure(graph, title, min(self.which.value, graph.pictures - 1), self.shown.value, chosen)
        return replace(found, alt=ALT)


def named(name: str) -> Recipe:
    """The quick recipe of a method or a variant of one, on the toy box."""
    method, changes = variant(name)
    return preset("quick", method, "toybox", **changes)


def pictures_from(pictures: ImageSet | Splits | None) -> ImageSet:
    """The pictures to watch: those given, or toys."""
    if pictures is None:
        images, labels, _, _ = toybox.draw(FEW, seed=0)
        return ImageSet(images, labels, tuple(toybox.CLASSES), "toybox", "train")
    pictures = getattr(pictures, "train", pictures)
    if not isinstance(pictures, ImageSet) or not len(pictures):
        raise InputError("give an ImageSet with pictures in it, such as load_dataset('toybox').train, or None for toys")
    return pictures
