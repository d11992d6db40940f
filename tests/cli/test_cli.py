"""The command line from end to end, on tiny sets; and what it says to bad input, in one line each."""

import contextlib
import dataclasses
import importlib.util
import io
import json
import os
import shutil
import signal

import pytest
import torch
from conftest import interrupt_after

from mnclglf_lite.cli.main import COMMANDS, main, parse, recipes_of
from mnclglf_lite.data import dataset
from mnclglf_lite.data.dataset import load_dataset
from mnclglf_lite.methods.registry import METHODS, VARIANTS, methods_with, variant
from mnclglf_lite.recipe.flags import COMMON, all_settings, flag_of, recipe_of_words, written
from mnclglf_lite.recipe.presets import preset, presets_of
from mnclglf_lite.recipe.recipe import Recipe, value_of
from mnclglf_lite.training.run import load_run
from mnclglf_lite.training.step import Step
from mnclglf_lite.views.view import View

NET = "--width 8 --blocks 1 1 --projector 16 8 --view-size 16 --device cpu".split()
SIMCLR = [*NET, *"--steps 2 --batch-size 32".split()]  # what simclr reads; mnclglf reads more
TINY = [*SIMCLR, *"--predictor-hidden 8 --queue 64".split()]
VIEWS = ("view", "small_view", "teacher_view")


def cli(*argv):
    """Run a command in this process: (exit code, stdout, stderr)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(part) for part in argv])
        except SystemExit as leaving:  # argparse's own way out of --help
            code = leaving.code or 0
    return code, out.getvalue(), err.getvalue()


def tree(folder):
    """Every file below a folder with its bytes."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.fixture(scope="module", autouse=True)
