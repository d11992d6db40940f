"""The trials: every line is a recipe, methods are tried equally often, and the quick preset is the best of them."""

import json
from types import SimpleNamespace

import pytest

from benchmarks.experiments import trials
from mnclglf_lite.methods.registry import METHODS
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import Recipe

TRIED = {("toybox", "45"): 10, ("cifar10", "60"): 4}  # image set and seconds: trials a method


def tuned(*words):
    """The trials that chose a method's settings: image set, seconds, method."""
    return [row for line, row in trials.kept().items() if line.split()[:4] == ["tune", *words]]


def test_every_line_of_the_plan_is_a_recipe_and_every_row_has_its_line():
    plan = trials.plan()
    assert len(set(plan)) == len(plan) and set(trials.kept()) <= set(plan)
    for line in plan:
        recipe, seconds = trials.recipe_of(line)
        assert recipe.data.dataset == line.split()[1] and recipe.method.name == line.split()[3] and seconds > 0
    for line, row in trials.kept().items():
        assert row["split"] == "holdout" and 0 < row["knn20"]["raw"] <= 1, line
        assert Recipe.from_dict(row["recipe"]).optim.steps == row["steps"]


@pytest.mark.parametrize(("dataset", "seconds"), TRIED)
@pytest.mark.parametrize("method", METHODS)
def test_the_quick_preset_is_the_best_of_as_many_trials_for_every_method(method, dataset, seconds):
    rows = tuned(dataset, seconds, method)
    assert len(rows) == TRIED[dataset, seconds]
    best = max(rows, key=lambda row: row["knn20"]["raw"])
    assert preset("quick", method, dataset, steps=best["steps"]).differences(Recipe.from_dict(best["recipe"])) == []


def test_five_minutes_were_tried_as_often_with_simclr_mnclglf_and_the_best_third_method():
    best = {method: max(row["knn20"]["raw"] for row in tuned("cifar10", "60", method)) for method in METHODS}
    third = max(best.keys() - {"supervised", "simclr", "mnclglf"}, key=best.get)
    counts = {method: len(tuned("cifar10", "300", method)) for method in METHODS}
    assert {method: count for method, count in counts.items() if count} == {"simclr": 2, "mnclglf": 2, third: 2}


def test_mnclglfs_parts_are_held_against_simclr_at_equal_views_with_three_seeds():
    rows = [row for line, row in trials.kept().items() if line.startswith("parts ")]
    seeds: dict[str, list[int]] = {}
    for row in rows:
        seeds.setdefault(trials.without_length_and_seed(row["trial"]), []).append(row["recipe"]["seed"])
    assert len(seeds) == 6 and all(sorted(each) == [0, 1, 2] for each in seeds.values())
    views = [trials.image_views(row) for row in rows]
    assert max(views) <= 1.01 * min(views)


def test_a_trial_is_made_once(monkeypatch, tmp_path, capsys):
    line = "explore toybox 1 simclr --steps 2 --batch-size 8 --width 4"
    (tmp_path / "plan.txt").write_text(f"# a comment\n\n{line}   # another\n")
    monkeypatch.setattr(trials, "PLAN", tmp_path / "plan.txt")
    monkeypatch.setattr(trials, "OUT", tmp_path / "rows.jsonl")
    made = []

    def process(command, **how):
        made.append(command[-1])
        said = json.dumps({"trial": made[-1], "knn20": {"raw": 0.5, "whitened": 0.6}}) + "\n"
        return SimpleNamespace(returncode=0, poll=lambda: 0, communicate=lambda: (said, None), kill=lambda: None)

    monkeypatch.setattr(trials.subprocess, "Popen", process)
    for _ in range(2):
        trials.main([])
    assert made == [line] and "50.00 60.00" in capsys.readouterr().out


def test_a_trials_row_says_what_was_trained(monkeypatch):
    monkeypatch.setattr(trials, "steps_in", lambda *given: 2)
    row = trials.trial("explore toybox 1 simclr --batch-size 8 --width 4 --temperature 0.4", None)
    assert row["steps"] == 2 and row["recipe"]["temperature"] == 0.4 and row["bank"] == 10_000 and row["queries"] == 1_000
    assert row["hardware"] and 0 <= row["knn20"]["raw"] <= 1
