"""The paper's table: every figure is that of its file, what was not run is empty, and nothing is mixed."""

import json
from pathlib import Path

import pytest

from mnclglf_lite import paper_table
from mnclglf_lite.published import PAPER

KEPT = Path(__file__).resolve().parents[1] / "data" / "runs"


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


@pytest.mark.parametrize("state", ["complete", "interrupted"])
def test_a_run_on_a_gpu_is_shown_once_it_is_complete(tmp_path, state):
    for name, linear in (("c10-simclr", 0.88), ("c10-drawn", 0.902)):
        item = tmp_path / "gpu" / name
        item.mkdir(parents=True)
        (item / "item.json").write_text(json.dumps({"state": state}))
        row = {"knn": {"raw": {"top1": 0.9}}, "on": "holdout", "hardware": "cuda, some GPU"}
        paper = {"last": {"top1": linear}, "best_on_test": {"top1": 0.99}}
        result = {"rows": {"raw pixels": {}, "x": row}, "paper_linear": paper, "train_seconds": 600.0}
        (item / "result.json").write_text(json.dumps(result | {"recipe": {"seed": 0, "epochs": 200.0}}))
    text = paper_table.table(tmp_path, markdown=True)
    drawn = cells(text)["MNCLGLF as drawn"]
    assert drawn[2:6] == (["90.20", "90.0", "1.025", "10"] if state == "complete" else ["-"] * 4)
    assert drawn[6:] == ["-"] * 4 and ("some GPU" in text) == (state == "complete")
    assert ("not run yet" in text) == (state != "complete")
