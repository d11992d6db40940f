"""Plots: matplotlib figures made without pyplot: none is kept alive, no window opens, no setting leaks.

Every plot takes a title that says the message, and a note in small grey print that says how it was made.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import InputError, unknown
from .canvas import array, pixels, png
from .palette import CLASS_COLOURS, FAINT, GREY, INK, class_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEGEND_MOST = 20  # classes; beyond that a legend is a wall of text (ours)
LINES = ("-", "--", "-.", ":")
LOSS_AND_KNN = (("loss", "loss", 1), ("knn", "kNN accuracy, %", 100))
STRONG_FIRST = (1, 0, 3, 2, 4, 5, 6, 8, 7, 9)  # of the class colours, for lines and bars


def scatter_map(
    points: object, labels: object, classes: Sequence[str], title: str = "", note: str = "",
    thumbnails: object = None,
) -> Figure:  # fmt: skip
    """A map of points (N, 2), a colour and a marker a class; with thumbnails (N, 3, H, W), pictures too."""
    figure, low, high = new_figure(7.4, 5.8, title, note)
    draw_map(figure.add_axes((0.02, low, 0.75, high - low)), points, labels, classes, thumbnails)
    _legend(figure, classes, loc="center left", bbox_to_anchor=(0.785, (low + high) / 2))
    return figure


def two_maps(
    before: object, after: object, labels: object, classes: Sequence[str],
    names: tuple[str, str] = ("before", "after"), title: str = "", note: str = "",
) -> Figure:  # fmt: skip
    """Two maps (N, 2) of the same pictures, side by side, with one legend."""
    figure, low, high = new_figure(10.0, 5.8, title, note)
    legend = 0.12 if len(classes) <= LEGEND_MOST else 0
    for left, points, name in ((0.02, before, names[0]), (0.52, after, names[1])):
        axes = figure.add_axes((left, low + legend, 0.46, high - low - legend - 0.05))
        draw_map(axes, points, labels, classes)
        axes.set_title(name, fontsize=12, color=INK, loc="left", pad=7)
    _legend(figure, classes, loc="lower center", bbox_to_anchor=(0.5, low - 0.02), ncols=5)
    return figure


def curves(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], against: str = "step", title: str = "",
    note: str = "", panels: Sequence[tuple[str, str, float]] = LOSS_AND_KNN,
) -> Figure:  # fmt: skip
    """Runs (rows of history.jsonl) against "step", "epoch" or "seconds"; by default their loss and kNN accuracy.

    `panels`: what is drawn side by side, a (key of the rows, heading, factor) each.
    """
    units = {"step": "optimiser steps", "epoch": "epochs", "seconds": "seconds of training"}
    if against not in units:
        raise unknown("axis", against, units)
    if not histories or not any(histories.values()):
        raise InputError("no history to draw: give {name: rows}, at least one row")
    columns = min(4, len(histories))
    legend = 0.26 * -(-len(histories) // columns)  # inches
    figure, low, high = new_figure(9.2, 4.0 + legend, title, note)
    inch = 1 / (4.0 + legend)
    bottom = low + (legend + 0.6) * inch
    width = 0.98 / len(panels)
    for panel, (key, heading, factor) in enumerate(panels):
        axes = figure.add_axes((0.06 + panel * width, bottom, width - 0.06, high - bottom - 0.3 * inch))
        style_axes(axes)
        axes.set_title(heading, fontsize=11, color=INK, loc="left")
        axes.set_xlabel(units[against], fontsize=10, color=INK)
        for i, (name, rows) in enumerate(histories.items()):
            there = [(row[against], factor * row[key]) for row in rows if key in row]
            colour, marker = class_style(STRONG_FIRST[i % 10])
            x, y = zip(*there, strict=True) if there else ((), ())
            dot = {"marker": marker, "markersize": 5, "markevery": max(1, len(x) // 8)}
            axes.plot(x, y, LINES[i % 4], color=colour, linewidth=1.8, label=name, **dot)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="lower center", bbox_to_anchor=(0.5, low - 0.08 * inch),
        fontsize=10, ncols=columns, frameon=False, handlelength=3.2, labelcolor=INK,
    )  # fmt: skip
    return figure


def label_curves(
    rows: Mapping[str, Mapping[int, Sequence[float]]], chance: float | None = None, title: str = "", note: str = ""
) -> Figure:
    """Accuracy by labelled pictures a class: {method: {labels: one share from 0 to 1 a draw}}, a dot a draw."""
    if not rows or not all(curve and all(map(len, curve.values())) for curve in rows.values()):
        raise InputError("nothing to draw: give {method: {labels a class: one accuracy a draw}}, at least one each")
    figure, low, high = new_figure(7.6, 4.6, title, note)
    axes = figure.add_axes((0.08, low + 0.13, 0.9, high - low - 0.15))
    style_axes(axes)
    for i, (name, curve) in enumerate(rows.items()):
        colour, marker = class_style(STRONG_FIRST[i % 10])
        counts = sorted(curve)
        means = [100 * mean(curve[count]) for count in counts]
        axes.plot(counts, means, LINES[i % 4], color=colour, linewidth=1.8, marker=marker, markersize=5, label=name)
        dots = [(count, 100 * value) for count in counts for value in curve[count]]
        axes.scatter(*zip(*dots, strict=True), s=16, color=colour, alpha=0.5, linewidth=0)
    ticks = sorted({count for curve in rows.values() for count in curve})
    axes.set(xscale="log", ylim=(0, None), xlabel="labelled pictures a class", ylabel="accuracy, %")
    axes.set_xticks(ticks, [f"{count:,}" for count in ticks])
    axes.minorticks_off()
    if chance is not None:
        axes.axhline(100 * chance, color=GREY, linewidth=1, linestyle=":", label="chance")
    axes.legend(fontsize=10, frameon=False, labelcolor=INK, handlelength=3.2, loc="upper left")
    return figure


def bars_with_dots(
    rows: Mapping[str, Sequence[float]], baselines: Mapping[str, float] | None = None,
    what: str = "accuracy, %", title: str = "", note: str = "",
) -> Figure:  # fmt: skip
    """Methods as bars to the mean, seeds as dots, baselines as lines across: all are shares from 0 to 1."""
    marks = sorted((baselines or {}).items(), key=lambda item: item[1])
    if not rows or not all(len(seeds) for seeds in rows.values()):
        raise InputError("nothing to draw: give {method: one value a seed}, at least one value each")
    values = [*(value for _, value in marks), *(value for seeds in rows.values() for value in seeds)]
    if not all(0 <= value <= 1 for value in values):
        raise InputError(f"accuracies are shares from 0 to 1; got {min(values):g} to {max(values):g}")
    line = 0.24  # inches from one baseline's name to the next
    tall = 1.6 + 0.5 * len(rows) + line * len(marks)
    figure, low, high = new_figure(8.4, tall, title, note)
    low, high = low + 0.5 / tall, high - (line * len(marks) + 0.1) / tall
    names = 0.03 + 0.0115 * max(map(len, rows))
    axes = figure.add_axes((names, low, 0.97 - names, high - low))
    style_axes(axes)
    axes.grid(False, axis="y")
    for i, (name, seeds) in enumerate(rows.items()):
        place, centre, colour = len(rows) - 1 - i, 100 * mean(seeds), CLASS_COLOURS[STRONG_FIRST[i % 10]]
        axes.barh(place, centre, height=0.62, color=colour, alpha=0.25, linewidth=0)
        axes.vlines(centre, place - 0.31, place + 0.31, color=colour, linewidth=2.2)
        beside = np.linspace(0.15, -0.15, len(seeds)) if len(seeds) > 1 else np.zeros(1)
        dots = {"s": 30, "color": colour, "edgecolor": "white", "linewidth": 0.8, "zorder": 3}
        axes.scatter([100 * seed for seed in seeds], place + beside, **dots)
        text = {"textcoords": "offset points", "va": "center", "color": INK}
        axes.annotate(f"{centre:.1f}", (100 * max(seeds), place), (9, 0), **text)
        axes.annotate(name, (0, place), (-8, 0), ha="right", fontsize=11, **text)
    axes.set(yticks=[], ylim=(-0.6, len(rows) - 0.4), xlim=(0, 115 * max([*values, 0.05])))
    axes.set_xlabel(what, fontsize=10, color=INK)
    baseline_lines(axes, marks, line / tall / (high - low))
    return figure


# ---- what the plots share


def new_figure(width: float, height: float, title: str, note: str) -> tuple[Figure, float, float]:
    """A figure of inches with title and note in place, and the room between them (shares of the height)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    figure._repr_png_ = lambda: png(figure)  # what IPython shows; without pyplot it would print a name only
    heading = textwrap.fill(title, round(9.4 * width))  # letters an inch at 14 points
    small = textwrap.fill(note, round(15 * width))  # letters an inch at 8.5 points, capitals among them
    figure.text(0.02, 1 - 0.13 / height, heading, fontsize=14, color=INK, va="top", linespacing=1.25)
    figure.text(0.02, 0.1 / height, small, fontsize=8.5, color=GREY, va="bottom", linespacing=1.3)
    below = 0.2 + (0.16 * (small.count("\n") + 1) + 0.08 if note else 0)
    above = 0.12 + (0.25 * (heading.count("\n") + 1) + 0.14 if title else 0)
    return figure, below / height, 1 - above / height


