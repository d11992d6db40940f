"""Tables as pictures: colours by sign and size, frames where two tables differ."""

import numpy as np
import pytest
import torch

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.drawing import heatmap
from mnclglf_lite.drawing.palette import AGREE, DISAGREE, INK

pytest.importorskip("PIL.Image")


def rgb(colour):
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def test_tints_run_from_blue_over_white_to_orange():
    assert heatmap.tint(-2.0, 2.0) == AGREE.lower() and heatmap.tint(2.0, 2.0) == DISAGREE.lower()
    assert heatmap.tint(0.0, 2.0) == heatmap.tint(float("nan"), 2.0) == heatmap.tint(1.0, 0.0) == "#ffffff"
    assert rgb(heatmap.tint(1.0, 2.0)) == tuple(round((a + 255) / 2) for a in rgb(DISAGREE))


def test_each_number_has_its_cell_and_differences_are_framed():
    left = torch.tensor([[1.0, -1.0], [0.0, 0.5]])
    right = left.clone()
    right[1, 0] = 1.0
    sheet = np.asarray(heatmap.side_by_side(left, right, ("expected", "yours")))
    width, height = heatmap.CELL
    top = sheet.shape[0] - 2 * height - 14

    def corner(side, i, j):
        return tuple(sheet[top + i * height + 4, 14 + side * (2 * width + 30) + j * width + 4])

    assert corner(0, 0, 0) == rgb(DISAGREE) and corner(0, 0, 1) == rgb(AGREE) and corner(0, 1, 0) == (255, 255, 255)
    assert corner(1, 1, 0) == rgb(DISAGREE)
    framed = tuple(sheet[top + height + 1, 14 + 2 * width + 30 + 10])
    assert framed == rgb(INK)


def test_large_tables_have_no_numbers_and_small_noughts_no_minus():
    assert heatmap.side_by_side(torch.zeros(20, 20), torch.zeros(20, 20), ("a", "b")).width < 600
    assert heatmap.short(-0.001) == "0.00" and heatmap.short(-0.01) == "-0.01"


def test_bad_input():
    with pytest.raises(InputError, match="of one shape"):
        heatmap.side_by_side(torch.zeros(2, 3), torch.zeros(3, 2), ("a", "b"))
