"""Finding runs and reading them: all that are kept, those that stopped early, and files that are damaged."""

import json
from pathlib import Path
from statistics import mean

import pytest
from conftest import tiny
from shelves import comparison, history, put, result

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.methods.registry import METHODS, variant
from mnclglf_lite.recipe import flags
from mnclglf_lite.recipe.presets import preset, presets_of
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.results import records as kept_records
from mnclglf_lite.results import summary
from mnclglf_lite.results.records import group_by_method, load_records, recipe_of_record

RUNS = Path(__file__).resolve().parents[2] / "data" / "runs"


@pytest.fixture(scope="module")
def kept():
    return load_records()


def test_every_kept_run_is_found_with_what_its_files_say(kept):
    lines = {
        path.parent / line["name"]: line for path in RUNS.glob("**/runs.jsonl") for line in map(json.loads, path.open())
    }
    assert {r.folder for r in kept} == set(lines) and len(kept) == len(lines) >= 63
    for r in kept:
        recipe, rows = lines[r.folder]["recipe"], lines[r.folder]["history"]
        table = json.loads((r.folder.parent / "compare.json").read_text())["rows"]
        (row,) = [run for run in table[r.name]["runs"] if run["seed"] == r.seed]
        dataset = "toybox-v1" if recipe["dataset"] == "toybox" and recipe.get("format", 1) < 3 else recipe["dataset"]
        assert (r.seed, r.dataset, r.result["dataset"], r.history) == (recipe["seed"], dataset, dataset, rows)
        # half a tenth for rounding, and as much for what a busy machine does between the last line and the end
        assert r.seconds == rows[-1]["seconds"] == pytest.approx(row["train_seconds"], abs=0.1)
        assert r.step == r.steps == recipe["steps"] and r.finished
        assert r.result["linear"] == row["linear"] and r.result["hardware"] == row["hardware"]
        started = {"random encoder, data start"} if recipe.get("first_layer") == "data" else set()
        assert {"raw pixels", "8x8 thumbnails", "random encoder"} | started == set(r.baselines)
        assert r.with_labels == (recipe["method"] == "supervised")


def test_groups_are_folders_and_names_are_methods(kept):
    groups = kept_records.groups(kept)
    ablations = ["ablation/ask", "ablation/choose", "ablation/forms", "ablation/long"]
    rest = ["cifar10-long", "cifar10-slim", "five-minutes", "one-minute", "precision-bf16", "precision-fp32", "toybox"]
    assert list(groups) == [*ablations, *rest, "toybox-long", "toybox-minute"]
    toys = group_by_method(groups["toybox"])
    names = list(METHODS)
    assert list(toys) == [*names[:8], "mnclglf-released", *names[8:]]  # a form beside its method
    assert all([r.seed for r in seeds] == [0, 1, 2] for seeds in toys.values())
    assert groups["toybox"][0].budget == {"minutes": 0.75, "image_views": None}


def test_a_folder_may_be_a_run_itself_and_hold_several_image_sets(tmp_path):
    put(tmp_path / "simclr-seed4", seed=4)
    put(tmp_path / "simclr-cifar10-seed0", dataset="cifar10")
    assert list(kept_records.groups(load_records(tmp_path))) == [
        f"{tmp_path.name}/ ({name})" for name in ("toybox", "cifar10")
    ]
    (alone,) = load_records(tmp_path / "simclr-seed4")
    assert (alone.name, alone.seed, alone.group) == ("simclr", 4, "simclr-seed4/")


