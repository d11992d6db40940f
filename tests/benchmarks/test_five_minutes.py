"""The run of five minutes has the settings that its trials chose, and the README says of them what they found."""

import json
from pathlib import Path

import pytest

from benchmarks import five_minutes
from mnclglf_lite.recipe import flags
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.results import records

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def trials():
    return {five_minutes.flags_of(row): row for row in json.loads(five_minutes.OUT.read_text())["rows"]}


def knn(row):
    return 100 * row["knn20"]["raw"]


def as_words(words):
    """Flags and numbers alike, however a number is written."""
    return sorted(f"{float(word):g}" if word[0].isdigit() else word for word in words)


def test_every_trial_stands_in_the_file_and_its_flags_are_those_of_train(trials):
    assert {flags: row["steps"] for flags, row in trials.items()} == five_minutes.TRIALS
    for line, steps in five_minutes.TRIALS.items():
        said = flags.words(five_minutes.recipe_of(line, steps))
        given = ["--method", "simclr", "--dataset", "cifar10", "--steps", str(steps), *line.split()]
        assert as_words(said) == as_words(given)


def test_the_run_of_five_minutes_has_the_best_trials_settings(trials):
    best = max(trials, key=lambda line: knn(trials[line]))
    kept = Recipe.from_dict(json.loads((records.KEPT / "five-minutes-c10" / "recipe.json").read_text()))
    assert kept == five_minutes.recipe_of(best, kept.optim.steps)
    result = json.loads((records.KEPT / "five-minutes-c10" / "result.json").read_text())
    assert result["step"] == kept.optim.steps and result["train_seconds"] <= 300
    assert best in " ".join((ROOT / "README.md").read_text().split())


def test_what_the_readme_says_of_the_trials_beside_its_numbers(trials):
    """ "The wider net shows when features are whitened", and both runs of its table ran on the same hardware."""
    wide, quick = trials["--width 32"]["knn20"], trials[""]["knn20"]
    assert wide["whitened"] - quick["whitened"] > 0.02 > 0.01 > abs(wide["raw"] - quick["raw"])
    folders = [records.KEPT / name for name in ("five-minutes-c10", "quick-c10-simclr")]
    runs = [json.loads((folder / "result.json").read_text()) for folder in folders]
    assert len({run["rows"]["simclr"]["hardware"] for run in runs}) == 1 and len({run["step"] for run in runs}) == 1


def test_a_trial_is_made_once_and_shares_are_put_together(monkeypatch, tmp_path, capsys, toys):
    """On toys in place of photographs, a few steps each."""
    monkeypatch.setattr(five_minutes, "OUT", tmp_path / "trials.json")
    monkeypatch.setattr(
        five_minutes, "TRIALS", {"--batch-size 8": 2, "--batch-size 8 --lr 0.6": 3, "--batch-size 8 --width 8": 2}
    )
    monkeypatch.setattr(five_minutes, "load_dataset", lambda name, root=None, device="cpu": toys)
    five_minutes.main(["--share", "1/2"])
    half = json.loads(five_minutes.part(1, 2).read_text())["rows"]
    assert [row["flags"] for row in half] == ["--batch-size 8", "--batch-size 8 --width 8"]
    five_minutes.main([])
    rows = json.loads((tmp_path / "trials.json").read_text())["rows"]
    assert [row["steps"] for row in rows] == [2, 3, 2] and [rows[0], rows[2]] == half
    assert not five_minutes.part(1, 2).exists()
    assert sum(line.startswith("kNN ") for line in capsys.readouterr().out.splitlines()) == 3
    before = (tmp_path / "trials.json").read_bytes()
    old = {"rows": [rows[0] | {"steps": 1}, rows[1] | {"knn20": None}]}  # an older trial, and one that is kept already
    five_minutes.part(2, 3).write_text(json.dumps(old))
    monkeypatch.setattr(five_minutes, "trial", None)  # nothing is left to do
    five_minutes.main([])
    assert (tmp_path / "trials.json").read_bytes() == before
