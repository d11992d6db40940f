"""The race: the test pictures are asked once and late, and an attempt that was stopped goes on as if it had not been."""

import contextlib
import json

import pytest
import torch
from conftest import tiny

from benchmarks import race
from mnclglf_lite import checkpoint
from mnclglf_lite.errors import InputError

CPU = torch.device("cpu")


@pytest.fixture
def asked(monkeypatch):
    """What was asked of what, in order: (pictures in the bank, split of the queries)."""
    real, seen = race.asked, []

    def spy(run, bank, queries):
        seen.append((len(bank), queries.split))
        return real(run, bank, queries)

    monkeypatch.setattr(race, "asked", spy)
    return seen


def run(folder, toys, target=1.0, every=1, **changes):
    recipe = tiny("simclr", steps=3 * (len(toys.train) // tiny().batch), **changes)
    return race.race(recipe, toys, folder, target=target, every=every, device=CPU)


def test_the_test_set_is_asked_once_when_all_is_over(tmp_path, toys, asked):
    found = run(tmp_path, toys)
    train, held = len(toys.train), len(toys.holdout)
    assert asked == [(train, "holdout")] * 3 + [(train + held, "test")]
    assert found["complete"] and not found["reached_on_holdout"] and [row["epoch"] for row in found["curve"]] == [1, 2, 3]
    assert (
        found["seconds"] > 0
        and found["evaluation_seconds"] > 0
        and found == json.loads((tmp_path / "race.json").read_text())
    )
    assert run(tmp_path, toys) == found and len(asked) == 4  # done is done


def test_it_ends_when_the_holdout_says_so(tmp_path, toys, asked):
    found = run(tmp_path, toys, target=1e-9)
    assert [split for _, split in asked] == ["holdout", "test"]
    assert found["reached_on_holdout"] and found["epoch"] == 1 and found["holds"] == (found["test_knn"] >= 1e-9)


def test_the_last_run_trains_on_all_and_looks_at_nothing_on_the_way(tmp_path, toys, asked):
    found = run(tmp_path, toys, target=1e-9, holdout=False)
    assert asked == [(len(toys.train) + len(toys.holdout), "test")]
    assert found["whole"] and found["complete"] and not any("knn_holdout" in row for row in found["curve"])


def test_an_attempt_that_was_stopped_goes_on_to_the_same_end(tmp_path, toys, monkeypatch):
    whole = run(tmp_path / "whole", toys)
    real, left = race.train.between_steps, iter([False] * 5 + [True])
    with monkeypatch.context() as patch:
        patch.setattr(race.train, "between_steps", lambda: contextlib.nullcontext(lambda: next(left)))
        part = run(tmp_path / "parts", toys)
    assert not part["complete"] and part["step"] == 5 and race.train.between_steps is real
    with pytest.raises(InputError, match="another target"):
        run(tmp_path / "parts", toys, target=0.5)
    with pytest.raises(InputError, match="another recipe"):
        run(tmp_path / "parts", toys, lr=0.01)
    done = run(tmp_path / "parts", toys)
    assert [row["knn_holdout"] for row in done["curve"]] == [row["knn_holdout"] for row in whole["curve"]]
    assert done["test_knn"] == whole["test_knn"] and done["seconds"] > part["seconds"]
    one, other = (checkpoint.load(tmp_path / name / "checkpoint.pt", CPU)["method"] for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_cannot_be_is_refused():
    for words, said in ((["--every", "0"], "every"), (["--whole", "--no-test"], "one of the two")):
        with pytest.raises(InputError, match=said):
            race.main(words)