def figure_around(width: float, inner: float, title: str, note: str) -> tuple[Figure, float, float]:
    """A figure with `inner` inches between title and note; where they begin (a share of the height), and its height."""
    _, low, high = new_figure(width, 9.0, title, note)  # what title and note take does not depend on the height
    tall = inner + 9.0 * (1 - high + low)
    figure, low, _ = new_figure(width, tall, title, note)
    return figure, low, tall


def baseline_lines(axes: Axes, marks: Sequence[tuple[str, float]], step: float) -> None:
    """Baselines (name, share from 0 to 1), ascending, as lines from the bottom to their names above the plot.

    step: from one name to the next, in shares of the plot's height; the lowest value's name stands highest.
    """
    for i, (name, value) in enumerate(marks):
        x, up, told = 100 * value, 1 + step * (len(marks) - i - 0.4), f"{name} {100 * value:.1f}"
        style = {"color": GREY, "transform": axes.get_xaxis_transform(), "clip_on": False}  # x in data, y in shares
        axes.plot([x] * 2, [0, up], LINES[1 + i % 3], linewidth=1.2, zorder=1, **style)
        low, high = axes.get_xlim()
        room = (high - x) / (high - low) * axes.get_position().width * axes.figure.get_figwidth()
        if 0.085 * (len(told) + 1) < room + 0.3:  # inches; a little may hang over
            axes.text(x, up, f" {told}", va="center", fontsize=9.5, **style)
        else:  # no room on the right
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
            axes.text(x, up, f"{told} ", va="center", ha="right", fontsize=9.5, bbox=box, zorder=3, **style)


