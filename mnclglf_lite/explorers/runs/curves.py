"""Runs side by side while they train: one measure of their histories as curves, and the same in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import InputError, unknown
from ...core.text import plural
from ...drawing.canvas import Drawing, apart
from ...drawing.palette import GREY, INK, class_style
from ...drawing.plots import LINES, STRONG_FIRST, figure_around, style_axes
from ...results import summary
from ...results.records import Record, group_by_method
from ...results.summary import AXES, CURVES
from ...training.recorder import MONITOR, MONITOR_BANK, MONITOR_QUERIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE, TALL, LABEL = 9.4, 4.2, 0.235  # inches: a figure, its plot at the least, from one direct label to the next

Line = Mapping[int, tuple[float, float]]  # {step: (place on the axis, value)}, in the order of the steps
Style = tuple[str, str, str]  # colour, line style, marker


def learning_curves(
    records: Sequence[Record], measure: str = "knn", against: str = "step", order: Sequence[str] = ()
) -> Drawing:
    """One measure of history.jsonl (see `CURVES`) against one of `AXES`: a thin line a seed, a thick one their mean.

    Names stand at the lines' ends, with the value there. A method keeps its colour, line and marker when others are left
    out: its place in `order` decides, by default that among the runs.
    """
    if measure not in CURVES:
        raise unknown("curve", measure, CURVES)
    if against not in AXES:
        raise unknown("axis", against, AXES)
    what, _, digits = CURVES[measure]
    methods = group_by_method(records)
    seeds = {name: [_line(r, measure, against) for r in runs] for name, runs in methods.items()}
    order = list(order) or list(seeds)
    empty = [name for name, lines in seeds.items() if not any(lines)]
    seeds = {name: [line for line in lines if line] for name, lines in seeds.items() if any(lines)}
    if not seeds:
        raise InputError(f"nothing to draw: none of these runs has ended an epoch with {measure!r} in its history")
    middles = {name: _middle(lines, all(r.finished for r in methods[name])) for name, lines in seeds.items()}
    ends = {name: list(line.values())[-1] for name, line in middles.items()}
    ranking = sorted(ends, key=lambda name: -ends[name][1])
    kept = [r for r in records if r.name in ends]
    labels = {r.name: " (labels)" * r.with_labels for r in kept}
    told = {name: f"{name}{labels[name]} {ends[name][1]:.{digits}f}" for name in ranking}

    runs = sum(map(len, seeds.values()))
    title = f"{plural(len(ends), 'method')} while training on {kept[0].dataset}"
    if measure == "knn" and len(ends) > 1:
        first = next((name for name in ranking if not labels[name]), ranking[0])
        title += f": {first} ends highest" + " of those without labels" * any(labels.values())
    note = f"Thin: a seed; thick: their mean. {summary.facts(kept, _watched(measure))}."
    tall = max(TALL, LABEL * len(ends) + 0.2)
    figure, low, whole = figure_around(WIDE, tall + 0.9, title, note)
    beside = (0.6 + 0.082 * max(map(len, told.values()))) / WIDE  # room for the names
    axes = figure.add_axes((0.065, low + 0.55 / whole, 0.925 - beside, tall / whole))
    style_axes(axes)
    axes.set_xlabel(AXES[against], fontsize=10, color=INK)
    axes.set_title(what, fontsize=11, color=INK, loc="left")
    styles = {name: _style(order.index(name)) for name in ends}
    for name, lines in seeds.items():
        colour, dash, marker = styles[name]
        for line in lines if len(lines) > 1 else ():
            axes.plot(*zip(*line.values(), strict=True), color=colour, linewidth=0.8, alpha=0.45)
        every = max(1, len(middles[name]) // 6)
        dots = {"marker": marker, "markersize": 5, "markevery": (order.index(name) % every, every)}
        axes.plot(*zip(*middles[name].values(), strict=True), dash, color=colour, linewidth=1.9, zorder=3, **dots)
    axes.margins(x=0.02)
    _names(axes, ends, told, styles, LABEL / tall)

    words = f"{what} against {AXES[against]}: {plural(len(ends), 'method')}, {plural(runs, 'run')} on {kept[0].dataset}. "
    words += f"At the end, from the highest: {', '.join(told.values())}. "
    words += "Losses are different formulas: compare one with itself over time, not with another's. " * (measure == "loss")
    words += f"No epoch has ended yet: {', '.join(empty)}. " * bool(empty) + summary.unfinished(kept)
    return Drawing(figure, f"{words.strip()}\n{note}", "Curves of training, a line a method")


def _line(record: Record, measure: str, against: str) -> Line:
    batch, factor = record.recipe["batch_size"], CURVES[measure][1]
    at = {"pictures": lambda row: row["step"] * batch}.get(against, lambda row: row[against])
    return {row["step"]: (at(row), factor * row[measure]) for row in record.history if measure in row}


def _middle(lines: Sequence[Line], finished: bool) -> Line:
    """The mean of the seeds, at the steps that all have reached; where there are none, the first seed.

    Of finished runs that took unequal steps, as in equal time, the last point is the mean of their ends.
    """
    common = [step for step in lines[0] if all(step in line for line in lines)]
    points = {step: np.mean([line[step] for line in lines], axis=0) for step in common}
    if finished and common and any(max(line) > common[-1] for line in lines):
        points[max(map(max, lines))] = np.mean([line[max(line)] for line in lines], axis=0)
    return {step: (float(x), float(y)) for step, (x, y) in points.items()} or lines[0]


def _style(place: int) -> Style:
    """Forty in turn before one comes again; the third line of a colour differs from the first in marker too."""
    colour, marker = class_style(STRONG_FIRST[place % 10] + 10 * (place // 10))
    return colour, LINES[(place + place // 10) % 4], marker


def _names(
    axes: Axes, ends: Mapping[str, tuple[float, float]], told: Mapping[str, str], styles: Mapping[str, Style], gap: float
) -> None:
    """Names to the right of the plot, each with a piece of its line, led to from the line's end; none covers another."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    axes.set(xlim=(left, right), ylim=(bottom, top))  # as they are, whatever is drawn beside
    shares = {name: ((x - left) / (right - left), (y - bottom) / (top - bottom)) for name, (x, y) in ends.items()}
    names = sorted(told, key=lambda name: shares[name][1])
    beside = {"transform": axes.transAxes, "clip_on": False}
    places = apart([shares[name][1] for name in names], [gap] * len(names), 0.02, 0.98)
    for name, y in zip(names, places, strict=True):
        colour, dash, marker = styles[name]
        x, end = shares[name]
        axes.plot([x, 1.0, 1.025], [end, end, y], ":", color=GREY, linewidth=0.7, alpha=0.7, zorder=1, **beside)
        axes.plot([1.03, 1.055, 1.08], [y, y, y], dash, color=colour, linewidth=1.9, marker=marker, markevery=[1], **beside)
        axes.text(1.092, y, told[name], transform=axes.transAxes, va="center", fontsize=10, color=INK)


def _watched(measure: str) -> str:
    """How the monitor of training measures, which is a glance and no result."""
    if measure == "loss":
        return "loss: mean of an epoch's steps"
    among = f"{MONITOR_QUERIES:,} hold-out pictures at most"
    if measure == "knn":
        among += f" among {MONITOR_BANK:,} of train, k {MONITOR.k}, T {MONITOR.temperature}"
    return f"{measure.replace('knn', 'kNN')} while training: {among}"
