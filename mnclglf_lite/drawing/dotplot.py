"""The dot plot of a comparison: a row a method, a dot a seed, the baselines as lines from top to bottom.

Dots, unlike bars, need no axis from zero, so that differences between methods fill the page. What others published stands
below a method's own dots: hollow diamonds in grey, a line a source, with its letter. They are beside ours, never among them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING

from ..core.errors import InputError
from .palette import AGREE, DISAGREE, FAINT, GREY, INK
from .plots import baseline_lines, figure_around, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, LINE = 0.34, 0.23  # inches from one method to the next, and from one baseline's name to the next
LANE = 0.4  # rows for each source of published numbers, below a method's own dots

Marks = Mapping[str, Sequence[float]]  # published numbers of one method: {letter of the source: shares from 0 to 1}


def dot_plot(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    baselines: Mapping[str, Mapping[str, float]] | None = None,
    hollow: Collection[str] = (), title: str = "", note: str = "",
    published: Mapping[str, Mapping[str, Marks]] | None = None,
) -> Figure:  # fmt: skip
    """Panels {what: {method: one value a seed}} side by side, baselines {what: {name: value}}; all are shares from 0 to 1.

    Methods stand in the order of the last panel's means, best on top; those named in `hollow` have open squares.
    published: {what: {method: {letter: values}}}, what others measured under protocols of their own; say in the note which.
    """
    baselines, published = baselines or {}, published or {}
    values = [value for what in panels for row in panels[what].values() for value in row]
    values += [value for marks in baselines.values() for value in marks.values()]
    values += [v for rows in published.values() for marks in rows.values() for found in marks.values() for v in found]
    if not panels or not all(rows and all(map(len, rows.values())) for rows in panels.values()):
        raise InputError("nothing to draw: give {panel: {method: one value a seed}}, at least one value each")
    if not all(0 <= value <= 1 for value in values):
        raise InputError(f"accuracies are shares from 0 to 1; got {min(values):g} to {max(values):g}")
    last = list(panels.values())[-1]
    order = sorted(last, key=lambda name: mean(last[name]))  # from the bottom
    lines = max((len(marks) for marks in baselines.values()), default=0)
    above, below = 0.12 + LINE * lines, 0.52  # inches for the baselines' names; for ticks and the axis label
    lanes = {name: max(len(rows.get(name, {})) for rows in [{}, *published.values()]) for name in order}
    places, count = {}, 0.0  # of each method's own dots, in rows from the lowest
    for name in order:
        places[name] = count + LANE * lanes[name]
        count = places[name] + 1
    inner = ROW * (count + 0.4)
    figure, low, tall = figure_around(9.6, inner + above + below, title, note)
    names = 0.028 + 0.0093 * max(map(len, order))
    gap = 0.075
    width = (0.955 - names - gap * (len(panels) - 1)) / len(panels)
    for i, (what, rows) in enumerate(panels.items()):
        place = (names + i * (width + gap), low + below / tall, width, inner / tall)
        axes = figure.add_axes(place)
        marks = sorted(baselines.get(what, {}).items(), key=lambda item: item[1])
        theirs = published.get(what, {})
        ours = [(places[name], name, rows.get(name, ()), theirs.get(name, {})) for name in order]
        _panel(axes, ours, marks, hollow, inner)
        axes.set_xlabel(what, fontsize=10.5, color=INK)
        for name, y in places.items() if i == 0 else ():
            text = {"textcoords": "offset points", "va": "center", "ha": "right", "color": INK, "fontsize": 10.5}
            axes.annotate(name, (0, y), (-7, 0), xycoords=("axes fraction", "data"), annotation_clip=False, **text)
    return figure


def _panel(
    axes: Axes, rows: list[tuple[float, str, Sequence[float], Marks]], marks: list[tuple[str, float]],
    hollow: Collection[str], tall: float,
) -> None:  # fmt: skip
    """One measure: rows from the bottom, baselines from the lowest; `tall` is the panel's height in inches."""
    style_axes(axes)
    axes.grid(False, axis="x")
    axes.tick_params(axis="y", length=0, labelleft=False)
    values = [100 * value for *_, row, theirs in rows for some in (row, *theirs.values()) for value in some]
    values += [100 * value for _, value in marks]
    least, most = min(values), max(values)
    span = max(most - least, 2.0)  # points; keeps the axis sane where all values are one
    # room for the mean's figures behind the last dot
    axes.set(xlim=(least - 0.07 * span, most + 0.2 * span), ylim=(-0.7, tall / ROW - 0.7), yticks=[y for y, *_ in rows])
    for y, name, row, theirs in rows:
        _published(axes, y, theirs)
        if not row:
            continue
        centre, seeds, colour = 100 * mean(row), [100 * value for value in row], DISAGREE if name in hollow else AGREE
        if len(row) > 1:
            axes.plot([min(seeds), max(seeds)], [y, y], color=colour, linewidth=1.4, alpha=0.5, zorder=2)
            axes.plot([centre] * 2, [y - 0.27, y + 0.27], color=colour, linewidth=2, zorder=3)
        style = {"marker": "s", "s": 30, "facecolor": "white"} if name in hollow else {"marker": "o", "s": 38}
        style = {"facecolor": colour, "edgecolor": colour if name in hollow else "white", "linewidth": 1.2} | style
        axes.scatter(seeds, [y] * len(seeds), zorder=4, **style)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        text = {"textcoords": "offset points", "va": "center", "fontsize": 9.5, "color": INK, "bbox": box, "zorder": 2.5}
        axes.annotate(f"{centre:.1f}", (max(seeds), y), (8, 0), **text)
    baseline_lines(axes, marks, LINE / tall)
    axes.spines["left"].set_color(FAINT)


def _published(axes: Axes, y: float, theirs: Marks) -> None:
    """What others published for one method: a line a source, from below the method's own dots down."""
    for lane, (letter, shares) in enumerate(theirs.items()):
        at, low = sorted(100 * share for share in shares), y - 0.3 - LANE * (lane + 0.4)
        axes.plot([at[0], at[-1]], [low, low], color=GREY, linewidth=0.9, zorder=2)
        axes.scatter(at, [low] * len(at), marker="D", s=20, facecolor="white", edgecolor=GREY, linewidth=1.1, zorder=4)
        text = {"textcoords": "offset points", "va": "center", "fontsize": 8.5, "color": GREY}
        axes.annotate(letter, (at[-1], low), (7, 0), **text)