def test_a_run_that_stopped_early_is_read_as_far_as_it_went(tmp_path):
    put(tmp_path / "byol-seed0", "byol", rows=history(2), found=False)
    with open(tmp_path / "byol-seed0" / "history.jsonl", "a") as file:
        file.write('{"epoch": 3.0, "ste')  # the machine went down
    put(tmp_path / "moco-seed0", "moco", rows=[], found=False)
    put(tmp_path / "moco-seed1", "moco", 1, rows=history(2), found=False, steps=0, epochs=2.0)
    put(tmp_path / "moco-seed2", "moco", 2, rows=history(2), found=False, steps=0, epochs=3.0)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "recipe.json").write_text("{}")  # without a history it is no run
    moco, done, half, byol = load_records(tmp_path)
    assert (byol.step, byol.steps, byol.finished, byol.result) == (20, 30, False, None) and len(byol.history) == 2
    assert (moco.step, moco.seconds, moco.finished) == (0, 0.0, False)
    assert (done.steps, done.finished, half.steps, half.finished) == (20, True, 30, False)  # by epochs
    assert summary.unfinished([byol, done]) == "Not finished: byol seed 0 (step 20 of 30)."


EPOCH = {"epoch": 1.0, "step": 3, "seconds": 1.0, "loss": 0.1}
LINE = {"name": "b", "recipe": tiny().to_dict(), "history": [EPOCH]}


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("a/recipe.json", "{", "is no JSON"),
        ("a/recipe.json", "[1, 2]", "no table of names"),
        ("a/recipe.json", {"method": "simclr"}, "has no dataset, seed"),
        ("a/history.jsonl", '{"epoch": 1\n{"epoch": 2}\n', "line 1, is no JSON"),
        ("a/history.jsonl", {"epoch": 1.0, "step": 3}, "line 1, has no seconds, loss"),
        ("a/history.jsonl", EPOCH | {"loss": "low"}, "else than numbers"),
        ("a/history.jsonl", b"\xff\xfe\x00\x80", "is no text"),
        ("a/result.json", "{}", "has no dataset, on"),
        ("a/result.json", {"rows": {}}, "no table of results"),
        ("a/result.json", {"rows": {"raw pixels": {"on": "test"}}}, "under 'raw pixels', has no dataset"),
        ("compare.json", "nonsense", "is no JSON"),
        ("compare.json", {"budget": {}}, "has no baselines"),
        ("budget.json", "[]", "no table of names"),
        ("runs.jsonl", f"{json.dumps(LINE)}\n{{", "line 2, is no JSON"),
        ("runs.jsonl", "[]", "line 1, is no table of names"),
        ("runs.jsonl", {"name": "b"}, "line 1, has no recipe, history"),
        ("runs.jsonl", LINE | {"name": 3}, "else than a name"),
        ("runs.jsonl", LINE | {"recipe": {}}, "in its recipe, has no method, dataset"),
        ("runs.jsonl", LINE | {"history": [EPOCH, {"epoch": 1.0}]}, "epoch 2 of its history, has no step"),
        ("runs.jsonl", LINE | {"result": {"on": "test"}}, "its result has no dataset"),
    ],
)
def test_damage_is_named(tmp_path, name, text, words):
    put(tmp_path / "a")
    text = json.dumps(text) if isinstance(text, dict) else text
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=f"{name}.*{words}.*mend it or move"):
        load_records(tmp_path)


def test_of_a_run_that_lies_twice_its_folder_counts(tmp_path):
    put(tmp_path / "a-seed0", rows=history(1))
    (tmp_path / "runs.jsonl").write_text(json.dumps(LINE | {"name": "a-seed0"}) + "\n")
    (found,) = load_records(tmp_path)
    assert found.history == history(1) and found.result["on"] == "test"


def test_the_recipe_of_a_record_is_the_one_that_was_written_down(tmp_path):
    packed = RUNS / "one-minute" / "simclr-seed0"
    lines = map(json.loads, (RUNS / "one-minute" / "runs.jsonl").open())
    assert (
        not (packed / "recipe.json").exists()
        and recipe_of_record(packed) == {line["name"]: line["recipe"] for line in lines}[packed.name]
    )
    loose = put(tmp_path / "byol-seed0", "byol")
    assert recipe_of_record(str(loose)) == json.loads((loose / "recipe.json").read_text())
    with pytest.raises(InputError, match="did you mean 'simclr-seed0'"):
        recipe_of_record(packed.with_name("simcrl-seed0"))
    with pytest.raises(InputError, match=r"'byol-seed1'.*did you mean 'byol-seed0'"):
        recipe_of_record(tmp_path / "byol-seed1")
    with pytest.raises(InputError, match="there is no run"):
        recipe_of_record(tmp_path / "nowhere" / "byol-seed1")


