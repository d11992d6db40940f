"""The ablation's recipes: one thing changed at a time, weights of one sum, settings from the hold-out alone."""

import json

import pytest
import torch
from conftest import tiny

from benchmarks.experiments import ablation
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.training import train

CHOICE = {"drawn": {"temperature": 0.2, "lr": 0.36}, "released": {"temperature": 0.5, "lr": 0.9}}


def test_each_form_is_asked_at_every_temperature_and_rate():
    asked = ablation.candidates()
    settings = {(r.method.local_gradient, r.method.temperature, r.optim.lr) for r in asked.values()}
    assert len(asked) == len(settings) == 24
    assert ablation.CHOOSING_SEED not in ablation.SEEDS


def test_the_best_of_each_form_is_taken_from_the_holdouts_knn():
    rows = {
        name: {"recipe": recipe.to_dict(), "runs": [{"knn20": {"raw": {"top1": 0.1}}, "linear": {"top1": 0.9}}]}
        for name, recipe in ablation.candidates().items()
    }
    rows["drawn-T0.5-lr0.36"]["runs"][0]["knn20"]["raw"]["top1"] = 0.3
    rows["released-T1-lr0.9"]["runs"][0]["knn20"]["raw"]["top1"] = 0.2
    found = ablation.best({"rows": rows})
    assert found == {"drawn": {"temperature": 0.5, "lr": 0.36}, "released": {"temperature": 1.0, "lr": 0.9}}


def test_one_thing_is_changed_at_a_time_and_weights_keep_their_sum():
    asked = ablation.variants(CHOICE)
    drawn = asked["drawn"]
    for name, recipe in asked.items():
        changed = {line.split(":")[0] for line in drawn.differences(recipe)}
        settings = {"temperature", "lr"} if name == "released" else set()
        assert changed == set(ablation.VARIANTS[name]) | settings, name
        counted = recipe.method.local_weight * recipe.method.local_gradient + recipe.method.global_weight
        assert counted == pytest.approx(2.0), name  # of the terms that teach
    six = asked["weights-1-to-6"]
    assert six.method.global_weight / six.method.local_weight == pytest.approx(6.0)


def test_global_only_is_the_run_as_released(toys):
    """Why it is left out: after three steps the weights are the same to the bit."""
    runs = [
        train.train(tiny(steps=3, precision="fp32", **changes), toys, device="cpu", log=lambda text: None)
        for changes in ({"local_gradient": False, "global_weight": 2.0}, {"local_weight": 0.0, "global_weight": 2.0})
    ]
    for a, b in zip(*(run.method.state_dict().values() for run in runs), strict=True):
        torch.testing.assert_close(a, b)


def test_every_variant_can_be_built():
    for recipe in ablation.variants(CHOICE).values():
        build_method(recipe, 10)


@pytest.fixture
def small(monkeypatch, tmp_path, toys):
    """The stage `long` on toys, two steps a run, in a folder of its own."""
    monkeypatch.setattr(ablation, "OUT", tmp_path)
    monkeypatch.setattr(ablation, "LONG_STEPS", 2)
    monkeypatch.setattr(ablation, "base", lambda **changes: tiny(**changes))
    monkeypatch.setattr(ablation, "load_dataset", lambda name, root=None, device="cpu": toys)
    return tmp_path / "long"


def test_shares_make_every_run_once_and_the_whole_call_makes_the_table(small, monkeypatch):
    """The call without a share trains nothing."""
    for which in ("1/2", "2/2"):
        ablation.main(["long", "--share", which])
    assert len(list(small.glob("*/result.json"))) == 9 and not (small / "compare.json").exists()
    monkeypatch.setattr(train, "train", None)
    ablation.main(["long"])
    rows = json.loads((small / "compare.json").read_text())["rows"]
    seeds = {name: [run["seed"] for run in row["runs"]] for name, row in rows.items()}
    assert seeds == dict.fromkeys(ablation.LONG, ablation.SEEDS) and (small / "answer.png").exists()


def test_a_share_refuses_runs_of_another_recipe_before_it_trains(small, monkeypatch):
    (folder := small / "no-swap-seed2").mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps(tiny(steps=3, seed=2, neighbour_swap=False).to_dict()))
    monkeypatch.setattr(train, "train", None)
    with pytest.raises(InputError, match="another recipe"):
        ablation.main(["long", "--share", "1/2"])
