"""The comparison: equal budgets, one table, published numbers apart from ours, and a plot that shows what the table says."""

import copy
import json
import re
import shutil

import numpy as np
import pytest
from conftest import tiny

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.core.text import short_count
from mnclglf_lite.drawing import canvas
from mnclglf_lite.evaluation import evaluate
from mnclglf_lite.methods.registry import variant
from mnclglf_lite.results import compare

NAMES = ("simclr", "mnclglf-released", "supervised")


def recipes(*names, **changes):
    found = {}
    for name in names:
        method, more = variant(name)
        found[name] = tiny(method, **{**more, **changes})
    return found


@pytest.fixture(scope="module")
def compared(toys, tmp_path_factory):
    """Three ways, two seeds, 400 whole views each; and the folder."""
    folder = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNCLGLF_LITE_DATA", str(folder / "data"))
        quiet = {"device": "cpu", "log": lambda text: None}
        result = compare.compare(recipes(*NAMES), [0, 1], toys, folder / "c", image_views=400, **quiet)
    return result, folder / "c"


def test_under_torchrun_nothing_is_compared(toys, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(InputError, match="compare works in one process, and torchrun has started 4"):
        compare.compare(recipes("simclr"), [0], toys, tmp_path / "c", device="cpu")
    assert not (tmp_path / "c").exists()


# --- budgets ---


def test_every_method_is_shown_as_many_views(compared):
    result, _ = compared
    steps = {name: [run["steps"] for run in entry["runs"]] for name, entry in result["rows"].items()}
    assert steps == {"simclr": [12, 12], "mnclglf-released": [8, 8], "supervised": [25, 25]}  # 400 / (16 * 2, 3, 1)
    for name, entry in result["rows"].items():
        for run in entry["runs"]:
            assert run["image_views"] == run["steps"] * 16 * entry["cost"]["views"] and abs(run["image_views"] - 400) <= 24
            rate, seconds = run["image_views_per_second"], run["train_seconds"]  # both to a tenth
            least, most = run["image_views"] / (seconds + 0.06), run["image_views"] / max(seconds - 0.06, 1e-9)
            assert least - 0.06 <= rate <= most + 0.06, name
        assert entry["recipe"]["steps"] == entry["runs"][0]["steps"]
    assert result["budget"] == {"minutes": None, "image_views": 400}


def test_two_budgets_at_once_or_none_at_all_are_refused(toys, tmp_path):
    with pytest.raises(InputError, match="minutes and image_views each size the runs"):
        compare.compare(recipes("simclr"), [0], toys, tmp_path / "c", minutes=1, image_views=400)
    with pytest.raises(InputError, match="image_views must be at least 1; got -3"):
        compare.compare(recipes("simclr"), [0], toys, tmp_path / "c", image_views=-3)
    with pytest.raises(InputError, match="nothing to compare"):
        compare.compare({}, [0], toys, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_the_callers_recipes_stay_as_they_are(compared):
    assert recipes("simclr")["simclr"].optim.steps == 4 and compared[0]["rows"]["simclr"]["recipe"]["steps"] == 12


def test_what_was_measured_is_not_measured_again_and_what_changed_is(compared, toys, tmp_path, monkeypatch):
    """Two seeds of three methods lie in the folder; of one the result is lost, of one it is of another hold-out."""
    result, there = compared
    folder = tmp_path / "c"
    shutil.copytree(there, folder)
    (folder / "simclr-seed0" / "result.json").unlink()
    other = folder / "supervised-seed1" / "result.json"
    other.write_text(json.dumps(json.loads(other.read_text()) | {"queries": 7}))
    measured, plain = [], evaluate.evaluate
    monkeypatch.setattr(evaluate, "baseline_rows", lambda *given: result["baselines"])
    monkeypatch.setattr(evaluate, "evaluate", lambda *given, **more: measured.append(given) or plain(*given, **more))
    again = compare.compare(recipes(*NAMES), [0, 1], toys, folder, image_views=400, device="cpu", log=lambda text: None)
    assert len(measured) == 2
    for name, entry in result["rows"].items():
        for run, kept in zip(again["rows"][name]["runs"], entry["runs"], strict=True):
            clock = {"seconds": 0, "image_views_per_second": 0}  # of measuring; and a rate from seconds that are rounded
            assert run.keys() == kept.keys() and run | clock == kept | clock


# --- the table ---


def lines_of(text):
    """{first cell: the other cells} of a table's lines, in text or in Markdown."""
    rows = ([cell for cell in re.split(r"\s*\|\s*|\s{2,}", line) if cell] for line in text.split("\n"))
    return {row[0]: row[1:] for row in rows if row}


@pytest.mark.parametrize("markdown", [False, True])
def test_the_table_says_what_was_measured(compared, markdown):
    result, _ = compared
    rows = lines_of(compare.table(result, markdown))
    simclr = [run["linear"]["top1"] for run in result["rows"]["simclr"]["runs"]]
    for name, entry in result["rows"].items():
        knn, _, _, linear, top5, ratio, std, steps, seconds, views, params, flops = rows[name]
        runs = entry["runs"]
        for cell, values in (
            (knn, [run["knn"]["raw"]["top1"] for run in runs]),
            (linear, [run["linear"]["top1"] for run in runs]),
            (top5, [run["linear"]["top5"] for run in runs]),
        ):
            assert cell == f"{50 * sum(values):.1f} ±{50 * abs(values[0] - values[1]):.1f}", name
        assert float(ratio) == pytest.approx(sum(run["linear"]["top1"] for run in runs) / sum(simclr), abs=5e-4)
        assert flops == f"{entry['cost']['relative_flops']:.1f}" and params == short_count(entry["cost"]["parameters"])
        assert float(steps.replace(",", "")) == runs[0]["steps"]
        assert float(views.replace(",", "")) > 0 and float(seconds) >= 0 and 0 <= float(std) <= 1.5
    assert rows["simclr"][5] == "1.000" and rows["random encoder"][7:] == ["-"] * 5


def test_the_note_says_protocol_budget_seeds_labels_and_hardware(compared):
    result = copy.deepcopy(compared[0])
    facts = ["toybox", "holdout (40 images, bank 320)", "T 0.1", "400 whole views each", "seeds 0, 1", "labels: supervised"]
    assert all(fact in compare.note(result) for fact in [*facts, result["rows"]["simclr"]["runs"][0]["hardware"]])
    result["budget"] = {"minutes": 1.5, "image_views": None}
    assert "1.5 min each" in compare.note(result)
    del result["rows"]["supervised"]
    assert "with labels" not in compare.note(result)


def test_without_simclr_there_is_no_ratio(compared):
    result = copy.deepcopy(compared[0])
    del result["rows"]["simclr"]
    assert lines_of(compare.table(result))["supervised"][5] == "-"


def test_the_json_holds_everything(compared):
    result, folder = compared
    kept = json.loads((folder / "compare.json").read_text())
    assert kept == json.loads(json.dumps(result)) and compare.table(kept) == compare.table(result)
    assert set(kept["rows"]["simclr"]["cost"]) == {"parameters", "views", "relative_flops"}


def test_sizes_in_three_figures():
    sizes = {0: "0", 912: "912", 34_120: "34.1 k", 264_720: "265 k", 999_999: "1.00 M", 11_173_962: "11.2 M", 2e9: "2.00 G"}
    assert {count: short_count(count) for count in sizes} == sizes


# --- what others published ---


def test_on_the_toy_box_nothing_is_published(compared):
    assert compare.published_table(compared[0]) == [] and "published" not in compare.table(compared[0])


def test_published_numbers_stand_apart_from_ours(compared):
    result = copy.deepcopy(compared[0])
    result["dataset"] = "cifar10"
    ours, theirs = compare.table(result).split("published elsewhere")
    for number in ("87.11", "85.30", "87.72", "90.18", "92.89"):
        assert number not in ours and number in theirs
    rows, runs = lines_of(theirs), result["rows"]["simclr"]["runs"]
    for protocol, values, number in (
        ("linear, 90 epochs of crops at 224 px, best test", [run["linear"]["top1"] for run in runs], "87.11"),
        ("kNN, k 200, T 0.1, best epoch", [run["knn"]["raw"]["top1"] for run in runs], "85.30"),
    ):
        assert rows[f"simclr: {protocol}"][:2] == [compare.cell(values), number]
    assert "simclr: kNN, k 200, T 0.1, batch 512, best test epoch" in rows
    assert rows["mnclglf-released: linear, 90 epochs of crops at 224 px, best test"][1:4] == ["90.18", "99.78", "200"]
    for i, source in enumerate(theirs.strip().split("\n\n")[-1].split("\n"), start=1):
        assert source.startswith(f"[{i}] ") and theirs.count(f"[{i}]") >= 2
    assert "\n\n[2] " in compare.published_table(result, markdown=True)[1]


# --- the plot ---


def dots_of(axes):
    """{row: sorted x of its dots}."""
    found = {}
    for collection in axes.collections:
        for x, y in collection.get_offsets():
            found.setdefault(round(y), []).append(float(x))
    return {y: sorted(xs) for y, xs in found.items()}


def test_a_dot_is_a_seed_and_a_line_is_a_baseline(compared):
    result, _ = compared
    figure = compare.picture(result)
    knn, linear = figure.axes
    means = {name: np.mean([run["linear"]["top1"] for run in entry["runs"]]) for name, entry in result["rows"].items()}
    order = sorted(means, key=means.get)  # the best on top
    assert [text.get_text() for text in knn.texts if text.get_text() in means] == order
    for axes, read in ((knn, lambda run: run["knn20"]["raw"]["top1"]), (linear, lambda run: run["linear"]["top1"])):
        dots = dots_of(axes)
        for y, name in enumerate(order):
            assert dots[y] == pytest.approx(sorted(100 * read(run) for run in result["rows"][name]["runs"]))
        dashed = {round(line.get_xdata()[0], 6) for line in axes.lines if line.get_linestyle() != "-"}
        assert dashed == {round(100 * read(row), 6) for row in result["baselines"].values()}
        for name, row in result["baselines"].items():
            assert any(text.get_text().strip() == f"{name} {100 * read(row):.1f}" for text in axes.texts)
    words = " ".join(" ".join(text.get_text().split()) for text in figure.texts)
    assert compare.note(result) in words and "open squares: with labels" in words


def test_the_same_comparison_gives_the_same_bytes(compared):
    assert canvas.png(compare.picture(compared[0])) == canvas.png(compare.picture(compared[0]))
