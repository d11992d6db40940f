"""The paper's table: every figure is that of its file, what was not run is empty, and nothing is mixed."""

import json
from pathlib import Path

import pytest

from mnclglf_lite.results import paper_table
from mnclglf_lite.results.published import PAPER

KEPT = Path(__file__).resolve().parents[2] / "data" / "runs"


def cells(text):
    """Row title: its cells."""
    lines = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("|")]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in lines[2:]}


def test_every_figure_is_that_of_its_file():
    rows = cells(paper_table.table(markdown=True))
    kept = json.loads((KEPT / "cifar10-slim" / "compare.json").read_text())["rows"]
    assert list(rows) == list(paper_table.ROWS.values())
    for name, title in paper_table.ROWS.items():
        run, base = kept[name]["runs"][0], kept["simclr"]["runs"][0]
        linear = run["linear"]["top1"]
        want = [f"{100 * linear:.1f}", f"{100 * run['knn']['raw']['top1']:.1f}", f"{linear / base['linear']['top1']:.3f}"]
        assert rows[title][6:9] == want and rows[title][9] == f"{run['train_seconds']:.0f}"
        if name in PAPER:
            top1 = PAPER[name][0][0]
            assert rows[title][:2] == [f"{top1:.2f}", f"{top1 / 87.11:.3f}"]
        else:
            assert rows[title][:2] == ["-", "-"]


def keep(folder, name, linear, state="complete", pretend=False):
    """A record of the GPU script, with what the table reads."""
    (folder / "gpu").mkdir(exist_ok=True)
    test = {"linear": {"top1": linear}, "knn": {"raw": {"top1": 0.9}}, "on": "test"}
    record = {"state": state, "test": test, "train_seconds": 90.0, "epochs": 50.2, "recipe": {"seed": 0}, "pretend": pretend}
    (folder / "gpu" / f"{name}.json").write_text(json.dumps(record | {"hardware": "some GPU"}))


@pytest.mark.parametrize("state", ["complete", "open", "failed"])
def test_a_run_on_a_gpu_is_shown_once_it_is_complete(tmp_path, state):
    for name, linear in (("simclr", 0.88), ("mnclglf", 0.902)):
        keep(tmp_path, name, linear, state)
    text = paper_table.table(tmp_path, markdown=True)
    drawn = cells(text)["MNCLGLF as drawn"]
    assert drawn[2:6] == (["90.20", "90.0", "1.025", "1.5"] if state == "complete" else ["-"] * 4)
    assert drawn[6:] == ["-"] * 4 and ("some GPU" in text) == (state == "complete")
    assert ("not run yet" in text) == (state != "complete")


def test_a_pretended_run_is_never_shown(tmp_path):
    keep(tmp_path, "simclr", 0.88, pretend=True)
    assert "not run yet" in paper_table.table(tmp_path)


def test_without_simclr_there_is_no_ratio_to_it(tmp_path):
    keep(tmp_path, "byol", 0.84)
    assert cells(paper_table.table(tmp_path, markdown=True))["BYOL"][2:6] == ["84.00", "90.0", "-", "1.5"]
