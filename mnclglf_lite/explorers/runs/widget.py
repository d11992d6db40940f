"""The run comparer: runs that were kept, as curves, as final dots, or through the eyes of their networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets
import traitlets
from torch import Tensor

from ...core.errors import InputError
from ...data.dataset import ImageSet
from ...drawing.canvas import Drawing
from ...results import summary
from ...results.records import KEPT, Record, group_by_method, groups, load_records
from ..shell import LAYOUT, WIDE, Explorer, choice, slider
from . import neighbours
from .curves import learning_curves
from .dots import accuracy_dots
from .neighbours import FeatureSpaces, neighbour_rows

PANELS = ("curves", "final dots", "neighbours")
FIRST = "kNN 20"  # the accuracy shown first where runs have it: fit for short runs on small banks (see `knn`)


def _label(name: str) -> ipywidgets.Label:
    """A name where the other controls have theirs."""
    width = WIDE["description_width"]
    return ipywidgets.Label(name, layout={"width": width, "min_width": width, "justify_content": "flex-end"})


class Several(ipywidgets.Box):
    """Any of several names: a tick box each, reached by Tab and pressed by Space, and buttons for all and none.

    `value` is the tuple of those ticked, in the order of `options`.
    """

    value = traitlets.Tuple()

    def __init__(self, options: Sequence[str], name: str):
        self.every, self.none = (ipywidgets.Button(description=what, layout={"width": "56px"}) for what in ("all", "none"))
        self.every.on_click(lambda _: setattr(self, "value", self.options))
        self.none.on_click(lambda _: setattr(self, "value", ()))
        self.ticks = ipywidgets.Box(layout={"flex_flow": "row wrap", "margin": "0 0 0 4px"})
        super().__init__([_label(name), self.ticks], layout={"max_width": "900px"})
        self.offer(options)

    @property
    def options(self) -> tuple[str, ...]:
        return tuple(self.boxes)

    def offer(self, options: Sequence[str]) -> None:
        """Other names, all of them ticked."""
        narrow = {"width": "auto", "margin": "2px 12px 2px 0"}
        self.boxes = {name: ipywidgets.Checkbox(True, description=name, indent=False, layout=narrow) for name in options}
        for box in self.boxes.values():
            box.observe(self._ticked, "value")
        self.ticks.children = (*self.boxes.values(), self.every, self.none)
        self.value = tuple(options)

    def _ticked(self, change: Any) -> None:
        self.value = tuple(name for name, box in self.boxes.items() if box.value)

    @traitlets.validate("value")
    def _known(self, proposal: Any) -> tuple[str, ...]:
        if strange := sorted(set(proposal["value"]) - set(self.options)):
            raise InputError(f"{', '.join(strange)} is not among {', '.join(self.options)}")
        return tuple(name for name in self.options if name in proposal["value"])

    @traitlets.observe("value")
    def _show(self, change: Any) -> None:
        for name, box in self.boxes.items():
            box.unobserve(self._ticked, "value")
            box.value = name in self.value
            box.observe(self._ticked, "value")


class RunComparer(Explorer):
    """Compare runs that lie in folders: how they trained, where they ended, what they take for alike.

    Args:
        folder: holds runs, at any depth; those that lie side by side and learned the same image set are a group. By default
            the records that come with the package's checkout.
        pictures: of one part of an image set, N of them, from which query and neighbours come, such as
            `load_dataset("toybox").test`. Without them there are no neighbours.
        encoders: {method: encoder, or the folder of a run with its checkpoint}, for the neighbours.
        features: {method: float tensor (N, D)}, where they are computed already.

    `group`, `methods`, `panel`, `measure`, `axis`, `elsewhere` and `query` are the controls, each with a `value`.
    `records` are the runs that are shown, `near` the neighbours in the picture: {method: positions, nearest first}. Clicking
    a neighbour makes it the query.

        comparer = RunComparer(pictures=load_dataset("toybox").test, encoders={"simclr": run.backbone})
        comparer.panel.value = "neighbours"
        comparer
    """

    def __init__(
        self, folder: str | Path = KEPT, pictures: ImageSet | None = None,
        encoders: Mapping[str, neighbours.Source] | None = None, features: Mapping[str, Tensor] | None = None,
    ):  # fmt: skip
        self.groups = groups(load_records(folder))
        self.spaces = None if pictures is None else FeatureSpaces(pictures, encoders, features)
        self.near: dict[str, list[int]] = {}
        self._settled = True
        names = list(self.groups)
        self.group = choice("group of runs", names, max(names, key=lambda name: len(self.groups[name])))
        self.methods = Several(self._names(), "methods")
        self.panel = ipywidgets.ToggleButtons(options=PANELS, style={"button_width": "120px"}, layout={"width": "400px"})
        self.measure = choice("measure", self._measures(), "knn")
        self.axis = choice("against", [(words, key) for key, words in summary.AXES.items()], "step")
        self.elsewhere = ipywidgets.Checkbox(value=True, description="published numbers", style=WIDE, layout=LAYOUT)
        self.query = slider("query picture", 0, 0, len(pictures) - 1 if pictures else 1, 1)
        self.group.observe(self._other_group, "value")  # before the explorer draws: these settle what it reads
        self.panel.observe(self._other_panel, "value")
        panel = ipywidgets.HBox([_label("show"), self.panel])
        rows = [self.group, self.methods, panel, self.measure, self.axis, self.elsewhere, self.query]
        self._hide()
        super().__init__(rows, [self.panel if row is panel else row for row in rows])

    @property
    def records(self) -> list[Record]:
        """The runs that are shown."""
        return [r for r in self.groups[self.group.value] if r.name in self.methods.value]

    def draw(self) -> Drawing:
        if not self.records:
            raise InputError("no method is chosen: tick at least one")
        if self.panel.value == "curves":
            return learning_curves(self.records, self.measure.value, self.axis.value, self._names())
        if self.panel.value == "final dots":
            return accuracy_dots(self.records, self.measure.value, self.elsewhere.value)
        if self.spaces is None:
            raise InputError("neighbours need pictures: RunComparer(..., pictures=load_dataset('toybox').test), for example")
        self.near = self.spaces.neighbours(self.records, self.query.value)
        return neighbour_rows(self.spaces, self.records, self.query.value, self.near)

    def redraw(self, change: Any = None) -> None:
        if change is not None and change["name"] == "chosen":
            self._walk(change["new"])  # which moves the query, and so draws
        elif self._settled:
            super().redraw(change)

    def _names(self) -> list[str]:
        return list(group_by_method(self.groups[self.group.value]))

    def _measures(self) -> list[tuple[str, str]]:
        if self.panel.value == "curves":
            return [(what, key) for key, (what, *_) in summary.CURVES.items()]
        known = summary.measures(self.groups[self.group.value]) or [FIRST]
        return [(name, name) for name in known]

    def _other_group(self, change: Any) -> None:
        self._settled = False
        self.methods.offer(self._names())
        self._offer_measures()
        self._settled = True

    def _other_panel(self, change: Any) -> None:
        self._settled = False
        self._offer_measures()
        self._hide()
        self._settled = True

    def _offer_measures(self) -> None:
        """The measures there are, the one that was chosen still chosen where it is among them."""
        before, offered = self.measure.value, self._measures()
        self.measure.options = offered
        keys = [key for _, key in offered]
        self.measure.value = next(key for key in (before, FIRST, keys[0]) if key in keys)

    def _hide(self) -> None:
        """Controls that the panel does not read are not there."""
        for control, panels in (
            (self.measure, PANELS[:2]), (self.axis, PANELS[:1]), (self.elsewhere, PANELS[1:2]), (self.query, PANELS[2:]),
        ):  # fmt: skip
            control.layout.display = None if self.panel.value in panels else "none"

    def _walk(self, place: str) -> None:
        """The neighbour that was clicked becomes the query; the same place may be clicked again."""
        if place:
            row, i = map(int, place.split("."))
            self.picture.chosen = ""
            self.query.value = list(self.near.values())[row][i]