def small_sets():
    """A toy box of 320 / 80 / 80 pictures; folders' pictures, like the toy box's, are 16 pixels wide."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"TOY_TRAIN": 320, "TOY_HOLDOUT": 80, "TOY_TEST": 80, "TOY_SIDE": 16, "FOLDER_SIDE": 16}.items():
            patch.setattr(dataset, name, value)
        yield


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every test runs in a folder of its own: what a command writes by default lands there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MNCLGLF_LITE_DATA", raising=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run, and what training said."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    code, out, err = cli("train", "--out", folder, *TINY)
    assert code == 0 and err == ""
    return folder, out


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """60 pictures in three class folders: red, green and blue of any shade, all of one odd size."""
    Image = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("pictures")
    generator = torch.Generator().manual_seed(0)
    for channel, name in enumerate(("blue", "green", "red")):
        (folder / name).mkdir()
        for i in range(20):
            picture = torch.randint(60, (20, 24, 3), generator=generator, dtype=torch.uint8)
            picture[..., 2 - channel] += 120
            Image.fromarray(picture.numpy()).save(folder / name / f"{i}.png")
    return folder


# --- what works ---


def test_train_leaves_a_run_and_says_where(run):
    folder, out = run
    assert {path.name for path in folder.iterdir()} == {"recipe.json", "history.jsonl", "checkpoint.pt"}
    assert "mnclglf on toybox: 2 steps of 32 images" in out
    assert out.endswith(f"the run is in {folder}; next: mnclglf-lite evaluate {folder}\n")
    kept = json.loads((folder / "recipe.json").read_text())
    assert (kept["steps"], kept["batch_size"], kept["width"], kept["view"]["size"]) == (2, 32, 8, 16)


def test_default_folder_is_named_after_method_set_and_seed(tmp_path):
    assert cli("train", "--method", "simclr", "--seed", 3, *SIMCLR)[0] == 0
    assert (tmp_path / "runs" / "simclr-toybox-seed3" / "checkpoint.pt").is_file()


def test_evaluate_with_everything(run):
    folder, _ = run
    before = tree(folder)
    code, out, err = cli("evaluate", folder, "--few-labels", "--factors", "--paper", 1, "--device", "cpu")
    assert code == 0 and err == ""
    result = json.loads((folder / "result.json").read_text())
    untrained = ["random encoder", "random encoder, data start"]
    assert list(result["rows"]) == ["raw pixels", "8x8 thumbnails", *untrained, "mnclglf"]
    for name, row in result["rows"].items():
        assert row["on"] == "holdout" and (row["bank"], row["queries"], row["size"]) == (320, 80, 16)
        values = [row[protocol][transform]["top1"] for protocol in ("knn", "knn20", "knn10") for transform in row[protocol]]
        values.append(row["linear"]["top1"])
        assert len(values) == 10 and all(0 <= value <= 1 for value in values)
        shown = next(line for line in out.splitlines() if line.startswith(name)).split()[len(name.split()) :]
        assert shown[0] == f"{100 * row['knn']['raw']['top1']:.1f}" and f"{100 * row['linear']['top1']:.1f}" in shown
    assert list(result["few_labels"]) == ["1", "5", "10", "32"] and len(result["few_labels"]["5"]) == 3
    assert set(result["factors"]) >= {"x", "size", "toy_hue", "toy_is_bright"}
    assert len(result["paper_linear"]["tests"]) == 1 and "the paper's linear protocol, 1 epochs" in out
    assert result["step"] == 2 and Recipe.from_dict(result["recipe"]).optim.batch_size == 32
    after = tree(folder)
    assert all(after[path] == before[path] for path in before)  # looking changes nothing
    assert cli("evaluate", folder, "--split", "test", "--json", folder / "other.json", "--device", "cpu")[0] == 0
    other = json.loads((folder / "other.json").read_text())
    assert other["rows"]["mnclglf"]["on"] == "test" and "few_labels" not in other and "paper_linear" not in other


def test_evaluate_shows_pictures_at_the_size_the_recipe_names(tmp_path):
    """Pictures of 16 pixels, trained on at 20: measured at 20 when the recipe says so."""
    assert cli("train", "--method", "simclr", "--out", "r", *SIMCLR, "--view-size", 20, "--eval-size", 20)[0] == 0
    assert cli("evaluate", "r", "--device", "cpu")[0] == 0
    rows = json.loads((tmp_path / "r" / "result.json").read_text())["rows"]
    assert {row["size"] for row in rows.values()} == {20}
    run, splits = load_run("r", "cpu"), load_dataset("toybox")
    from mnclglf_lite.evaluation import evaluate

    asked = evaluate.evaluate(run.backbone, splits, linear=False, size=20)
    assert rows["simclr"]["knn20"] == asked["knn20"] and rows["simclr"]["rank"] == pytest.approx(asked["rank"])


def test_a_folder_of_pictures_is_trained_on_and_evaluated(pictures, tmp_path):
    small = [*NET, *"--steps 2 --batch-size 8 --queue 16".split()]
    assert cli("train", "--dataset", f"folder:{pictures}", "--out", "r", *small)[0] == 0
    code, out, err = cli("evaluate", "r", "--few-labels", "--split", "test", "--device", "cpu")
    assert code == 0 and err == ""
    result = json.loads((tmp_path / "r" / "result.json").read_text())
    assert result["rows"]["raw pixels"]["knn10"]["raw"]["top1"] == 1.0  # red, green, blue
    assert list(result["few_labels"]) == ["1", "5", "10", "14"]


def test_compare_makes_one_table_and_does_nothing_twice(tmp_path):
    argv = ["compare", "--methods", "simclr,mnclglf-released", "--seeds", "0,1", "--out", "c", "--markdown", *TINY]
    code, out, err = cli(*argv)
    assert code == 0 and err == ""
    result = json.loads((tmp_path / "c" / "compare.json").read_text())
    assert list(result["rows"]) == ["simclr", "mnclglf-released"]
    assert [run["seed"] for run in result["rows"]["simclr"]["runs"]] == [0, 1]
    assert result["rows"]["mnclglf-released"]["recipe"]["local_gradient"] is False
    written = (tmp_path / "c" / "compare.md").read_text()
    assert written in out + "\n" or written.strip() in out
    runs = result["rows"]["simclr"]["runs"]
    mean = 50 * sum(run["knn20"]["raw"]["top1"] for run in runs)
    assert f"{mean:.1f} ±" in next(line for line in written.splitlines() if line.startswith("| simclr"))
    kept = [path / "checkpoint.pt" for path in sorted((tmp_path / "c").iterdir()) if path.is_dir()]
    before = [torch.load(path, weights_only=True) for path in kept]
    assert [state["step"] for state in before] == [2, 2, 2, 2]
    code, again, _ = cli(*argv)
    assert code == 0 and "epoch " not in again  # nothing was trained
    for old, path in zip(before, kept, strict=True):
        new = torch.load(path, weights_only=True)
        assert all(torch.equal(old["method"][key], new["method"][key]) for key in old["method"])
    rows = json.loads((tmp_path / "c" / "compare.json").read_text())["rows"]
    assert rows["simclr"]["runs"][1]["knn20"] == runs[1]["knn20"]
    assert (tmp_path / "c" / "compare.png").read_bytes().startswith(b"\x89PNG") and "compare.png" in out


def test_compare_by_image_views_takes_variants_too(tmp_path):
    views = ["compare", "--methods", "simclr,ressl", "--out", "c", *NET, "--batch-size", "32", "--queue", "64"]
    code, out, err = cli(*views, "--image-views", "320")
    assert code == 0 and err == "" and "320 whole views each" in out
    rows = json.loads((tmp_path / "c" / "compare.json").read_text())["rows"]
    assert rows["ressl"]["recipe"]["method"] == "cgh" and rows["ressl"]["recipe"]["context"] == "ressl"
    for row in rows.values():
        assert row["runs"][0]["steps"] == max(1, round(320 / (32 * row["cost"]["views"])))
    refused("have another budget", [*views, "--image-views", "640"], tmp_path)
    refused("have another budget", [*views, "--minutes", "5"], tmp_path)
    # the first method would be new, the second is there with another rate: refused before the first is trained
    more = [word.replace("simclr,ressl", "byol,ressl") for word in views]
    refused("another recipe (lr: ", [*more, "--image-views", "320", "--lr", "0.7"], tmp_path)


def test_the_holdout_is_not_asked_of_a_network_that_was_trained_on_it(tmp_path):
    refused(
        "trains on the hold-out too", ["compare", "--methods", "simclr", *SIMCLR, "--no-holdout", "--out", "c"], tmp_path
    )
    assert cli("train", "--method", "simclr", *SIMCLR, "--no-holdout", "--out", "r")[0] == 0
    refused("trains on the hold-out too", ["evaluate", "r"], tmp_path)
    assert cli("evaluate", "r", "--split", "test", "--device", "cpu", "--paper", "1")[0] == 0
    row = json.loads((tmp_path / "r" / "result.json").read_text())["rows"]["simclr"]
    assert (row["on"], row["bank"]) == ("test", 400)  # all that it was trained on


def test_all_methods_are_all_methods(monkeypatch):
    from mnclglf_lite.results import compare as room

    seen = []
    monkeypatch.setattr(room, "compare", lambda recipes, *rest, **more: seen.append(recipes) or 1 / 0)
    for names in ("all", "all,mnclglf-released", ",".join(VARIANTS)):
        with pytest.raises(ZeroDivisionError):
            cli("compare", "--methods", names, "--device", "cpu")
    assert list(seen[0]) == list(METHODS) and len(METHODS) == 11 and list(seen[1]) == [*METHODS, "mnclglf-released"]
    for name, recipe in seen[2].items():
        method, changes = VARIANTS[name]
        assert recipe == preset("quick", method, **changes)
    assert seen[0]["mnclglf"].method.local_gradient and not seen[1]["mnclglf-released"].method.local_gradient


def test_on_cifar10_the_papers_table_stands_below(monkeypatch, tmp_path):
    from mnclglf_lite.cli import main as program
    from mnclglf_lite.results import compare as room
    from mnclglf_lite.results import paper_table, records

    record = json.loads((records.KEPT / "cifar10-slim" / "compare.json").read_text())
    monkeypatch.setattr(program, "load_splits", lambda *given: None)
    monkeypatch.setattr(room, "compare", lambda *given, **more: record)
    (tmp_path / "c").mkdir()
    out = cli("compare", "--dataset", "cifar10", "--methods", "simclr", "--out", tmp_path / "c")[1]
    assert paper_table.table() in out and room.table(record) in out
    assert paper_table.table() not in cli("compare", "--methods", "simclr", "--out", tmp_path / "c")[1]


def test_what_a_variants_name_says_is_no_flag_of_compare():
    fields = {field for _, changes in VARIANTS.values() for field in changes}
    args = vars(parse(["compare", "--methods", ",".join([*METHODS, *VARIANTS])]))
    assert {"lr", "view_size", "image_views", "minutes"} <= set(args) and not any(args[field] for field in fields)
    for field in fields:
        assert cli("compare", flag_of(field), "1")[0] == 2


def test_export_can_be_read_elsewhere(run, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    code, out, err = cli("export", run[0], "b.safetensors")
    assert code == 0 and err == "" and "b.safetensors" in out
    tensors = safetensors.load_file(tmp_path / "b.safetensors")
    theirs = load_run(run[0], "cpu").backbone.state_dict()
    assert set(tensors) == set(theirs) and all(torch.equal(tensors[name], theirs[name]) for name in theirs)


def test_exported_weights_are_measured_as_their_run_is(run, tmp_path):
    """In half precision, too: the same pictures, protocols and baselines; rounding moves little."""
    whole = tmp_path / "whole.json"
    assert cli("evaluate", run[0], "--json", whole, "--device", "cpu")[0] == 0
    code, out, err = cli("export", run[0], "w.safetensors", "--half")
    assert code == 0 and err == "" and "w.safetensors" in out
    code, out, err = cli("evaluate", "--weights", "w.safetensors", "--device", "cpu")
    assert code == 0 and err == "" and "not written down" in out and os.listdir(tmp_path).count("result.json") == 0
    code, out, err = cli("evaluate", "--weights", "w.safetensors", "--json", "w.json", "--device", "cpu")
    assert code == 0 and err == ""
    a, b = json.loads(whole.read_text()), json.loads((tmp_path / "w.json").read_text())
    assert a["recipe"] == b["recipe"] and a["step"] == b["step"] and list(a["rows"]) == list(b["rows"])
    for name in a["rows"]:
        for read in ("knn", "knn20"):
            assert b["rows"][name][read]["raw"]["top1"] == pytest.approx(a["rows"][name][read]["raw"]["top1"], abs=0.03)
    assert b["rows"]["mnclglf"]["rank"] == pytest.approx(a["rows"]["mnclglf"]["rank"], rel=0.01)


def test_what_is_to_be_measured_is_said_once(run, tmp_path):
    refused("one of the two", ["evaluate"], tmp_path)
    refused("one of the two", ["evaluate", run[0], "--weights", "w.safetensors"], tmp_path)
    refused("no file", ["evaluate", "--weights", "w.safetensors"], tmp_path)


def test_explore_leaves_a_page_and_pictures(run, tmp_path):
    pytest.importorskip("matplotlib")
    Image = pytest.importorskip("PIL.Image")
    before = tree(run[0])
    code, out, err = cli("explore", run[0], "--map", "pca", "--points", 50, "--out", "x", "--device", "cpu")
    assert code == 0, err
    paths = [line.strip() for line in out.splitlines()[1:]]
    assert {os.path.basename(path) for path in paths} == {"map.html", "map.png", "neighbours.png"}
    for path in paths:
        if path.endswith(".png"):
            assert min(Image.open(path).size) > 50
    page = (tmp_path / "x" / "map.html").read_text(encoding="utf-8")
    assert "mnclglf on toybox" in page and "2 steps" in page
    assert tree(run[0]) == before


def test_doctor_looks_at_the_folder_it_is_given(tmp_path):
    code, out, err = cli("doctor", "--data", tmp_path / "nowhere")
    assert code in (0, 1) and err == ""
    assert "torch" in out and "toy box" in out and str(tmp_path / "nowhere") in out
    assert (code == 1) == ("PROBLEM" in out)
    assert not (tmp_path / "nowhere").exists()


def test_version():
    from mnclglf_lite import __version__

    assert cli("--version") == (0, f"{__version__}\n", "")


# --- help ---


def flags_in(text):
    """Every flag that a page of help explains, by its group."""
    found, group = {}, ""
    for line in text.splitlines():
        group = line[:-1] if line.endswith(":") and not line.startswith(" ") else group
        if line.startswith("  --"):
            found.setdefault(group, []).append(line.split()[0].rstrip(","))
    return found


def test_without_a_command_there_is_help_with_examples_that_can_be_read():
    code, out, err = cli()
    assert (code, err) == (0, "") and (out, 0) == (cli("--help")[1], cli("-h")[0])
    assert all(out.count(f"\n  {name} ") == 1 for name in COMMANDS)
    examples = [line.strip().split("   ")[0].split()[1:] for line in out.splitlines() if line.startswith("  mnclglf-lite")]
    assert len(examples) == 2 and all(parse(words) for words in examples)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_the_default_of_every_flag(command):
    code, out, err = cli(command, "--help")
    shown = [flag for flags in flags_in(out).values() for flag in flags]
    assert code == 0 and err == "" and " ".join(out.split()).count("(default: ") >= len(shown) > 0


@pytest.mark.parametrize("name", [*METHODS, *VARIANTS])
def test_help_of_a_method_has_its_settings_in_groups_and_no_others(name):
    method, changes = variant(name)
    recipe = preset("quick", method, **changes)
    groups = flags_in(cli("train", "--method", name, "--help")[1])
    views = [view for view in VIEWS if recipe.reads(view) and view not in recipe.unread()]
    inner = {flag_of(f"{view}_{spec.name}") for view in views for spec in dataclasses.fields(View)}
    known = {name for name in all_settings() if recipe.reads(name)} - {"method", "dataset"} - recipe.unread() - set(views)
    del groups["run"]
    shown = [flag for flags in groups.values() for flag in flags]
    assert sorted(shown) == sorted(inner | {flag_of(name) for name in known})
    assert list(groups)[:3] == ["data", "views", "encoder"] and list(groups)[-1] == "optimiser"
    own = {flag_of(each) for each in METHODS[method].Config.settings() - recipe.unread() - set(VIEWS)}
    assert own <= set(groups.get(f"{name}'s own", ()))


def test_help_of_simclr_fits_on_a_page():
    groups = flags_in(cli("train", "--method", "simclr", "--help")[1])
    assert sum(len(flags) for group, flags in groups.items() if group != "run") <= 45


def test_help_without_a_method_has_the_common_settings_and_says_how_to_see_the_rest():
    out = cli("train", "--help")[1]
    shown = {flag for group, flags in flags_in(out).items() if group != "run" for flag in flags}
    assert shown == {flag_of(name) for name in COMMON} and "train --method NAME --help" in out
    everything = cli("compare", "--methods", "all", "--help")[1]
    assert len(everything) > 3 * len(cli("compare", "--help")[1]) and "--location-weight" in everything


def test_help_shows_defaults_of_the_chosen_preset_and_what_takes_effect_beside_the_given_flags():
    for words, name, value in (
        ([], "width", preset("quick", "simclr").encoder.width),
        (["--preset", "standard"], "width", 64),
        (["--dataset", "cifar10"], "temperature", preset("quick", "simclr", "cifar10").method.temperature),
    ):
        line = next(
            text for text in cli("train", "--method", "simclr", *words, "--help")[1].splitlines() if f"--{name}" in text
        )
        assert f"(default: {value:g})" in line and line.endswith(f"[{all_settings()[name].metadata['source']}]")
    assert "--muon-lr" not in cli("train", "--method", "simclr", "--optimiser", "sgd", "--help")[1]
    assert "--small-view-size" in cli("train", "--method", "simclr", "--small-views", 2, "--help")[1]
    compared = cli("compare", "--methods", "simclr,mnclglf", "--help")[1]
    each = ", ".join(f"{name} {preset('quick', name).method.temperature:g}" for name in ("simclr", "mnclglf"))
    assert f"(default: {each})" in compared and "mnclglf: cells a side" in compared


def owner(name):
    """The first method that has a setting, mnclglf where all do or it does too."""
    having = methods_with(name) or ["mnclglf"]
    return "mnclglf" if "mnclglf" in having else having[0]


def test_values_are_shown_as_they_are_typed():
    assert [written(value) for value in (True, (256, 128), (), 5e-4, 4 / 3, "sgd")] == [
        "on", "256 128", "none", "0.0005", "1.33333", "sgd",
    ]  # fmt: skip


# --- flags ---

OTHER = {
    "seed": 7,
    "steps": 5,
    "queue": 512,
    "batch_size": 32,
    "grid": 4,
    "combine": 3,
    "blocks": (2, 1),
    "projector": (64, 32),
    "eval_size": 64,
    "progressive_sizes": (16, 32),
    "size": 48,
    "scale": (0.3, 0.9),
    "ratio": (0.8, 1.2),
    "jitter": (0.1, 0.2, 0.3, 0.05),
    "blur_sigma": (0.5, 1.0),
    "interpolation": "bicubic",
    "source_region": (0.25, 0.0, 0.5, 0.5),
    "losses": ("vcl", "icl"),
    "hyper_temperatures": (0.04, 0.1),
    "small_views": 3,
}


def another(name, value, choices=()):
    """A value that is possible, and not the present one."""
    if name in OTHER:
        return OTHER[name]
    if choices:
        return next(choice for choice in choices if choice != value)
    if isinstance(value, bool):
        return not value
    return 2 * value if isinstance(value, int) else (value / 2 or 0.25)


def arguments(flag, value):
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    return [flag, *(map(str, value) if isinstance(value, tuple) else [str(value)])]


PLAIN = [spec for name, spec in all_settings().items() if name not in ("dataset", *VIEWS)]


@pytest.mark.parametrize("spec", PLAIN, ids=lambda spec: spec.name)
def test_every_setting_has_a_flag_that_reaches_it(spec):
    plain = preset("quick", owner(spec.name))
    value = another(spec.name, value_of(plain, spec.name), spec.metadata["choices"])
    assert value != value_of(plain, spec.name)
    got = recipe_of_words(["--method", plain.method.name, *arguments(flag_of(spec.name), value)])
    assert got == preset("quick", plain.method.name, **{spec.name: value}) and got != plain
    assert type(value_of(got, spec.name)) is type(value_of(plain, spec.name))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("inner", dataclasses.fields(View), ids=lambda inner: inner.name)
def test_every_field_of_a_view_has_a_flag_that_reaches_it(view, inner):
    plain = preset("quick", owner(view))
    plain = plain.replace(small_views=2) if view == "small_view" else plain
    whole = value_of(plain, view)
    value = another(inner.name, getattr(whole, inner.name))
    assert value != getattr(whole, inner.name)
    words = ["--method", plain.method.name, *["--small-views", "2"] * (view == "small_view")]
    got = recipe_of_words([*words, *arguments(flag_of(f"{view}_{inner.name}"), value)])
    assert got == plain.replace(**{view: dataclasses.replace(whole, **{inner.name: value})})


@pytest.mark.parametrize(("name", "method"), [(name, method) for method in METHODS for name in presets_of(method)])
def test_method_dataset_and_preset_reach_the_recipe(method, name):
    words = ["--method", method, "--dataset", "cifar10", "--preset", name]
    assert recipe_of_words(words) == preset(name, method, "cifar10")


def test_train_takes_a_variant_by_its_name(tmp_path):
    for name, (method, changes) in VARIANTS.items():
        assert recipes_of(parse(["train", "--method", name])) == {name: preset("quick", method, **changes)}
    assert cli("train", "--method", "mnclglf-released", *TINY)[0] == 0
    kept = json.loads((tmp_path / "runs" / "mnclglf-released-toybox-seed0" / "recipe.json").read_text())
    assert kept["method"] == "mnclglf" and kept["local_gradient"] is False


def test_flags_of_compare_reach_every_recipe_that_reads_them():
    args = parse(["compare", "--methods", "all", "--lr", "0.5", "--ema", "0.7", "--view-gray-p", "0.3"])
    for method, got in recipes_of(args).items():
        plain = preset("quick", method)
        wanted = plain.replace(lr=0.5, view=dataclasses.replace(plain.views.view, gray_p=0.3))
        assert got == (wanted.replace(ema=0.7) if plain.reads("ema") else wanted)


def test_train_with_labels_brings_the_views_of_the_supervised_reference_along():
    told = ["--method", "mcl", "--dataset", "cifar10", "--preset", "standard", "--with-labels"]
    got = recipe_of_words([*told, "--view-size", "28"])
    view = preset("standard", "supervised", "cifar10").views.view
    assert got == preset("standard", "mcl", "cifar10", with_labels=True, view=dataclasses.replace(view, size=28))


# --- train --recipe ---


def test_a_runs_recipe_trains_the_same_run_again(run, tmp_path):
    whole = json.loads((run[0] / "history.jsonl").read_text())
    for i, recipe in enumerate((run[0] / "recipe.json", run[0])):  # the file, or the run's folder
        assert cli("train", "--recipe", recipe, "--out", f"r{i}", "--device", "cpu")[0] == 0
        assert (tmp_path / f"r{i}" / "recipe.json").read_bytes() == (run[0] / "recipe.json").read_bytes()
        again = json.loads((tmp_path / f"r{i}" / "history.jsonl").read_text())
        assert again["loss"] == whole["loss"] and again["knn"] == whole["knn"]


def test_a_recipe_by_hand_is_the_preset_with_its_settings(tmp_path):
    values = {
        "method": "cgh-same",
        "dataset": "cifar10",
        "preset": "standard",
        "lr": 0.5,
        "blocks": [1, 1],
        "view": {"size": 24},
    }
    changes = VARIANTS["cgh-same"][1]
    plain = preset("standard", "cgh", "cifar10", **changes)
    wanted = plain.replace(lr=0.5, blocks=(1, 1), view=dataclasses.replace(plain.views.view, size=24))
    (tmp_path / "r.json").write_text(json.dumps(values))
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if key != "view"]
    (tmp_path / "r.toml").write_text("\n".join([*lines, "[view]", "size = 24"]))
    files = ["r.json", *["r.toml"] * (importlib.util.find_spec("tomllib") is not None)]
    for file in files:
        (got,) = recipes_of(parse(["train", "--recipe", file])).values()
        assert got == wanted
        (got,) = recipes_of(parse(["train", "--recipe", file, "--lr", "0.25", "--dataset", "toybox"])).values()
        assert got == wanted.replace(lr=0.25, dataset="toybox")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "r.json: this is no JSON"),
        ("[1]", "r.json: a recipe is a table of settings; got a list"),
        ('{"width": "a"}', "r.json: width must be of type int"),
        ('{"with": 3}', "r.json: unknown setting 'with': did you mean 'width'"),
        ('{"view": {"sizes": 3}}', "r.json: unknown part of view 'sizes': did you mean 'size'"),
        ('{"format": 3, "view": {"sizes": 3}}', "r.json: unknown part of view 'sizes': did you mean 'size'"),
        ('{"method": "simclr", "queue": 64}', "r.json: simclr has no setting 'queue'"),
        ('{"preset": "quik"}', "r.json: unknown preset 'quik': did you mean 'quick'"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_by_its_file(text, said, tmp_path):
    (tmp_path / "r.json").write_text(text)
    refused(said, ["train", "--recipe", "r.json"], tmp_path)
    refused("--method stands beside --recipe", ["train", "--recipe", "r.json", "--method", "simclr"], tmp_path)


def test_a_recipe_that_is_not_there_is_refused(tmp_path):
    refused("there is no such file", ["train", "--recipe", "none.toml"], tmp_path)
    refused("none", ["train", "--recipe", "none"], tmp_path)


# --- what is refused: exit code 2, one line, nothing written ---

TRAIN = ["train", "--out", "new", *TINY]
BAD = {
    "unknown method": (["train", "--method", "simclear", *TINY], "did you mean 'simclr'"),
    "unknown method to compare": (
        ["compare", "--methods", "simclr,mnclglf-relased", *TINY],
        "did you mean 'mnclglf-released'",
    ),
    "a preset of other methods": (
        ["train", "--method", "simclr", "--preset", "as_released", *TINY],
        "as_released is for fastmoco and mnclglf alone; for simclr take standard",
    ),
    "no method to compare": (["compare", "--methods", ",", *TINY], "nothing to compare"),
    "minutes and image views": (
        ["compare", *NET, "--minutes", "1", "--image-views", "400"],
        "--image-views and --minutes each size the runs",
    ),
    "steps and image views": (["compare", *TINY, "--image-views", "400"], "--image-views and --steps each size the runs"),
    "minutes and epochs": (["train", *NET, "--minutes", "1", "--epochs", "2"], "--minutes and --epochs each size the runs"),
    "a seed twice": (["compare", *TINY, "--seeds", "0,1,0"], "a seed stands twice"),
    "no image views": (["compare", *NET, "--image-views", "0"], "image_views must be at least 1; got 0"),
    "unknown set": (["train", "--dataset", "toybx", *TINY], "did you mean 'toybox'"),
    "unknown set to compare": (["compare", "--dataset", "cifar11", *TINY], "did you mean 'cifar10"),
    "empty set folder": (["train", "--dataset", "cifar10", "--data", "empty", *TINY], "mnclglf-lite fetch cifar10"),
    "missing set folder": (["train", "--dataset", "tinyimagenet", "--data", "nowhere", *TINY], "fetch tinyimagenet"),
    "missing picture folder": (["train", "--dataset", "folder:nowhere", *TINY], "no folder of images at nowhere"),
    "empty picture folder": (["train", "--dataset", "folder:empty", *TINY], "no class folders in empty"),
    "reversed scale": ([*TRAIN, "--view-scale", "1.0", "0.2"], "the smaller number first"),
    "one scale": ([*TRAIN, "--view-scale", "0.2"], "expected 2 finite numbers"),
    "queue and batch": ([*TRAIN, "--queue", "100"], "must be a multiple of the batch (32); the nearest is 96"),
    "batch and set": ([*TRAIN, "--batch-size", "512", "--queue", "512"], "larger than the training set (320 pictures)"),
    "batch and set to compare": (
        ["compare", "--methods", "simclr", *SIMCLR, "--batch-size", "512"],
        "larger than the training set",
    ),
    "grid and view": ([*TRAIN, "--grid", "3"], "does not divide into a 3x3 grid"),
    "unknown preset": ([*TRAIN, "--preset", "standart"], "did you mean 'standard'"),
    "unknown device": ([*TRAIN, "--device", "gpu"], "choices: auto, cuda, mps, cpu"),
    "no minutes": (["train", *NET, "--minutes", "-1"], "minutes must be positive"),
    "word for a number": (
        [*TRAIN, "--method", "nnclr", "--steps", "many"],
        "--steps takes a whole number, such as 2; got 'many'; see mnclglf-lite train --method nnclr --help",
    ),
    "word for minutes": (["train", "--minutes", "one"], "--minutes takes a number, such as 5; got 'one'"),
    "unknown stem": (
        ["train", "--method", "simclr", "--stem", "cifr"],
        "did you mean 'cifar'? (choices: cifar, pool, imagenet, patch); see mnclglf-lite train --method simclr --help",
    ),
    "unknown flag": (
        ["train", "--method", "simclr", "--temprature", "1"],
        "unknown flag --temprature: did you mean --temperature",
    ),
    "shortened flag": (["train", "--view-siz", "16"], "unknown flag --view-siz: did you mean --view-size"),
    "flag of another command": (["explore", "r", "--few-labels"], "see mnclglf-lite explore --help"),
    "flag of another method": (
        ["train", "--method", "simclr", "--queue", "64"],
        "simclr has no setting 'queue'; it is one of moco, nnclr, mnclglf, mcl, cgh; see mnclglf-lite train --method simclr",
    ),
    "flag without effect": (
        ["train", "--method", "simclr", "--small-view-size", "8"],
        "--small-view-size has no effect where there are no small views",
    ),
    "one word too many": (["fetch", "cifar10", "cifar100"], "'cifar100' is one word too many"),
    "bad seeds": (["compare", "--seeds", "0,one", *TINY], "--seeds takes whole numbers with commas between"),
    "no seeds": (["compare", "--seeds", "", *TINY], "--seeds takes whole numbers"),
    "missing run": (["evaluate", "nowhere"], "there is no checkpoint at nowhere"),
    "missing run to explore": (["explore", "nowhere"], "there is no checkpoint at nowhere"),
    "missing run to export": (["export", "nowhere", "b.safetensors"], "there is no checkpoint at nowhere"),
    "unknown set to fetch": (
        ["fetch", "cifar1000", "--data", "empty"],
        "did you mean 'cifar100' or 'cifar10'? (choices: cifar10, cifar100, tinyimagenet); see mnclglf-lite fetch --help",
    ),
    "unknown command": (["trian"], "did you mean 'train'? (choices: doctor"),
    "flag for a command": (["--method", "simclr"], "see mnclglf-lite --help"),
}


def refused(said, argv, folder):
    """The command is refused with these words, in one line, and everything in the folder stays as it was."""
    before = tree(folder)
    code, out, err = cli(*argv)
    assert code == 2, (code, err)
    assert err.startswith("mnclglf-lite: ") and err.count("\n") == 1 and err.endswith("\n"), err
    assert said in err and "Traceback" not in err
    assert tree(folder) == before


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_line(case, tmp_path):
    (tmp_path / "empty").mkdir()
    argv, said = BAD[case]
    refused(said, argv, tmp_path)


@pytest.mark.parametrize(
    "extra, said",
    [
        (["--split", "validation"], "unknown split to evaluate on 'validation'"),
        (["--split", "train"], "choices: holdout, test"),
        (["--dataset", "cifr10"], "did you mean 'cifar10'"),
        (["--paper", "-3"], "epochs"),
        (["--json", "nowhere/r.json"], "no folder nowhere"),
    ],
)
def test_a_wrong_question_to_a_run_is_refused(extra, said, run, tmp_path):
    refused(said, ["evaluate", run[0], "--device", "cpu", *extra], tmp_path)


def test_factors_of_pictures_without_factors_are_refused_before_any_work(run, pictures, tmp_path):
    argv = ["evaluate", run[0], "--dataset", f"folder:{pictures}", "--factors", "--device", "cpu"]
    refused("has no known factors", argv, tmp_path)


@pytest.mark.parametrize(
    "extra, said",
    [
        (["--split", "training"], "unknown split"),
        (["--map", "umpa"], "did you mean 'umap'"),
        (["--points", "0"], "at least one"),
    ],
)
def test_a_wrong_picture_of_a_run_is_refused(extra, said, run, tmp_path):
    refused(said, ["explore", run[0], "--out", "x", "--device", "cpu", *extra], tmp_path)


def test_export_to_another_kind_of_file_is_refused(run, tmp_path):
    refused(".safetensors", ["export", run[0], "b.pt"], tmp_path)


def test_a_run_is_neither_overwritten_nor_mixed_with_another_recipe(run):
    folder, _ = run
    refused("already holds a run", ["train", "--out", folder, *TINY], folder)
    refused("another recipe (seed: 0 -> 1)", ["train", "--out", folder, *TINY, "--resume", "--seed", 1], folder)
    refused(
        "another recipe (method: mnclglf -> simclr",
        ["train", "--out", folder, *SIMCLR, "--resume", "--method", "simclr"],
        folder,
    )


def test_a_damaged_checkpoint_is_named(run, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "checkpoint.pt").write_bytes((run[0] / "checkpoint.pt").read_bytes()[:1000])
    refused("bad/checkpoint.pt is not a readable checkpoint", ["evaluate", "bad"], tmp_path)


@pytest.mark.parametrize("command", ["evaluate", "explore", "export"])
def test_under_torchrun_one_process_refuses_and_the_others_leave(command, run, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    words = [command, run[0], *(["b.safetensors"] if command == "export" else [])]
    refused(f"{command} works in one process, and torchrun has started 2", words, tmp_path)
    monkeypatch.setenv("RANK", "1")
    assert cli(*words) == (2, "", "")


# --- a run from another device: its generator's state has another length there, 16 bytes on CUDA ---


@pytest.fixture
def from_cuda(run, tmp_path):
    """The run as a GPU would have left it, as far as a CPU can tell."""
    folder = tmp_path / "gpu"
    shutil.copytree(run[0], folder)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    state["draws"] = torch.arange(16, dtype=torch.uint8)
    for group in state["optimiser"]["param_groups"]:
        group["lr"] = torch.tensor(group["lr"])  # of a captured step
    torch.save(state, folder / "checkpoint.pt")
    return folder


def test_a_run_from_a_gpu_is_looked_at_measured_and_exported_on_a_cpu(run, from_cuda, tmp_path):
    load = pytest.importorskip("safetensors.torch").load_file
    for folder, name in ((run[0], "cpu"), (from_cuda, "cuda")):
        code, _, err = cli("evaluate", folder, "--json", f"{name}.json", "--device", "cpu")
        assert code == 0 and err == ""
        assert cli("export", folder, f"{name}.safetensors")[0] == 0
    here, there = (json.loads((tmp_path / f"{name}.json").read_text())["rows"]["mnclglf"] for name in ("cpu", "cuda"))
    assert here["knn"] == there["knn"]
    here, there = (load(tmp_path / f"{name}.safetensors") for name in ("cpu", "cuda"))
    assert all(torch.equal(here[name], there[name]) for name in here)
    if importlib.util.find_spec("matplotlib"):
        assert cli("explore", from_cuda, "--map", "pca", "--points", 50, "--out", "x", "--device", "cpu")[0] == 0


@pytest.mark.parametrize("there", ["cuda", "cpu"])
def test_a_run_goes_on_with_another_kind_of_device_and_says_that_its_draws_differ(there, tmp_path, monkeypatch):
    """Both ways: 16 bytes for a CPU's generator, and a CPU's 5,056 for one that has 16."""
    argv = ["train", "--out", "r", *TINY, "--steps", "4", "--resume"]
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        assert cli(*argv)[0] == 130
    path = tmp_path / "r" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    if there == "cuda":
        torch.save(state | {"draws": torch.arange(16, dtype=torch.uint8)}, path)
        code, out, err = cli(*argv)
        assert code == 0 and err == "" and out.count("another kind of device: from step 2 on its random draws") == 1
        assert load_run(tmp_path / "r", "cpu").finished
        return

    class Cudas:
        seed = None

        def get_state(self):
            return torch.zeros(16, dtype=torch.uint8)

        def manual_seed(self, seed):
            self.seed = seed

    said = []
    run = load_run(tmp_path / "r", "cpu")
    run.generator = Cudas()
    run.resume(state, said.append)
    assert len(said) == 1 and "from step 2 on" in said[0]
    assert run.generator.seed not in (None, run.recipe.seed)  # not the draws of step 0 once more


# --- what breaks on the way: exit code 1 or 130, one line, nothing lost ---


def test_a_file_where_the_run_should_go_is_one_line_too(tmp_path):
    (tmp_path / "taken").write_text("mine")
    before = tree(tmp_path)
    code, _, err = cli("train", "--out", "taken", *TINY)
    assert code == 1 and err.startswith("mnclglf-lite: ") and err.count("\n") == 1 and "taken" in err
    assert tree(tmp_path) == before


def test_a_loss_that_is_no_number_ends_with_code_1():
    code, _, err = cli("train", "--out", "r", *TINY, "--lr", "1e30", "--steps", "6")
    assert code == 1 and "no longer a finite number" in err and err.count("\n") == 1


def test_an_interrupt_ends_with_code_130_and_resume_finishes(tmp_path, monkeypatch):
    real = Step.__call__

    def step(self, index):
        if self.run.step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, index)

    argv = ["train", "--out", "r", *TINY, "--steps", "4"]
    with monkeypatch.context() as patch:
        patch.setattr(Step, "__call__", step)
        code, out, err = cli(*argv)
    assert code == 130 and err == "" and "stopped at step 2 of 4" in out
    code, out, err = cli(*argv, "--resume")
    assert code == 0 and err == "" and "going on from step 2" in out
    assert cli(*argv[:2], "whole", *argv[3:])[0] == 0
    states = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["method"] for name in ("r", "whole")]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])
