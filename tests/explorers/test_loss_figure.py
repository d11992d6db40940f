"""The loss explorer's figure: what its pixels say, and that all of it is on the page."""

import numpy as np
import pytest
import torch
from drawn import boxes_of, fits_its_page

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.drawing import canvas
from mnclglf_lite.drawing.palette import AGREE, DISAGREE, INK, rgb
from mnclglf_lite.explorers.loss import matrices
from mnclglf_lite.explorers.loss.batch import Batch, drawn
from mnclglf_lite.explorers.loss.figure import similarity_figure
from mnclglf_lite.explorers.loss.pairs import LOSSES, loss_table
from mnclglf_lite.explorers.loss.temperature import curves
from mnclglf_lite.explorers.loss.words import heads

pytest.importorskip("PIL")


def with_pictures(n=8, queue=16, side=8):
    """A drawn batch whose views have flat colours: red for first views, green for second ones, blue for the queue."""
    batch = drawn(n).with_queue(queue)
    colours = [(250, 0, 0)] * n + [(0, 250, 0)] * n, [(0, 0, 250)] * queue
    shown, others = (
        torch.tensor(rows, dtype=torch.uint8)[:, :, None, None].expand(-1, 3, side, side).clone() for rows in colours
    )
    return Batch(batch.a, batch.b, batch.queue, batch.labels, shown, others)


def test_cells_have_the_colours_of_their_numbers():
    batch = drawn()
    table = loss_table("info_nce", batch, 0.2)
    drawing = similarity_figure(table, batch, curves("info_nce", batch), 2)
    _, top, _, high = boxes_of(drawing)["A1"]
    strongest, wide = table.gradient.abs().max(), 28

    def cell(i, j, panel):
        """The colour near the lower left corner of a cell, where no text is."""
        return drawing.picture.getpixel((14 + 34 + panel * (8 * wide + 26) + j * wide + 3, top + (i + 1) * high - 4))

    for i in range(8):
        for j in range(8):
            s, p, g = (float(x[i, j]) for x in (table.similarity, table.probability, table.gradient))
            for panel, shade, deep in (
                (0, ((s + 1) / 2) ** 2, "#332288"),
                (1, p**0.5, "#117733"),
                (2, (abs(g) / float(strongest)) ** 0.5, AGREE if g < 0 else DISAGREE),
            ):
                expected = [255 + shade * (c - 255) for c in rgb(deep)]
                assert cell(i, j, panel) == pytest.approx(expected, abs=0.6), (i, j, panel)


def test_the_chosen_row_is_marked_and_its_numbers_are_shown():
    batch = drawn()
    table = loss_table("info_nce", batch, 0.2)
    sheets = []
    for row in (0, 5):
        drawing = similarity_figure(table, batch, None, row)
        boxes = list(boxes_of(drawing).values())
        corners = [drawing.picture.getpixel((x + 1, y + 2)) for x, y, _, _ in boxes]
        assert [corner == rgb(INK) for corner in corners] == [i == row for i in range(8)]
        sheets.append(np.asarray(drawing.picture))
    below = boxes[-1][1] + 60
    assert (sheets[0][below:] != sheets[1][below:]).any()
    green = [(sheet[below:] == rgb("#117733")).all(-1).any(0) for sheet in sheets]  # columns that bars stand in
    ends = np.flatnonzero(np.diff(green[1].astype(int)))
    heights = [(sheets[1][below:] == rgb("#117733")).all(-1)[:, x + 2].sum() for x in ends[::2]]
    shares = table.probability[5].numpy()
    assert len(heights) == 8
    np.testing.assert_allclose(np.array(heights) / max(heights), shares / shares.max(), atol=0.02)


def test_pulls_point_upwards_and_pushes_downwards():
    from PIL import Image, ImageDraw

    for up in (True, False):
        sheet = Image.new("RGB", (40, 40), "white")
        matrices.arrow(ImageDraw.Draw(sheet), (20, 20), 8, up, INK)
        dark = (np.asarray(sheet)[..., 0] < 128).sum(axis=1)
        widths = dark[dark > 0]
        assert (np.diff(widths) >= 0).all() if up else (np.diff(widths) <= 0).all()
        assert widths.max() > 12
    table = loss_table("soft_cross_entropy", drawn().with_queue(16), 0.2)
    arrows = matrices.panels_of(table)[-1].arrows
    assert ((arrows > 0) == (table.gradient < 0).numpy()).all()
    assert abs(arrows).max() == 1


