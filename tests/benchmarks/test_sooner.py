"""Seconds to a target: the shortest length is found, and the kept record is what its own lengths and paces say."""

import json
from statistics import median

import pytest

from benchmarks import timing
from benchmarks.experiments import sooner


@pytest.mark.parametrize("guess", [50, 200, 350, 600])
@pytest.mark.parametrize("reached", [50, 300, 450])
def test_the_shortest_length_is_found_from_any_guess(guess, reached, capsys):
    asked, rows = [], {}

    def measure(steps):
        asked.append(steps)
        return sooner.TARGET if steps >= reached else sooner.TARGET - 0.001

    assert sooner.shortest("ours, Muon", guess, rows, measure) == reached
    assert len(asked) == len(set(asked)) == len(rows)  # no length twice
    assert sooner.shortest("ours, Muon", guess, rows, None) == reached  # what is kept is not measured again


def test_the_record_is_what_its_lengths_and_paces_say():
    found = json.loads((timing.RUNS / "sooner-cpu.json").read_text())
    assert (found["target"], found["grid"], found["split"]) == (sooner.TARGET, sooner.GRID, "holdout")
    for variant in sooner.VARIANTS:
        rows, steps = found["lengths"][variant], found["steps"][variant]
        assert rows[str(steps)] >= sooner.TARGET > rows[str(steps - sooner.GRID)]
        assert found["seconds"][variant] == pytest.approx(steps * median(found["step_seconds"][variant]))
        assert found["ratios"][variant] == pytest.approx(found["seconds"][variant] / found["seconds"]["ours, Muon"])
