"""What every explorer is: controls, a figure, and the figure's state in words.

An explorer holds no computation. It reads its controls, calls pure functions (`figure.py` and its neighbours), and shows
what comes back. It works without a network; a saved notebook keeps the figure, since widgets are not saved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import resources
from typing import Any

import anywidget
import ipywidgets
import traitlets

from ..core.errors import InputError
from ..drawing import canvas
from ..drawing.canvas import Drawing

ASSETS = resources.files("mnclglf_lite") / "explorers"


def asset(name: str) -> str:
    """The text of a script or a style sheet of the package."""
    return (ASSETS / name).read_text(encoding="utf-8")


class Picture(anywidget.AnyWidget):
    """PNG bytes with words below, and places on it that can be clicked."""

    _esm = asset("picture.js")
    _css = asset("picture.css")
    png = traitlets.Bytes().tag(sync=True)
    width = traitlets.Int().tag(sync=True)  # CSS pixels at which it is shown, where there is room
    alt = traitlets.Unicode().tag(sync=True)
    words = traitlets.Unicode().tag(sync=True)
    problem = traitlets.Unicode().tag(sync=True)  # what cannot be, shown in place of the words; "" if all is well
    places = traitlets.List().tag(sync=True)
    chosen = traitlets.Unicode().tag(sync=True)  # name of the place that was clicked last

    def show(self, drawing: Drawing) -> None:
        """One message to the page, whatever changed."""
        with self.hold_sync():
            self.png, self.width = canvas.png(drawing.picture), canvas.css_width(drawing.picture)
            self.alt, self.words, self.problem = drawing.alt, drawing.words, ""
            self.places = [{"name": p.name, "box": list(p.box), "label": p.label} for p in drawing.places]


class Explorer(ipywidgets.VBox):
    """Controls above, figure and words below. A subclass makes its controls, then calls this, and says what to `draw`.

    Args:
        rows: controls, or boxes of them, from top to bottom.
        controls: those whose value, when it changes, draws the figure anew.
    """

    def __init__(self, rows: Sequence[ipywidgets.Widget], controls: Sequence[ipywidgets.Widget]):
        self.picture = Picture()
        super().__init__([*rows, self.picture])
        self.add_class("mnclglf-explorer")
        self.redraw()
        for control in controls:
            control.observe(self.redraw, "value")
        self.picture.observe(self.redraw, "chosen")

    def draw(self) -> Drawing:
        """The figure and the words for the controls as they are."""
        raise NotImplementedError

    def redraw(self, change: Any = None) -> None:
        """Draw anew. What cannot be is said below the last figure that could."""
        try:
            self.picture.show(self.draw())
        except InputError as error:
            if not self.picture.png:  # nothing to fall back on: the caller's own mistake
                raise
            self.picture.problem = str(error)

    @property
    def words(self) -> str:
        """The state in words, as a screen reader says it."""
        return self.picture.problem or self.picture.words

    @property
    def chosen(self) -> str:
        """The name of the place on the figure that was clicked last; "" before."""
        return self.picture.chosen

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return with_picture(super()._repr_mimebundle_(**kwargs), self.picture.png, self.words, self.picture.width)


def with_picture(bundle: dict[str, Any], png: bytes, words: str, width: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What IPython shows of a widget, with a figure for where widgets are not live: GitHub, exports, a saved notebook."""
    data, metadata = canvas.mimebundle(png, width, words)
    return {**bundle, **data}, metadata


# ---- controls that look alike

WIDE = {"description_width": "150px"}
LAYOUT = {"width": "460px"}


def slider(name: str, value: float, least: float, most: float, step: float, tip: str = "") -> ipywidgets.Widget:
    """A number: an `IntSlider` for whole numbers, a `FloatSlider` for others. Arrow keys move it by a step."""
    kind = ipywidgets.IntSlider if all(isinstance(v, int) for v in (value, least, most, step)) else ipywidgets.FloatSlider
    return kind(value=value, min=least, max=most, step=step, description=name, tooltip=tip, style=WIDE, layout=LAYOUT)


def range_slider(name: str, value: tuple[float, float], least: float, most: float, step: float) -> ipywidgets.Widget:
    """Two numbers, the smaller first."""
    return ipywidgets.FloatRangeSlider(
        value=value, min=least, max=most, step=step, description=name, style=WIDE, layout=LAYOUT
    )


def log_slider(name: str, value: float, least: float, most: float) -> ipywidgets.Widget:
    """A number above 0 whose factors matter: an arrow key multiplies it by 1.12, twenty steps to a power of ten."""
    low, high = (round(20 * math.log10(end)) / 20 for end in (least, most))
    return ipywidgets.FloatLogSlider(
        value=value, min=low, max=high, step=0.05, description=name, readout_format=".2g", style=WIDE, layout=LAYOUT
    )


def steps_slider(name: str, options: Sequence[int], value: int) -> ipywidgets.SelectionSlider:
    """One of several numbers, in order."""
    return ipywidgets.SelectionSlider(options=options, value=value, description=name, style=WIDE, layout=LAYOUT)


def choice(name: str, options: Sequence[Any], value: Any) -> ipywidgets.Dropdown:
    """One of several; options are names, or (name, value) pairs."""
    return ipywidgets.Dropdown(options=options, value=value, description=name, style=WIDE, layout=LAYOUT)
