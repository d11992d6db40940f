"""Runs of a core-hour: what each stage changes, and that its runs, weights and table come out whole, in shares or not."""

import json

import numpy as np
import pytest
import torch
from conftest import tiny
from shelves import history, put, result

from benchmarks.experiments import at_length
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.evaluation.evaluate import extract_features
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.results import export
from mnclglf_lite.training import train
from mnclglf_lite.training.run import load_run


def test_rows_are_the_quick_presets_with_one_thing_changed():
    there = at_length.stages()
    for name, changed in (at_length.FORMS | at_length.CLAIMS).items():
        method, row = name.split("-")[0], (there["cifar10"].recipes | there["claims"].recipes)[name]
        found = {line.split(":")[0] for line in preset("quick", method, "cifar10").differences(row)}
        assert found == set(changed), name
    for stage in there.values():
        assert stage.recipes.keys() == stage.seeds.keys()
        assert all(recipe.data.dataset == stage.dataset and recipe.data.holdout for recipe in stage.recipes.values())


def test_the_budget_is_forty_epochs_of_every_method():
    most = 3  # views of an image that a method of the table takes, MNCLGLF
    assert at_length.VIEWS >= 40 * 45_000 * most


@pytest.fixture
def small(monkeypatch, tmp_path, toys):
    """A stage of two methods on toys, with two seeds of one, in folders of its own."""
    recipes = {"simclr": tiny(method="simclr", steps=4), "mnclglf": tiny(steps=2)}
    stage = at_length.Stage("toybox-long", recipes, {"simclr": [0], "mnclglf": [0, 1]}, keeps="whole")
    monkeypatch.setattr(at_length, "stages", lambda: {"toybox": stage})
    monkeypatch.setattr(at_length, "load_dataset", lambda name, root=None, device="cpu": toys)
    monkeypatch.setattr(at_length.timing, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(at_length, "WEIGHTS", tmp_path / "weights")
    return tmp_path


def test_the_table_may_be_made_of_the_runs_that_are_there(small):
    with pytest.raises(InputError, match="no run of this stage"):
        at_length.main(["toybox", "--table"])
    at_length.main(["toybox", "--share", "3/3"])  # the third run alone
    at_length.main(["toybox", "--table"])
    rows = json.loads((small / "runs" / "toybox-long" / "compare.json").read_text())["rows"]
    assert {name: [run["seed"] for run in row["runs"]] for name, row in rows.items()} == {"mnclglf": [1]}


def test_shares_make_every_run_once_and_the_whole_call_makes_the_table(small, monkeypatch, toys):
    for which in ("1/2", "2/2"):
        at_length.main(["toybox", "--share", which])
    out = small / "runs" / "toybox-long"
    names = {"simclr-seed0", "mnclglf-seed0", "mnclglf-seed1"}
    assert {path.parent.name for path in out.glob("*/result.json")} == names and not (out / "compare.json").exists()
    for path in out.glob("*/checkpoint.pt"):
        if path.parent.name != "simclr-seed0":
            path.unlink()  # a run that has its result is not made again, wherever its checkpoint is
    monkeypatch.setattr(train, "train", None)
    at_length.main(["toybox"])
    rows = json.loads((out / "compare.json").read_text())["rows"]
    assert {name: [run["seed"] for run in row["runs"]] for name, row in rows.items()} == {"simclr": [0], "mnclglf": [0, 1]}
    weights = small / "weights" / "toybox"
    assert {path.name for path in weights.iterdir()} == {"simclr.safetensors", "mnclglf.safetensors"}
    kept, run = export.load_trained(weights / "simclr.safetensors"), load_run(out / "simclr-seed0", "cpu")
    for key, value in run.method.state_dict().items():
        torch.testing.assert_close(kept.method.state_dict()[key], value, rtol=1e-3, atol=1e-5)
    shots = sorted((out / "simclr-seed0" / "snapshots").iterdir())
    assert (int(shots[0].stem), int(shots[-1].stem)) == (0, run.step)
    features = extract_features(run.backbone, toys.test).numpy()
    np.testing.assert_allclose(np.load(shots[-1]), features, rtol=1e-3, atol=1e-4)
    assert not np.allclose(np.load(shots[0]), features, atol=1e-2)


def test_the_answer_reads_both_questions_and_the_agreement(monkeypatch, tmp_path):
    monkeypatch.setattr(at_length.timing, "RUNS", tmp_path)
    values = {"mnclglf": [0.60, 0.61, 0.62], "mnclglf-released": [0.59, 0.59, 0.61], "mnclglf-no-swap": [0.63, 0.64, 0.65]}
    rows = {name: {"runs": []} for name in values}
    for name, each in values.items():
        for seed, value in enumerate(each):
            way = [row | {"agreement": 0.2 + seed / 100 + row["epoch"] / 10} for row in history()]
            put(tmp_path / "cifar10-long" / f"{name}-seed{seed}", "mnclglf", seed, value, rows=way)
            rows[name]["runs"].append(result(value, seed=seed, steps=30, image_views=99))
    budget = {"minutes": None, "image_views": 99}
    whole = {"dataset": "cifar10", "on": "test", "baselines": {"raw pixels": result(0.2)}, "budget": budget}
    (tmp_path / "cifar10-long" / "compare.json").write_text(json.dumps(whole | {"rows": rows}))
    told = at_length.answer()
    assert "*as drawn* minus *as released* is +1.33 points" in told
    assert "*with the neighbour swap* minus *without it* is -3.00 points" in told and "*without it* is ahead by both" in told
    assert "30, 31, 32 % in the first epoch, 50, 51, 52 % in the last epoch" in told
