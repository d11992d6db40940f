"""Numbers as colours: the signed scale and ramps, tables side by side, ink that can be read on every fill."""

import itertools

import numpy as np
import pytest
import torch

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.drawing import heatmap, palette
from mnclglf_lite.drawing.palette import AGREE, DISAGREE, INK, ink_on, luminance, rgb
from mnclglf_lite.explorers.loss import matrices

pytest.importorskip("PIL.Image")


def test_the_signed_scale_runs_from_orange_over_white_to_blue():
    below, above = rgb(DISAGREE), rgb(AGREE)
    found = heatmap.signed(np.array([-2.0, -9.0, 0.0, np.nan, 2.0, np.inf]), 2.0).tolist()
    assert found == [list(c) for c in (below, below, (255, 255, 255), (255, 255, 255), above, above)]
    assert heatmap.signed(1.0, 2.0) == pytest.approx((np.array(above) + 255) / 2, abs=0.5)
    assert heatmap.signed(1.0, 0.0).tolist() == list(above) and heatmap.signed(0.0, 0.0).tolist() == [255] * 3


def test_shades_are_between_their_stops():
    assert heatmap.shade(np.array([0.0, 0.25, 1.0]), ("#000000", "#FF0000", "#FFFFFF")).tolist() == [
        [0, 0, 0], [128, 0, 0], [255, 255, 255]
    ]  # fmt: skip
    assert (np.diff(luminance(heatmap.shade(np.linspace(0, 1, 50), heatmap.MORE))) < 0).all()  # order shows without colour
    with pytest.raises(InputError, match="finite"):
        heatmap.shade(np.array([np.nan]), heatmap.MORE)


def test_ink_can_be_read_on_every_fill():
    """Its contrast (WCAG 2) is that of the better of black and white, and at least 4.5 : 1, as small text needs it."""
    ramps = [heatmap.SIGNED, heatmap.MORE, *(("#FFFFFF", deep) for deep in (matrices.SIMILARITY, matrices.SOFTMAX, AGREE))]
    fills = [np.array([rgb(c) for c in (*palette.CLASS_COLOURS, *palette.CLASS_COLOURS_ON_DARK, *palette.BOX_COLOURS)])]
    fills += [heatmap.shade(np.linspace(0, 1, 256), ramp) for ramp in ramps]
    fills.append(np.array(list(itertools.product(range(0, 256, 15), repeat=3))))
    light = luminance(np.concatenate(fills))
    on = {"black": (light + 0.05) / 0.05, "white": 1.05 / (light + 0.05)}
    chosen = np.array([on[ink][i] for i, ink in enumerate(ink_on(np.concatenate(fills)))])
    assert (chosen >= 4.5).all() and (chosen >= np.maximum(*on.values()) - 0.02).all()
    assert luminance("#FFFFFF") == pytest.approx(1) and luminance(INK) == pytest.approx(0.016, abs=1e-3)
    assert (ink_on("#FFFFFF"), ink_on("#000000")) == ("black", "white")


def test_each_number_has_its_cell_and_differences_are_framed():
    left = torch.tensor([[1.0, -1.0], [0.0, 0.5]])
    right = left.clone()
    right[1, 0] = 1.0
    sheet = np.asarray(heatmap.side_by_side(left, right, ("expected", "yours")))
    width, height = heatmap.CELL
    top = sheet.shape[0] - 2 * height - 14

    def corner(side, i, j):
        return tuple(sheet[top + i * height + 4, 14 + side * (2 * width + 30) + j * width + 4])

    assert corner(0, 0, 0) == rgb(AGREE) and corner(0, 0, 1) == rgb(DISAGREE) and corner(0, 1, 0) == (255, 255, 255)
    assert corner(1, 1, 0) == rgb(AGREE)
    framed = tuple(sheet[top + height + 1, 14 + 2 * width + 30 + 10])
    assert framed == rgb(INK)


def test_large_tables_have_no_numbers_and_small_zeros_no_minus():
    assert heatmap.side_by_side(torch.zeros(20, 20), torch.zeros(20, 20), ("a", "b")).width < 600
    assert heatmap.short(-0.001) == "0.00" and heatmap.short(-0.01) == "-0.01"


def test_bad_input():
    with pytest.raises(InputError, match="of one shape"):
        heatmap.side_by_side(torch.zeros(2, 3), torch.zeros(3, 2), ("a", "b"))
