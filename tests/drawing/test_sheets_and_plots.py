import subprocess
import sys

import numpy as np
import pytest
import torch
from drawn import fits_its_page

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.drawing import canvas, palette, plots, sheets
from mnclglf_lite.drawing.palette import rgb

pytest.importorskip("PIL")
pytest.importorskip("matplotlib")

CLASSES = ("cat", "dog", "hen")


def flat(*colours, side=4):
    """Pictures of one colour each: uint8 (N, 3, side, side)."""
    return torch.tensor(colours, dtype=torch.uint8)[:, :, None, None].expand(-1, 3, side, side)


RGB = flat((255, 0, 0), (0, 255, 0), (0, 0, 255))


def has(picture, colour):
    return bool((np.asarray(picture) == rgb(colour)).all(-1).any())


def test_contact_sheet_puts_pictures_in_rows():
    sheet = sheets.contact_sheet(RGB, columns=2, scale=3, gap=4)
    assert sheet.size == (2 * 12 + 4 + 28, 2 * 12 + 4 + 28)  # tiles, a gap, 14 of margin all around
    assert [sheet.getpixel(at) for at in ((14, 14), (25, 25), (30, 14), (14, 30))] == [
        (255, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)
    ]  # fmt: skip
    assert sheet.getpixel((13, 14)) == sheet.getpixel((26, 14)) == sheet.getpixel((30, 30)) == (255, 255, 255)