def style_axes(axes: Axes) -> None:
    """Two thin axes and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK, labelsize=9.5, length=3)
    axes.grid(True, color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)


def draw_map(axes: Axes, points: object, labels: object, classes: Sequence[str], thumbnails: object = None) -> None:
    """Points, one marker a class. No numbers on the axes: only what is near what means something."""
    points, labels = array(points), array(labels)
    if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1] or not len(points):
        raise InputError(f"a map needs points (N, 2) and labels (N,); got {points.shape} and {labels.shape}")
    if not np.isfinite(points).all():
        raise InputError("a map's points must be finite numbers")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise InputError(f"labels are {labels.min()} to {labels.max()}, but there are {len(classes)} class names")
    low, high = points.min(axis=0), points.max(axis=0)
    inches = axes.get_position().size * axes.figure.get_size_inches()  # width, height of the room
    unit = max(*((high - low) / inches), 1e-9) * 1.07  # the same an inch in x and y, with some air around
    (x0, y0), (x1, y1) = (low + high) / 2 - unit * inches / 2, (low + high) / 2 + unit * inches / 2
    axes.set(xticks=[], yticks=[], facecolor="#FAFAFA", xlim=(x0, x1), ylim=(y0, y1))
    axes.spines[:].set_color(FAINT)
    size = float(np.clip(22_000 / len(points), 8, 40))  # points squared
    for label in np.unique(labels):
        colour, marker = class_style(int(label))
        of = points[labels == label]
        axes.scatter(*of.T, s=size, color=colour, marker=marker, alpha=0.8, edgecolor="white", linewidth=0.25)
    if thumbnails is not None:
        _pictures(axes, points, labels, thumbnails, half=0.14 * unit)


def _pictures(axes: Axes, points: np.ndarray, labels: np.ndarray, thumbnails: object, half: float) -> None:
    """Pictures on those points that no earlier picture covers, framed in the class's colour."""
    from matplotlib.patches import Rectangle

    tiles = pixels(thumbnails)
    if len(tiles) != len(points):
        raise InputError(f"{len(points)} points but {len(tiles)} thumbnails: give one a point, or none")
    shown = np.empty((0, 2))
    for i, point in enumerate(points):
        if len(shown) and (np.abs(shown - point).max(axis=1) < 2.6 * half).any():
            continue
        shown = np.vstack([shown, point])
        extent = (point[0] - half, point[0] + half, point[1] - half, point[1] + half)
        axes.imshow(tiles[i], extent=extent, zorder=3, interpolation="nearest", aspect="auto")
        colour = class_style(int(labels[i]))[0]
        frame = Rectangle(point - half, 2 * half, 2 * half, fill=False, edgecolor=colour, linewidth=1.6, zorder=4)
        axes.add_patch(frame)


def _legend(figure: Figure, classes: Sequence[str], **place: Any) -> None:
    """Names with their markers, where they are few enough to read."""
    from matplotlib.lines import Line2D

    if len(classes) > LEGEND_MOST:
        return
    handles = []
    for label, name in enumerate(classes):
        colour, marker = class_style(label)
        style = {"color": colour, "marker": marker, "linestyle": "", "markersize": 7}
        handles.append(Line2D([], [], label=str(name), **style))
    figure.legend(handles=handles, frameon=False, fontsize=10, labelcolor=INK, handletextpad=0.3, **place)