def test_no_folder_and_no_run_are_said(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        load_records(tmp_path / "nowhere")
    with pytest.raises(InputError, match="there is no run in"):
        load_records(tmp_path)


# --- facts ---


def test_accuracies_have_the_names_and_the_protocols_of_the_file():
    row = json.loads((RUNS / "one-minute" / "compare.json").read_text())["rows"]["simclr"]["runs"][0]
    row |= {"few_labels": {"10": [0.2, 0.3, 0.4]}}
    row |= {"paper_linear": {"last": {"top1": 0.7}, "tests": [{"epoch": 5}, {"epoch": 90}]}}
    found = summary.accuracies(row)
    expected = {"linear": row["linear"]["top1"], "linear, 10 labels a class": 0.3, "linear, the paper's": 0.7}
    for name, protocol in {"kNN 200": "knn", "kNN 20": "knn20", "kNN 10 plain": "knn10"}.items():
        for transform, words in {"raw": "", "centred": ", centred", "whitened": ", whitened"}.items():
            expected[name + words] = row[protocol][transform]["top1"]
    assert {name: one.value for name, one in found.items()} == pytest.approx(expected) and len(expected) == 12
    assert {name for name, one in found.items() if one.published == "knn"} == {"kNN 200"}
    assert {name for name, one in found.items() if one.published == "linear"} == {"linear", "linear, the paper's"}
    assert found["kNN 200"].protocol == "cosine kNN, k 200, weighted, T 0.1, raw features"
    assert found["kNN 10 plain, whitened"].protocol == "cosine kNN, k 10, one vote each, whitened features"


ONE, TWO, THREE = {"a": [0.5]}, {"b": [0.7, 0.9]}, {"s": [0.9]}


@pytest.mark.parametrize(
    "rows, labels, facts",
    [
        ({"a": [0.5, 0.6], **TWO}, [], ["b leads", "a's", "80.0 (70.0 to 90.0)", "25.0 points", "do not overlap, 2 seeds"]),
        ({"a": [0.5, 0.7], **TWO}, [], ["b leads", "60.0 (50.0 to 70.0)", "20.0 points", "the ranges overlap, 2 seeds"]),
        (ONE | TWO, [], ["b leads", "a's 50.0", "30.0 points", "do not overlap, 2 seeds against 1"]),
        (ONE | {"b": [0.7]} | THREE, ["s"], ["without labels, b leads", "20.0 points", "one seed each", "chance"]),
        (ONE | THREE, ["s"], ["without labels, a", "alone", "50.0"]),
        (THREE | {"t": [0.8]}, ["s", "t"], ["s leads", "t's 80.0", "10.0 points"]),
    ],
)
def test_a_lead_is_told_beside_the_range_of_the_seeds(rows, labels, facts):
    title, sentence = summary.lead(rows, labels)
    assert all(fact in sentence for fact in facts), sentence
    assert title.startswith(facts[0]) and ("apart" in title) == ("not overlap" in sentence)


def test_the_leaders_of_the_toy_box_are_those_of_the_table(kept):
    toys = [r for r in kept if r.group == "toybox" and r.name in ("simclr", "mnclglf")]
    rows, accuracy, without = summary.measured(toys, "kNN 20")
    assert not without and accuracy.protocol == "cosine kNN, k 20, weighted, T 0.1, raw features"
    sentence = summary.lead(rows)[1]
    table = json.loads((RUNS / "toybox" / "compare.json").read_text())["rows"]
    simclr, mnclglf = (
        100 * mean(run["knn20"]["raw"]["top1"] for run in table[name]["runs"]) for name in ("simclr", "mnclglf")
    )
    assert f"simclr leads with {simclr:.1f}" in sentence and f"mnclglf's {mnclglf:.1f}" in sentence and "3 seeds" in sentence
    facts = summary.facts(toys, accuracy.protocol)
    for part in ("toybox", "0.75 min each", "seeds 0, 1, 2", " s a run", toys[0].result["hardware"], "k 20"):
        assert part in facts


def test_runs_that_were_evaluated_differently_do_not_stand_side_by_side(tmp_path):
    put(tmp_path / "a-seed0", value=0.5)
    put(tmp_path / "b-seed0", found=result(0.9, on="holdout", queries=10))
    records = load_records(tmp_path)
    with pytest.raises(InputError, match=r"a seed 0 .*test \(40.*b seed 0 .*holdout \(10.*choose runs"):
        summary.measured(records, "linear")
    assert summary.measured(records[:1], "linear")[0] == {"a": [pytest.approx(0.53)]}


def test_runs_without_a_result_are_named_and_what_to_do(tmp_path):
    put(tmp_path / "a-seed0", found=False)
    put(tmp_path / "b-seed0", value=0.4)
    a, b = load_records(tmp_path)
    assert summary.measured([a, b], "kNN 20")[::2] == ({"b": [0.4]}, [a])
    with pytest.raises(InputError, match=f"`mnclglf-lite evaluate {a.folder}`"):
        summary.measured([a], "kNN 20")
    with pytest.raises(InputError, match="did you mean 'linear'"):
        summary.measured([b], "liner")


def test_facts_tell_seeds_apart_where_they_differ_and_the_budget_that_was_given(tmp_path):
    comparison(tmp_path, {"simclr": [0.5, 0.6], "moco": [0.4]})
    records = load_records(tmp_path)
    assert "seeds: simclr 0, 1; moco 0" in summary.facts(records, "p") and "960 whole views each" in summary.facts(
        records, "p"
    )
    assert summary.budget_in_words({"minutes": 2.5, "image_views": None}) == "2.5 min each"
    assert summary.budget_in_words({}) == "as long as each recipe says"
    assert "hardware not told" in summary.facts([load_records(put(tmp_path / "new", found=False))[0]], "p")


def test_baselines_that_runs_bring_themselves_are_averaged(tmp_path):
    for seed, value in enumerate((0.1, 0.3)):
        table = {"rows": {"random encoder": result(value), "simclr": result(0.5)}}
        put(tmp_path / f"simclr-seed{seed}", seed=seed, found=table)
    assert summary.baselines(load_records(tmp_path), "kNN 20") == {"random encoder": pytest.approx(mean([0.1, 0.3]))}


# --- the command that trains a run again ---


def test_a_recipe_as_words_of_the_command_line_is_the_same_recipe(kept):
    recipes = [Recipe.from_dict(r.recipe) for r in kept]
    recipes += [preset(name, method) for method in METHODS for name in presets_of(method)]
    labelled = preset("quick", "mcl", "cifar10", with_labels=True)
    assert "--view-scale" not in flags.words_of(labelled)  # the flag brings its views along
    recipes += [labelled, preset("quick", "mcl", "cifar10").replace(with_labels=True)]
    recipes += [tiny("mcl", losses=("vcl", "icl"), decay_bias_and_norm=True, clip_grad_norm=0.5)]
    for recipe in recipes:
        assert flags.recipe_of_words(flags.words_of(recipe)) == recipe
    method, changes = variant("mnclglf-released")
    words = flags.words_of(preset("quick", method, "cifar10", steps=7, **changes))
    assert (
        words[:4] == ["--method", "mnclglf", "--dataset", "cifar10"] and "--no-local-gradient" in words and len(words) == 7
    )