def test_pixels_are_enlarged_not_smoothed():
    image = torch.randint(0, 256, (1, 3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    shown = np.asarray(sheets.contact_sheet(image, scale=3))[14:29, 14:29]
    np.testing.assert_array_equal(shown, image[0].numpy().repeat(3, 1).repeat(3, 2).transpose(1, 2, 0))


def test_floats_are_shown_like_the_bytes_they_stand_for():
    as_bytes, as_floats = sheets.contact_sheet(RGB), sheets.contact_sheet(RGB.float() / 255)
    assert canvas.png(as_bytes) == canvas.png(as_floats)


def test_titles_labels_and_notes_make_room_for_themselves():
    bare = sheets.contact_sheet(RGB)
    full = sheets.contact_sheet(RGB, labels=["a", "b", "c"], title="A title", note="A note. " * 20)
    assert full.height > bare.height + 50 and full.width >= bare.width
    ink = (np.asarray(full).max(-1) < 200).any(1)  # rows with letters in them; pictures here are of bright colours
    assert ink[: canvas.MARGIN + 15].any() and ink[-60:].sum() > 15


def test_views_figure_draws_each_box_where_it_is():
    image = torch.full((3, 32, 32), 100, dtype=torch.uint8)
    boxes = torch.tensor([[2.0, 4.0, 10.0, 20.0], [16.0, 1.0, 8.0, 8.0]])  # top, left, height, width
    red, green = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[:, :, None, None]
    views = [red.expand(3, 32, 32), green.expand(3, 16, 16)]
    sheet = sheets.views_figure(image, boxes, views, ["global", "local"])
    for i, (top, left, height, width) in enumerate(boxes.int().tolist()):
        colour, x0, y0 = rgb(palette.BOX_COLOURS[i]), 14 + 8 * left, 14 + 8 * top
        x1, y1 = x0 + 8 * width - 1, y0 + 8 * height - 1
        for at in ((x0, y1), (x1, y1), (x1, y0), ((x0 + x1) // 2, y0), (x1, (y0 + y1) // 2)):
            assert sheet.getpixel(at) == colour
        assert sheet.getpixel(((x0 + x1) // 2, (y0 + y1) // 2)) == (100, 100, 100)
    large, small = ((np.asarray(sheet) == colour).all(-1).sum() for colour in ((255, 0, 0), (0, 255, 0)))
    assert large == 4 * small > 0  # same zoom for both, so half the side is a quarter of the area


def test_nine_views_still_differ():
    views = [torch.full((3, 8, 8), 0.5)] * 9
    boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0]]).expand(9, 4)
    sheet = sheets.views_figure(torch.zeros(3, 32, 32, dtype=torch.uint8), boxes, views)
    assert all(has(sheet, colour) for colour in palette.BOX_COLOURS)
    assert canvas.png(sheet) == canvas.png(sheets.views_figure(torch.zeros(3, 32, 32), boxes, views))


def test_neighbour_strips_mark_agreement_by_colour_and_by_sign():
    labels = torch.tensor([0, 0, 1])
    agree = sheets.neighbour_strips(RGB, [0], [[1]], labels, CLASSES)
    differ = sheets.neighbour_strips(RGB, [0], [[2]], labels, CLASSES)
    assert has(agree, palette.AGREE) and not has(agree, palette.DISAGREE)
    assert has(differ, palette.DISAGREE) and not has(differ, palette.AGREE)
    big = flat((9, 9, 9), (9, 9, 9), (9, 9, 9), side=32)
    one, other = (np.asarray(sheets.neighbour_strips(big, [0], [[i]], labels, CLASSES)).astype(int) for i in (1, 2))
    tick, cross = ((sheet > 200).all(-1)[-57:-43, -29:-15] for sheet in (one, other))  # white strokes on the picture
    assert tick.any() and cross.any() and (tick != cross).any()
    assert (cross[3:12, 3:12] == cross[3:12, 3:12][:, ::-1]).all()  # a cross is the same in a mirror


def test_neighbour_strips_show_the_neighbours_in_order():
    sheet = np.asarray(sheets.neighbour_strips(RGB, [0, 1], [[1, 2], [2, 0]], [0, 1, 2], CLASSES, scale=8))
    rows = np.flatnonzero((sheet == (255, 0, 0)).all(-1).any(1))

    def order(y):
        line = [tuple(pixel) for pixel in sheet[y].tolist()]
        return sorted({c for c in line if sorted(c) == [0, 0, 255]}, key=line.index)

    assert order(rows[0]) == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert order(rows[-20]) == [(0, 255, 0), (0, 0, 255), (255, 0, 0)]


def test_scatter_map_shows_every_class_in_its_colour_and_marker():
    points = torch.tensor([[0.0, 0.0], [5.0, 1.0], [2.0, 9.0]])
    figure = plots.scatter_map(points, [0, 1, 2], CLASSES, "Title", "note")
    marks = figure.axes[0].collections
    np.testing.assert_allclose([mark.get_offsets()[0] for mark in marks], points.numpy())
    assert len({tuple(mark.get_facecolor()[0]) for mark in marks}) == 3
    assert len({mark.get_paths()[0].vertices.tobytes() for mark in marks}) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(CLASSES)
    (x0, x1), (y0, y1) = figure.axes[0].get_xlim(), figure.axes[0].get_ylim()
    width, height = figure.axes[0].get_position().size * figure.get_size_inches()
    assert (x1 - x0) / width == pytest.approx((y1 - y0) / height)  # one unit is as long in x as in y
    assert x0 < 0 and x1 > 5 and y0 < 0 and y1 > 9


def test_a_hundred_classes_are_a_hundred_pairs_and_no_legend():
    assert len({palette.class_style(label) for label in range(100)}) == 100
    for count in (plots.LEGEND_MOST, plots.LEGEND_MOST + 1, 100):
        names = [str(i) for i in range(count)]
        assert bool(plots.scatter_map(torch.rand(count, 2), range(count), names).legends) == (count <= plots.LEGEND_MOST)


def test_thumbnails_never_cover_one_another():
    points = torch.rand(60, 2, generator=torch.Generator().manual_seed(0))
    figure = plots.scatter_map(points, [0] * 60, CLASSES, thumbnails=flat(*[(9, 9, 9)] * 60))
    boxes = [image.get_extent() for image in figure.axes[0].images]
    assert 3 < len(boxes) <= 60
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2]


def test_two_maps_are_two_maps_with_one_legend():
    figure = plots.two_maps(torch.rand(9, 2), torch.rand(9, 2), [0, 1, 2] * 3, CLASSES, ("raw", "learned"))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["raw", "learned"]
    assert len(figure.legends) == 1


def test_curves_hold_the_numbers_given():
    history = [{"step": 10 * i, "seconds": i, "loss": 3.0 - i, "knn": 0.1 * i} for i in range(3)]
    figure = plots.curves({"a": history, "b": history[:2]}, against="seconds")
    loss, knn = figure.axes
    np.testing.assert_allclose(loss.lines[0].get_xydata(), [[0, 3], [1, 2], [2, 1]])
    np.testing.assert_allclose(knn.lines[1].get_xydata(), [[0, 0], [1, 10]])  # percent
    assert loss.lines[0].get_color() != loss.lines[1].get_color()
    assert loss.lines[0].get_linestyle() != loss.lines[1].get_linestyle()


def test_curves_draw_the_panels_that_are_asked_for():
    history = [{"step": i, "loss": 1.0, "spread": 0.5 * i, "rank": 2.0} for i in range(3)]
    panels = [("spread", "spread", 1), ("rank", "effective rank", 10), ("loss", "loss", 1)]
    figure = plots.curves({"a": history}, panels=panels)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["spread", "effective rank", "loss"]
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), [20, 20, 20])
    assert all(a.get_position().x1 < b.get_position().x0 for a, b in zip(figure.axes, figure.axes[1:], strict=False))


def test_label_curves_go_through_the_means_and_dots_are_the_draws():
    figure = plots.label_curves({"frozen": {100: [0.5], 5: [0.2, 0.4]}, "taught": {5: [0.1]}}, chance=0.1)
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[5, 30], [100, 50]])
    assert sorted(y for _, y in axes.collections[0].get_offsets()) == pytest.approx([20, 40, 50])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["frozen", "taught", "chance"]


