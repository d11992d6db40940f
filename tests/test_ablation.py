"""The ablation's recipes: one thing changed at a time, weights of one sum, settings from the hold-out alone."""

import pytest
import torch
from conftest import tiny

from benchmarks import ablation
from mnclglf_lite import methods, train

CHOICE = {"drawn": {"temperature": 0.2, "lr": 0.36}, "released": {"temperature": 0.5, "lr": 0.9}}


def test_each_form_is_asked_at_every_temperature_and_rate():
    asked = ablation.candidates()
    assert len(asked) == 24 and len({(r.local_gradient, r.temperature, r.lr) for r in asked.values()}) == 24
    assert ablation.CHOOSING_SEED not in ablation.SEEDS


def test_the_best_of_each_form_is_taken_from_the_holdouts_knn():
    rows = {
        name: {"recipe": recipe.to_dict(), "runs": [{"knn20": {"raw": {"top1": 0.1}}, "linear": {"top1": 0.9}}]}
        for name, recipe in ablation.candidates().items()
    }
    rows["drawn-T0.5-lr0.36"]["runs"][0]["knn20"]["raw"]["top1"] = 0.3
    rows["released-T1-lr0.9"]["runs"][0]["knn20"]["raw"]["top1"] = 0.2
    assert ablation.best({"rows": rows}) == {
        "drawn": {"temperature": 0.5, "lr": 0.36},
        "released": {"temperature": 1.0, "lr": 0.9},
    }


def test_one_thing_is_changed_at_a_time_and_weights_keep_their_sum():
    asked = ablation.variants(CHOICE)
    drawn = asked["drawn"]
    for name, recipe in asked.items():
        changed = {line.split(":")[0] for line in drawn.differences(recipe)}
        settings = {"temperature", "lr"} if name == "released" else set()
        assert changed == set(ablation.VARIANTS[name]) | settings, name
        counted = recipe.local_weight * recipe.local_gradient + recipe.global_weight
        assert counted == pytest.approx(2.0), name  # of the terms that teach
    six = asked["weights-1-to-6"]
    assert six.global_weight / six.local_weight == pytest.approx(6.0)


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
        methods.build(recipe, 10)
