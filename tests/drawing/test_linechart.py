"""Small charts: points where they belong, dashes of even length, few ticks; and labels that keep apart."""

import math
import random

import numpy as np
import pytest

from mnclglf_lite.drawing.canvas import apart
from mnclglf_lite.drawing.linechart import DASHED, DOTTED, Chart, Line, key, ticks
from mnclglf_lite.drawing.strokes import dashes

Image = pytest.importorskip("PIL.Image")


def test_a_chart_puts_points_where_they_belong():
    chart = Chart((50, 20, 100, 60), (0, 10), (0, 2))
    assert chart.at(0, 0) == (50, 80) and chart.at(10, 2) == (150, 20) and chart.at(5, 1) == (100, 50)
    assert chart.at(20, 9) == (150, 20)  # beyond the edge: on it
    logs = Chart((0, 0, 100, 100), (0.01, 1), (0.001, 10), log_x=True, log_y=True)
    assert logs.at(0.1, 0.1) == pytest.approx((50, 50)) and logs.at(1, 0) == (100, 100)


def drawn(*args, **kwargs):
    sheet = Image.new("RGB", (200, 110), "white")
    Chart((10, 10, 180, 80), (0, 1), (0, 1)).draw(sheet, *args, **kwargs)
    return np.asarray(sheet).astype(int)


def test_lines_are_drawn_through_their_points_and_dashed_ones_have_gaps():
    shares = {}
    for dash in ((), DASHED, DOTTED):
        row = drawn([Line((0, 1), (0.5, 0.5), "#FF0000", 3, dash)])[50, 12:188]
        shares[dash] = ((row[:, 0] > 200) & (row[:, 1] < 60)).mean()
    assert shares[()] > 0.98
    assert 0.45 < shares[DASHED] < 0.75 and 0.15 < shares[DOTTED] < 0.6
    page = drawn([], (Line((0, 1), (0.8, 0.8)), Line((0, 1), (0.4, 0.4))), "#00FF00")
    column = (page[:, 100] == (0, 255, 0)).all(-1)
    assert column[28:56].all() and not column[:24].any() and not column[60:].any()


def test_points_are_discs_where_asked_for_and_those_that_are_not_finite_are_left_out():
    red = (drawn([Line((0.2, 0.4, 0.6), (0.5, math.nan, 0.5), "#FF0000", width=0, dots=True)])[:, :, 1] < 100).any(0)
    assert np.flatnonzero(red).tolist() == [*range(44, 49), *range(116, 121)]  # pixels 46 and 118, 2.5 to each side
    assert (drawn([Line((0.5,), (0.5,), "#FF0000")])[:, :, 1] < 100).any()  # a lone point cannot be joined


def test_dashes_have_even_length_whatever_the_bends():
    draw = random.Random(0)
    points = [(draw.uniform(0, 50), draw.uniform(0, 50)) for _ in range(12)]
    length = sum(map(math.dist, points, points[1:]))
    for dash in (DASHED, DOTTED, (14, 3)):
        whole, rest = divmod(length, sum(dash))
        found = sum(math.dist(*piece) for piece in dashes(points, dash))
        assert found == pytest.approx(whole * dash[0] + min(rest, dash[0]), abs=1e-4)
    assert dashes(points, ()) == [points] and dashes(points[:1], ()) == dashes(points[:1], DASHED) == []


def test_a_key_wraps_into_rows():
    sheet, line = Image.new("RGB", (300, 80), "white"), Line((), ())
    assert [key(sheet, (5, 5), 200, [("a name", line)] * n) for n in (1, 2, 4)] == [18, 18, 36]
    assert (np.asarray(sheet)[:, 206:] == 255).all()


@pytest.mark.parametrize("low, high", [(0, 1), (1.9, 2.3), (-3, 40), (0, 1e-7), (1e8, 3e8)])
def test_ticks_are_few_and_round(low, high):
    values = [value for value, _ in ticks(low, high)]
    assert 2 <= len(values) <= 6 and low <= values[0] and values[-1] <= high
    assert all(len(text) < 8 for _, text in ticks(low, high))


def test_labels_stand_as_near_as_they_can():
    """Against scikit-learn's isotonic regression, on which such places come down."""
    isotonic = pytest.importorskip("sklearn.isotonic").IsotonicRegression
    draw = np.random.default_rng(0)
    for _ in range(50):
        n = int(draw.integers(1, 12))
        wanted, gaps = draw.uniform(-50, 50, n), draw.uniform(0, 20, n)
        shift = np.cumsum([0, *gaps[1:]])
        expected = isotonic().fit_transform(range(n), wanted - shift) + shift
        np.testing.assert_allclose(apart(wanted, gaps), expected, atol=1e-9)
        bound = apart(np.sort(wanted), [5.0] * n, -30, 30)
        assert min(bound) >= -30 - 1e-9 and max(bound) <= 30 + 1e-9 and (np.diff(bound) >= 5 - 1e-9).all()
    assert apart([], []) == []