def test_texts_are_short_and_true():
    assert [matrices.cosine_text(x) for x in (1.0, 0.456, -0.456, -0.001, -1.0)] == ["1.00", ".46", "-.46", ".00", "-1.00"]
    assert [matrices.percent_text(x) for x in (1.0, 0.123, 0.0094, 0.0004)] == ["100", "12", ".9", "0"]
    assert [matrices.signed_text(x) for x in (-12.3, -0.5, 0.0444, -0.0004)] == ["-12.3", "-.50", ".044", "0"]


def test_pairs_that_do_not_count_are_hatched():
    batch = drawn(4)
    for name, panel, hatched in (("nt_xent", 0, "diagonal"), ("negative_cosine", 1, "rest"), ("info_nce", 0, "none")):
        found = matrices.panels_of(loss_table(name, batch))[panel].blank
        eye = np.eye(len(found), dtype=bool)
        assert (found == {"diagonal": eye, "rest": ~eye, "none": np.zeros_like(eye)}[hatched]).all()
    assert len(matrices.panels_of(loss_table("negative_cosine", batch))) == 2  # no softmax
    assert len(matrices.panels_of(loss_table("distillation_kl", batch))) == 4  # the target besides


def test_thumbnails_stand_at_the_heads():
    batch = with_pictures()
    drawing = similarity_figure(loss_table("nt_xent", batch), batch, None, 0)
    for name, colour in (("D1", (250, 0, 0)), ("D2", (0, 250, 0))):  # a first view, a second one
        x, y, width, height = boxes_of(drawing)[name]
        assert drawing.picture.getpixel((x + width - 6, y + height // 2)) == colour
    kinds = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}
    for name, queue, colours in (
        ("nt_xent", 4, {"red", "green"}), ("info_nce", 4, {"green"}), ("info_nce_queue", 4, {"blue"}),
        ("info_nce_queue", 64, set()),  # columns too narrow for pictures
    ):  # fmt: skip
        batch = with_pictures(queue=queue)
        drawing = similarity_figure(loss_table(name, batch), batch, None, 0)
        above = np.asarray(drawing.picture)[: boxes_of(drawing)["A1"][1] - 2]
        assert {kind for kind, colour in kinds.items() if (above == colour).all(-1).any()} == colours


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("n, queue", [(2, 1), (8, 16), (16, 64)])
@pytest.mark.parametrize("pictures", [False, True])
def test_everything_is_on_the_page(name, n, queue, pictures):
    """For every size of batch and queue and at both ends of the temperatures; a white border is left all around."""
    batch = with_pictures(n, queue) if pictures else drawn(n).with_queue(queue)
    found = curves(name, batch)
    for temperature in (0.02, 0.045, 2.0):
        rows = heads(name, batch)[0]
        drawing = similarity_figure(loss_table(name, batch, temperature), batch, found, len(rows) - 1)
        boxes, (width, height) = boxes_of(drawing), drawing.picture.size
        assert fits_its_page(drawing.picture) and list(boxes) == rows and width == 808
        assert all(0 < x and 0 < y and x + w < width and y + h < height for x, y, w, h in boxes.values())
        tops = [y for _, y, _, _ in boxes.values()]
        assert all(a + h <= b for a, b, (*_, h) in zip(tops, tops[1:], boxes.values(), strict=False))  # no head on another


def test_the_same_table_gives_the_same_bytes_and_a_row_must_be_there():
    batch = drawn()
    table = loss_table("nt_xent", batch)
    first, second = (canvas.png(similarity_figure(table, batch, curves("nt_xent", batch), 3).picture) for _ in range(2))
    assert first == second
    with pytest.raises(InputError, match="anchors 0 to 15"):
        similarity_figure(table, batch, None, 16)
