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


def kept(folder, name, linear, on, state="complete"):
    """An item of the queue, with what the table reads and what it must not."""
    item = folder / "gpu" / name
    item.mkdir(parents=True)
    (item / "item.json").write_text(json.dumps({"state": state}))
    row = {"knn": {"raw": {"top1": 0.9}}, "on": on, "hardware": "cuda, some GPU"}
    paper = {"last": {"top1": linear}, "best_on_test": {"top1": 0.99}}
    result = {"rows": {"raw pixels": {}, "x": row}, "paper_linear": paper, "train_seconds": 600.0}
    (item / "result.json").write_text(json.dumps(result | {"recipe": {"seed": 0, "epochs": 200.0}}))


@pytest.mark.parametrize("state", ["complete", "interrupted"])
def test_a_run_on_a_gpu_is_shown_once_it_is_complete(tmp_path, state):
    for name, linear in (("c10-simclr", 0.88), ("c10-drawn", 0.902)):
        kept(tmp_path, name, linear, "holdout", state)
    text = paper_table.table(tmp_path, markdown=True)
    drawn = cells(text)["MNCLGLF as drawn"]
    assert drawn[2:6] == (["90.20", "90.0", "1.025", "10"] if state == "complete" else ["-"] * 4)
    assert drawn[6:] == ["-"] * 4 and ("some GPU" in text) == (state == "complete")
    assert ("not run yet" in text) == (state != "complete")


def test_a_run_on_all_pictures_takes_the_place_of_the_one_that_kept_the_holdout_apart(tmp_path):
    for name, linear in (("c10-drawn", 0.89), ("c10-released", 0.88), ("c10-simclr", 0.8), ("c10-byol", 0.84)):
        kept(tmp_path, name, linear, "holdout")
    kept(tmp_path, "c10-drawn-final", 0.9, "test")
    kept(tmp_path, "c10-released-final", 0.95, "test", state="interrupted")
    rows, said = cells(paper_table.table(tmp_path, markdown=True)), paper_table.table(tmp_path)
    linears = {row: rows[row][2:5:2] for row in ("MNCLGLF as drawn", "MNCLGLF as released", "SimCLR", "BYOL")}
    assert linears == {
        "MNCLGLF as drawn": ["90.00", "-"],  # no ratio of what was asked of different pictures
        "MNCLGLF as released": ["88.00", "1.100"],
        "SimCLR": ["80.00", "1.000"],
        "BYOL": ["84.00", "1.050"],
    }
    assert "asked on test: MNCLGLF as drawn;" in said
    assert "asked on the hold-out: SimCLR, BYOL, MNCLGLF as released;" in said
    kept(tmp_path, "c10-simclr-final", 0.75, "test")
    rows = cells(paper_table.table(tmp_path, markdown=True))
    assert rows["MNCLGLF as drawn"][4] == "1.200" and rows["BYOL"][4] == "-"
