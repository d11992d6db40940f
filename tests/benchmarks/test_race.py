"""The race: test images are evaluated once and late, and an attempt that was stopped goes on as if it had not been."""

import contextlib
import json

import pytest
import torch
from conftest import tiny

from benchmarks.experiments import race
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.data import dataset
from mnclglf_lite.evaluation import evaluate
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.training import checkpoint
from mnclglf_lite.training.prepare import open_run

CPU = torch.device("cpu")


@pytest.fixture
def asked(monkeypatch):
    """What was evaluated on what, in order: (images in the bank, split of the queries, measures)."""
    real, seen = race.accuracies, []

    def spy(run, bank, queries, measures):
        seen.append((len(bank), queries.split, *measures))
        return real(run, bank, queries, measures)

    monkeypatch.setattr(race, "accuracies", spy)
    return seen


def run(folder, toys, knn=1.0, linear=1.0, every=1, **changes):
    recipe = tiny("simclr", steps=3 * (len(toys.train) // tiny().optim.batch_size), **{"seed": 1, **changes})
    return race.race(recipe, toys, folder, targets={"knn": knn, "linear": linear}, every=every, device=CPU)


def test_the_test_set_is_asked_once_when_all_is_over(tmp_path, toys, asked):
    found = run(tmp_path, toys)
    train, held = len(toys.train), len(toys.holdout)
    assert asked == [(train, "holdout", "knn", "linear")] * 3 + [(train + held, "test", "knn", "linear")]
    assert found["complete"] and [row["epoch"] for row in found["curve"]] == [1, 2, 3]
    assert not any(mark["reached_on_holdout"] or mark["holds"] for mark in found["marks"].values())
    assert found["seconds"] > 0 and found["evaluation_seconds"] > 0
    assert found == json.loads((tmp_path / "race.json").read_text())
    assert run(tmp_path, toys) == found and len(asked) == 4  # done is done


def test_it_ends_when_the_holdout_says_so(tmp_path, toys, asked):
    found = run(tmp_path, toys, knn=1e-9, linear=1e-9)
    assert [split for _, split, *_ in asked] == ["holdout", "test"] and found["epoch"] == 1
    for mark in found["marks"].values():
        assert mark["reached_on_holdout"] and mark["epoch"] == 1 and mark["holds"] == (mark["test"] >= 1e-9)


def test_each_measure_has_its_own_end_and_is_asked_of_the_test_set_there_alone(tmp_path, toys, asked):
    found = run(tmp_path, toys, linear=1e-9)
    assert [what[1:] for what in asked] == [
        ("holdout", "knn", "linear"), ("test", "linear"), *[("holdout", "knn")] * 2, ("test", "knn"),
    ]  # fmt: skip
    assert found["marks"]["linear"]["epoch"] == 1 and found["marks"]["knn"]["epoch"] == found["epoch"] == 3
    assert found["marks"]["linear"]["seconds"] < found["marks"]["knn"]["seconds"] == found["seconds"]


def test_a_measure_says_what_its_own_function_says(tmp_path, toys):
    """On the weights that a finished attempt has left."""
    found = run(tmp_path, toys)
    left = open_run(Recipe.from_dict(found["recipe"]), toys, tmp_path, True, CPU)
    everything = dataset.joined(toys.train, toys.holdout)
    row = evaluate.evaluate(left.backbone, toys._replace(train=everything), "test", transforms=("raw",))
    said = {name: mark["test"] for name, mark in found["marks"].items()}
    assert said == {"knn": row["knn10"]["raw"]["top1"], "linear": pytest.approx(row["linear"]["top1"], abs=0.02)}


def test_the_last_run_trains_on_all_and_looks_at_nothing_on_the_way(tmp_path, toys, asked):
    found = run(tmp_path, toys, knn=1e-9, linear=1e-9, holdout=False)
    assert asked == [(len(toys.train) + len(toys.holdout), "test", "knn", "linear")]
    assert found["whole"] and found["complete"] and not any("holdout" in row for row in found["curve"])


def test_an_attempt_that_was_stopped_goes_on_to_the_same_end(tmp_path, toys, monkeypatch):
    whole = run(tmp_path / "whole", toys, linear=1e-9)
    real, left = race.stop_between_steps, iter([False] * 25 + [True])  # in the second epoch, of 20 steps
    with monkeypatch.context() as patch:
        patch.setattr(race, "stop_between_steps", lambda: contextlib.nullcontext(lambda: next(left)))
        part = run(tmp_path / "parts", toys, linear=1e-9)
    assert not part["complete"] and part["step"] == 25 and race.stop_between_steps is real
    with pytest.raises(InputError, match="other targets"):
        run(tmp_path / "parts", toys, knn=0.5)
    with pytest.raises(InputError, match="another recipe"):
        run(tmp_path / "parts", toys, linear=1e-9, lr=0.01)
    done = run(tmp_path / "parts", toys, linear=1e-9)
    assert [row["holdout"] for row in done["curve"]] == [row["holdout"] for row in whole["curve"]]
    for name, mark in whole["marks"].items():
        assert {**done["marks"][name], "seconds": mark["seconds"]} == mark
    assert done["marks"]["linear"] == part["marks"]["linear"] and done["seconds"] > part["seconds"]
    one, other = (checkpoint.load(tmp_path / name / "checkpoint.pt", CPU)["method"] for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_cannot_be_is_refused():
    for words, said in ((["--every", "0"], "every"), (["--whole", "--no-test"], "one of the two")):
        with pytest.raises(InputError, match=said):
            race.main(words)
