"""The dot plot: shapes tell runs with labels apart, names do not cover each other, and shares are shares."""

import numpy as np
import pytest

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.drawing.dotplot import dot_plot
from mnclglf_lite.drawing.palette import AGREE, DISAGREE


def test_those_with_labels_are_told_apart_by_shape_and_colour():
    from matplotlib.colors import to_rgb

    figure = dot_plot({"a": {"x": [0.2, 0.4], "y": [0.3]}}, hollow=["y"])
    x, y = figure.axes[0].collections
    closed, opened = (x, y) if len(x.get_offsets()) == 2 else (y, x)
    assert tuple(closed.get_facecolor()[0][:3]) == to_rgb(AGREE) and tuple(opened.get_facecolor()[0][:3]) == to_rgb("white")
    assert tuple(opened.get_edgecolor()[0][:3]) == to_rgb(DISAGREE)
    assert len(closed.get_paths()[0].vertices) != len(opened.get_paths()[0].vertices)


def drawn(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


@pytest.mark.parametrize("count", [1, 5, 19])
def test_the_plot_fills_its_page_and_no_method_covers_another(count):
    rows = {f"a method of number {i}": [0.5 + 0.02 * i, 0.52 + 0.02 * i] for i in range(count)}
    marks = {"raw pixels": 0.31, "8x8 thumbnails": 0.32, "random encoder": 0.11}
    long = "A title that is much too long for one line and must therefore be broken into two or more " * 2
    figure = dot_plot({"kNN": rows, "linear": rows}, {"kNN": marks, "linear": marks}, title=long, note=long)
    page = drawn(figure)
    for edge in (page[:3], page[-3:], page[:, :3], page[:, -3:]):
        assert (edge == 255).all()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text() in rows]
    tops = sorted((box.y0, box.y1) for box in boxes)
    assert len(boxes) == count and all(a[1] < b[0] for a, b in zip(tops, tops[1:], strict=False))
    assert all(box.x0 > 0 and box.x1 < figure.axes[0].get_window_extent().x0 for box in boxes)
    heading, small = figure.texts
    names = [text.get_window_extent() for axes in figure.axes for text in axes.texts]
    assert max(box.y1 for box in names) < heading.get_window_extent().y0
    assert min(axes.get_tightbbox().y0 for axes in figure.axes) > small.get_window_extent().y1


def test_nothing_to_draw_and_percent_for_shares_are_refused():
    for panels in ({}, {"a": {}}, {"a": {"x": []}}):
        with pytest.raises(InputError, match="nothing to draw"):
            dot_plot(panels)
    with pytest.raises(InputError, match="shares from 0 to 1; got 55 to 55"):
        dot_plot({"a": {"x": [55.0]}})
