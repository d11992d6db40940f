"""The answer: its intervals are SciPy's, seeds are paired by number, and the words follow the numbers."""

import json
import math
import re
from pathlib import Path
from statistics import mean

import pytest
from scipy import stats

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.results import paired
from mnclglf_lite.results.paired import compare_rows, paired_difference

KEPT = Path(__file__).resolve().parents[2] / "data" / "runs"


def record(drawn, released, linear=None):
    """A comparison's record with two rows: kNN values, and linear ones (the same if none are given)."""
    rows = {}
    for name, values, others in zip(("drawn", "released"), (drawn, released), linear or (drawn, released), strict=True):
        pairs = enumerate(zip(values, others, strict=True))
        runs = [{"seed": seed, "knn20": {"raw": {"top1": a}}, "linear": {"top1": b}} for seed, (a, b) in pairs]
        rows[name] = {"runs": [run | {"steps": 9, "image_views": 99} for run in runs]}
    return {"dataset": "cifar10", "on": "test", "rows": rows}


def test_the_interval_is_that_of_the_paired_t_test():
    one, other = [0.512, 0.498, 0.505, 0.521], [0.507, 0.501, 0.493, 0.502]
    found = paired_difference(one, other)
    theirs = stats.ttest_rel([100 * x for x in one], [100 * x for x in other]).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert found.mean == pytest.approx(100 * (mean(one) - mean(other)))


def test_two_pairs_in_closed_form():
    """One degree of freedom: Cauchy's distribution, whose 97.5 % point is tan(0.475 pi)."""
    found = paired_difference([0.52, 0.50], [0.50, 0.50])  # differences 2 and 0: mean 1, error of the mean 1
    reach = math.tan(0.475 * math.pi)
    assert (found.low, found.high) == pytest.approx((1 - reach, 1 + reach)) and not found.clear


def test_seeds_are_paired_by_their_number_and_not_by_their_place():
    result = record([0.50, 0.60, 0.70], [0.49, 0.59, 0.69])
    result["rows"]["released"]["runs"].reverse()
    assert compare_rows(result, "drawn", "released").each == pytest.approx((1, 1, 1))
    del result["rows"]["released"]["runs"][0]  # seed 2: what has no partner is left out
    assert len(compare_rows(result, "drawn", "released").each) == 2
    with pytest.raises(InputError, match="two at least"):
        compare_rows(result, "drawn", "released", seeds=(1, 2))


LESS, NOISY, MORE = [0.48, 0.481, 0.479], [0.51, 0.49, 0.50], [0.52, 0.521, 0.519]


@pytest.mark.parametrize(
    ("knn", "linear", "words"),
    [
        (LESS, LESS, r"\*as drawn\* is ahead by both"),
        (MORE, MORE, r"\*as released\* is ahead by both"),
        (NOISY, NOISY, "not tell the two apart"),
        (LESS, NOISY, r"kNN \(k 20\) accuracy puts \*as drawn\* ahead, linear cannot"),
        (LESS, MORE, r"disagree: kNN \(k 20\) puts \*as drawn\* ahead, linear puts \*as released\* ahead"),
    ],
)
def test_the_words_follow_the_numbers(knn, linear, words):
    assert re.search(words, paired.sentences(record([0.5] * 3, knn, ([0.5] * 3, linear))))


def test_any_two_rows_are_told_by_the_names_given():
    result = record([0.5] * 3, MORE)
    result["rows"]["swap"], result["rows"]["none"] = result["rows"].pop("drawn"), result["rows"].pop("released")
    told = paired.sentences(result, "swap", "none", ("with the swap", "without"))
    assert "*with the swap* minus *without* is -2.00 points" in told and "*without* is ahead by both" in told
    assert "drawn" not in told


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="two at least; got 1 and 1"):
        paired_difference([0.5], [0.4])
    with pytest.raises(InputError, match="relesed"):
        compare_rows(record([0.5] * 3, [0.5] * 3), "drawn", "relesed")
    with pytest.raises(InputError, match="knn"):
        compare_rows(record([0.5] * 3, [0.5] * 3), "drawn", "released", "accuracy")


def test_the_picture_shows_every_seed_of_every_variant():
    result = json.loads((KEPT / "ablation" / "ask" / "compare.json").read_text())
    figure = paired.picture(result)
    for axes, measure in zip(figure.axes, paired.MEASURES, strict=True):
        names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        shown = dict(zip(names, axes.collections, strict=True))
        for name in result["rows"].keys() - {"drawn"}:
            want = compare_rows(result, name, "drawn", measure).each
            assert sorted(shown[paired.TITLES[name]].get_offsets()[:, 0]) == pytest.approx(sorted(want))
