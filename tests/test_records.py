"""The records of runs that are kept in data/runs: the page of results says what they say, and they meet the bars."""

import json
from statistics import mean

import pytest
from conftest import interrupt_after

from benchmarks import report
from benchmarks.timing import ROOT, RUNS
from mnclglf_lite.cli.main import main
from mnclglf_lite.methods.registry import BUILT_IN
from mnclglf_lite.recipe import legacy
from mnclglf_lite.recipe.flags import all_settings
from mnclglf_lite.recipe.recipe import Recipe

METHODS = [method.Config.name for method in BUILT_IN]


def test_the_page_of_results_and_the_readmes_are_what_the_records_say():
    """`python -m benchmarks.report` writes it: no figure in it is typed by hand."""
    assert report.results() == (ROOT / "docs" / "results.md").read_text()
    for path, begin, text in report.marked():
        assert begin + text + report.END in path.read_text()


LINES = [(path.parent, json.loads(line)) for path in sorted(RUNS.glob("**/runs.jsonl")) for line in path.open()]


@pytest.mark.parametrize("kept", [pytest.param(line["recipe"], id=f"{of.name}-{line['name']}") for of, line in LINES])
def test_a_kept_recipe_can_still_be_read(kept):
    """Settings that came later have their defaults; none that stands in it has gone or means another type."""
    names = kept if "format" in kept else {legacy.RENAMED.get(name, name) for name in kept}
    assert set(names) <= {"format", "method", *all_settings()}
    read = json.loads(json.dumps(Recipe.from_dict(kept).to_dict()))
    for name, value in legacy.upgrade(kept).items():
        if isinstance(value, dict):  # a view
            assert value.items() <= read[name].items(), name
        else:
            assert read[name] == value, name


@pytest.mark.parametrize("method", [*METHODS, "mnclglf-released"])
def test_every_method_learned_on_the_toy_box(method):
    """Three seeds; at least 30 points of kNN (k 20) above the same network untrained, in the mean. BYOL
    falls short of that: after 45 seconds its seeds end anywhere between chance and half."""
    least = 0.15 if method == "byol" else 0.3
    found = json.loads((RUNS / "toybox" / "compare.json").read_text())
    untrained = found["baselines"]["random encoder"]["knn20"]["raw"]["top1"]
    top = [run["knn20"]["raw"]["top1"] for run in found["rows"][method]["runs"]]
    assert len(top) == 3 and mean(top) >= untrained + least


@pytest.mark.parametrize(
    ("name", "budget", "rows", "seeds"),
    [
        ("toybox", {"minutes": 0.75, "image_views": None}, [*METHODS, "mnclglf-released"], [0, 1, 2]),
        ("cifar10-slim", {"minutes": None, "image_views": 600_000}, [*METHODS, "mnclglf-released"], [0]),
        ("one-minute", {"minutes": 1.0, "image_views": None}, ["simclr", "moco", "mnclglf"], [0]),
        ("five-minutes", {"minutes": 4.5, "image_views": None}, ["simclr", "moco", "mnclglf"], [0]),
        ("toybox-minute", {"minutes": 1.0, "image_views": None}, ["mnclglf"], [0, 1, 2]),
    ],
)
def test_the_records_are_those_of_the_commands_on_the_page(name, budget, rows, seeds):
    found = json.loads((RUNS / name / "compare.json").read_text())
    assert found["budget"] == budget and found["on"] == "test" and list(found["rows"]) == rows
    for row in found["rows"].values():
        assert [run["seed"] for run in row["runs"]] == seeds
        for run in row["runs"]:
            if budget["minutes"] is None:
                assert run["image_views"] == pytest.approx(budget["image_views"], rel=0.01)
            else:
                assert run["train_seconds"] == pytest.approx(60 * budget["minutes"], rel=0.3)  # told from the first steps
    sizes = {row["recipe"]["view"]["size"] for row in found["rows"].values()}
    assert len(sizes) == 1  # as many views, or seconds, and as many pixels


def test_glnets_location_head_meets_its_bars():
    found = json.loads((RUNS / "glnet-location.json").read_text())
    assert {(row["base"], row["flip_patches"]) for row in found["runs"]} == {
        (base, flip) for base in ("moco_v3", "simclr") for flip in ("after", "before")
    }
    for row in found["runs"]:
        low, high = found["bars"][row["flip_patches"]]
        assert low <= row["location"]["quadrant"] <= high, row["base"]


def test_the_recipe_of_a_kept_record_starts_that_very_run(tmp_path, monkeypatch):
    """Its first epoch, whose loss differs from the record's only by the rounding of another processor."""
    of, line = next((of, line) for of, line in LINES if of.name == "toybox" and line["name"] == "simclr-seed0")
    first, out = line["history"][0], tmp_path / "again"
    interrupt_after(first["step"], monkeypatch)
    words = ["--recipe", of / line["name"], "--out", out, "--engine", "eager", "--device", "cpu"]
    assert main(["train", *map(str, words)]) == 130
    again = json.loads((out / "history.jsonl").read_text())
    assert json.loads((out / "recipe.json").read_text()) == line["recipe"] and again["step"] == first["step"]
    assert again["loss"] == pytest.approx(first["loss"], rel=0.01) and again["knn"] == pytest.approx(first["knn"], abs=0.1)