def test_bars_reach_the_mean_and_dots_are_the_seeds():
    figure = plots.bars_with_dots({"ours": [0.5, 0.7], "theirs": [0.4]}, {"pixels": 0.2})
    axes = figure.axes[0]
    assert [patch.get_width() for patch in axes.patches] == pytest.approx([60, 40])
    dots = [dots for dots in axes.collections if hasattr(dots, "get_sizes")]
    assert sorted(x for c in dots for x, _ in c.get_offsets()) == pytest.approx([40, 50, 70])
    assert axes.lines[0].get_xdata() == pytest.approx([20, 20])
    assert axes.get_xlim()[0] == 0  # bars that don't start at nought lie


@pytest.mark.parametrize(
    "make",
    [
        lambda: sheets.contact_sheet(RGB, labels=["a", "b", "c"], title="t", note="n"),
        lambda: plots.scatter_map(np.eye(3)[:, :2], [0, 1, 2], CLASSES, "t", "n", thumbnails=RGB),
        lambda: plots.curves({"a": [{"step": 1, "loss": 1.0, "knn": 0.5}]}),
    ],
)
def test_the_same_input_gives_the_same_bytes(make, tmp_path):
    first = canvas.png(make())
    assert first == canvas.png(make()) and first.startswith(b"\x89PNG")
    assert sheets.save(make(), tmp_path / "new" / "a.png").read_bytes() == first


def test_plots_fill_the_page_they_have():
    """Nothing is cut off: a white border is left all around."""
    history = [{"step": i, "loss": 1.0, "knn": 0.5} for i in range(3)]
    long = "A title that is much too long for one line and must therefore be broken into two or more " * 2
    for figure in (
        plots.scatter_map(torch.rand(9, 2), [0, 1, 2] * 3, CLASSES, long, long),
        plots.two_maps(torch.rand(9, 2), torch.rand(9, 2), [0, 1, 2] * 3, CLASSES, title=long, note=long),
        plots.curves({f"method number {i}": history for i in range(6)}, title=long, note=long),
        plots.curves({"a": history}, title=long, note=long, panels=[("loss", "loss", 1)]),
        plots.label_curves({"a": {1: [0.1], 100: [1.0]}}, 0.1, title=long, note=long),
        plots.bars_with_dots({"a rather long name": [0.9], "b": [1.0]}, {"x": 0.1, "a high baseline": 1.0}, title=long),
    ):
        assert fits_its_page(figure)


def test_a_plot_shows_itself_in_a_notebook_without_pyplot():
    figure = plots.scatter_map(np.eye(3)[:, :2], [0, 1, 2], CLASSES)
    assert figure._repr_png_() == canvas.png(figure)
    code = """
import sys
from mnclglf_lite.drawing import canvas, plots, sheets
assert not {"matplotlib", "PIL"} & set(sys.modules)
canvas.png(plots.scatter_map([[0, 0], [1, 1]], [0, 0], ["a"]))
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: sheets.contact_sheet(torch.rand(3, 8, 8)), r"\(N, 3, H, W\)"),
        (lambda: sheets.contact_sheet(torch.randn(2, 3, 8, 8) * 3), "denormalise"),
        (lambda: sheets.contact_sheet(torch.full((1, 3, 8, 8), torch.nan)), r"\[0, 1\]"),
        (lambda: sheets.contact_sheet(RGB.long()), "int64"),
        (lambda: sheets.contact_sheet(RGB, labels=["a"]), "3 pictures but 1 labels"),
        (lambda: sheets.contact_sheet(RGB, columns=0), "columns"),
        (lambda: sheets.views_figure(RGB[0], torch.zeros(2, 4), [RGB[0]]), "one box"),
        (lambda: sheets.neighbour_strips(RGB, [0], [[3]], [0, 1, 2], CLASSES), "from 0 to 3"),
        (lambda: plots.scatter_map(torch.rand(3, 3), [0, 0, 0], CLASSES), r"\(N, 2\)"),
        (lambda: plots.scatter_map(torch.rand(3, 2), [0, 0, 3], CLASSES), "3 class names"),
        (lambda: plots.scatter_map(torch.full((1, 2), torch.inf), [0], CLASSES), "finite"),
        (lambda: plots.scatter_map(torch.rand(2, 2), [0, 0], CLASSES, thumbnails=RGB), "3 thumbnails"),
        (lambda: plots.curves({}), "no history"),
        (lambda: plots.curves({"a": [{}]}, against="stepz"), "did you mean 'step'"),
        (lambda: plots.label_curves({"a": {5: []}}), "at least one each"),
        (lambda: plots.bars_with_dots({"a": [55.0]}), "0 to 1"),
        (lambda: plots.bars_with_dots({"a": []}), "one value"),
        (lambda: sheets.save(sheets.contact_sheet(RGB), "a.jpg"), "a.jpg"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(InputError, match=words):
        call()
