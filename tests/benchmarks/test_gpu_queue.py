"""The queue: its page, its code path on a CPU without the packages a bare machine lacks, what becomes of each item."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu_queue, race
from benchmarks.gpu_items import ABLATION, CHOICES, ITEMS, SEEDS, Item
from mnclglf_lite.cli import main
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.recipe.flags import recipe_from

# What a machine with torch, torchvision and numpy need not have, and pillow, which torchvision alone asks for
ABSENT = "matplotlib sklearn scipy umap pandas PIL safetensors lightly pytorch_lightning pytest IPython tqdm".split()
BLOCKER = f"""
import sys
from importlib.machinery import PathFinder

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {ABSENT} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Bare
"""


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """Processes started from here on cannot import what is ABSENT."""
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "sitecustomize.py").write_text(BLOCKER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'bare'}")
    monkeypatch.setenv("MNCLGLF_LITE_DATA", str(tmp_path / "data"))


def dry(tmp_path, *more, minutes="60"):  # a busy machine is no failure
    folders = ["--out", str(tmp_path / "out"), "--scratch", str(tmp_path / "scratch")]
    return gpu_queue.main(["--device", "cpu", "--dry", "--minutes", minutes, *folders, *more])


def record(tmp_path, name):
    return json.loads((tmp_path / "out" / name / "item.json").read_text())


def test_the_page_is_written_from_the_list():
    assert gpu_queue.PAGE.read_text() == gpu_queue.page(), "run python -m benchmarks.gpu_queue --write"
    assert len({item.name for item in ITEMS}) == len(ITEMS)


def test_the_bare_machine_is_bare(bare):
    code = f"import torch, numpy, importlib.util as u; print([n for n in {ABSENT} if u.find_spec(n)])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


MEASURE = """
import torch
from mnclglf_lite.cli import main
from mnclglf_lite.data import dataset
from mnclglf_lite.evaluation import evaluate, paper_probe
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.training import run
draws, labels = torch.Generator().manual_seed(0), torch.arange(60) % 4
images = torch.randint(0, 256, (60, 3, 8, 8), dtype=torch.uint8, generator=draws)
part = dataset.ImageSet(images, labels, tuple("abcd"), "noise", "train")
splits = dataset.Splits(part, part, part)
method = run.new_run(preset("quick", "simclr", batch_size=20), 60, 4, torch.device("cpu")).method
rows = evaluate.baseline_rows(method.backbone, splits, "holdout") | {"simclr": evaluate.evaluate(method.backbone, splits)}
paper_probe.paper_probe(method.backbone, part, part, paper_probe.PaperProtocol(epochs=1), log=print)
print(evaluate.table(rows))
"""


def test_a_bare_machine_can_measure_a_run(bare):
    """All of `evaluate`, on a set that takes no time; a dry run has the toy box, whose raw pixels take half a minute."""
    done = subprocess.run([sys.executable, "-c", MEASURE], cwd=gpu_queue.ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "random encoder" in done.stdout, done.stderr


def test_every_kind_of_item_runs_on_a_bare_machine(tmp_path, bare, monkeypatch):
    names = ["ceilings", "engines-simclr", "smoke-moco", "c10-drawn-final", "race-simclr"]
    shorter = [dataclasses.replace(item, commands=item.commands[:1]) for item in ITEMS]  # see the test before this
    monkeypatch.setattr(gpu_queue, "ITEMS", shorter)
    code = dry(tmp_path, *(word for name in names for word in ("--only", name)))
    records = {name: record(tmp_path, name) for name in names}
    assert code == 0 and all(found["complete"] for found in records.values()), records
    assert json.loads((tmp_path / "out/ceilings/ceilings.json").read_text())["matmul_tflops"]["fp32"] > 0
    row = json.loads((tmp_path / "out/engines-simclr/engines.json").read_text())["methods"]["simclr"]["rows"][0]
    assert row["engine"] == "eager" and row["agrees"] and row["steps_per_s"] > 0
    assert json.loads((tmp_path / "out/smoke-moco/recipe.json").read_text())["method"] == "moco"
    assert len((tmp_path / "out/smoke-moco/history.jsonl").read_text().splitlines()) == 1
    final = json.loads((tmp_path / "out/c10-drawn-final/recipe.json").read_text())
    assert not final["holdout"] and final["temperature"] == 0.1  # a dry run has chosen nothing: the first word
    found = json.loads((tmp_path / "out/race-simclr/race.json").read_text())
    assert found["step"] == 2 and all(0 < share < 1 for share in found["curve"][-1]["holdout"].values())
    assert not any(mark["holds"] for mark in found["marks"].values())
    assert not list((tmp_path / "out").rglob("checkpoint.pt"))  # large things stay in scratch
    assert dry(tmp_path, "--only", "race-simclr") == 0
    assert record(tmp_path, "race-simclr") == records["race-simclr"]  # done is done


def script(name, code, resumable=False, minutes=1.0):
    return Item(name, "?", (("-c", code),), minutes, resumable=resumable)


@pytest.fixture
def listed(monkeypatch):
    """Other items in place of the real ones, and less patience."""
    monkeypatch.setattr(gpu_queue, "MARGIN", 1.0)
    monkeypatch.setattr(gpu_queue, "PATIENCE", 3.0)
    return lambda *items: monkeypatch.setattr(gpu_queue, "ITEMS", items)


def test_a_failure_is_kept_with_its_last_lines_and_does_not_block(tmp_path, listed, monkeypatch, capsys):
    flag = tmp_path / "mended"
    listed(
        script("broken", f"import os, sys\nif not os.path.exists({str(flag)!r}): sys.exit('it broke')"),
        script("next", "print('x' * 100 + '\\n', end='', flush=True)\n" * 3),
    )
    monkeypatch.setattr(gpu_queue, "LOG_BYTES", 250)
    assert dry(tmp_path) == 1
    broken, after = record(tmp_path, "broken"), record(tmp_path, "next")
    assert (broken["state"], broken["exit_code"], broken["last_lines"][-1]) == ("failed", 1, "it broke")
    assert after["complete"] and after["hardware"].startswith("cpu")
    assert len((tmp_path / "out/next/log.txt").read_bytes()) <= 250
    flag.touch()
    assert dry(tmp_path) == 0 and record(tmp_path, "broken")["state"] == "failed"  # left alone
    assert dry(tmp_path, "--retry") == 0 and record(tmp_path, "broken")["complete"]
    capsys.readouterr()
    gpu_queue.main(["--list", "--dry", "--out", str(tmp_path / "out")])
    assert capsys.readouterr().out.count("complete (dry)") == 2


def test_a_run_is_interrupted_in_time_and_goes_on_in_the_next_call(tmp_path, listed):
    seen = tmp_path / "seen"
    code = f"""
import pathlib, sys, time
seen = pathlib.Path({str(seen)!r})
if seen.exists(): sys.exit(0)
seen.touch()
try:
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""
    listed(script("long", code, resumable=True), script("never", "raise SystemExit(1)"))
    assert dry(tmp_path, minutes="0.04") == 0
    found = record(tmp_path, "long")
    assert (found["state"], found["exit_code"], found["complete"]) == ("interrupted", 130, False) and found["seconds"] < 10
    assert not (tmp_path / "out/never").exists()  # no time was left for it
    assert dry(tmp_path, "--only", "long") == 0
    found = record(tmp_path, "long")
    assert found["complete"] and found["calls"] == 2 and found["seconds"] > 1


def test_what_never_ends_is_killed_and_fails_in_the_end(tmp_path, listed, monkeypatch):
    """An item that takes no notice of interrupts, and more than four times its minutes over all calls."""
    monkeypatch.setattr(gpu_queue, "PATIENCE", 0.5)
    listed(script("deaf", "import signal, time\nsignal.signal(2, signal.SIG_IGN)\ntime.sleep(60)", minutes=0.01))
    assert dry(tmp_path) == 1
    found = record(tmp_path, "deaf")
    assert found["state"] == "failed" and "4 times" in found["why"] and found["exit_code"] == -9


def test_an_item_whose_needs_are_not_met_waits(tmp_path, listed, capsys):
    needy = Item("needy", "?", (("-c", "pass"),), 1.0, ("benchmarks/not_there.py",))
    listed(needy, script("other", "pass"))
    assert dry(tmp_path) == 0 and record(tmp_path, "other")["complete"]
    assert "needy: needs benchmarks/not_there.py" in capsys.readouterr().out and not (tmp_path / "out/needy").exists()


def test_a_record_cut_off_with_its_call_is_gone_on_with(tmp_path):
    path = tmp_path / "ceilings" / "item.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"state": "running", "seconds": 3}))
    assert gpu_queue.state_of(gpu_queue.read(tmp_path, "ceilings")) == "interrupted"
    path.write_text('{"state": "runn')
    assert gpu_queue.state_of(gpu_queue.read(tmp_path, "ceilings")) == "open"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "sealings"], "ceilings"),
        (["--device", "cpu"], "--dry"),
        (["--device", "cpu", "--dry"], "--out"),
        (["--device", "cpu", "--dry", "--out", "x", "--minutes", "0.5"], "minutes"),
    ],
)
def test_what_cannot_be_is_refused(words, said):
    with pytest.raises(InputError, match=said):
        gpu_queue.main(words)


def test_commands_name_what_exists():
    """Every module that an item starts is there, or stands among its needs."""
    for item in ITEMS:
        for command in item.commands:
            where = Path(gpu_queue.ROOT, *command[1].split("."))
            assert (
                where.is_dir() or where.with_suffix(".py").is_file() or f"{'/'.join(command[1].split('.'))}.py" in item.needs
            )


def options(tmp_path, *words):
    return gpu_queue.parser().parse_args(["--out", str(tmp_path), "--scratch", str(tmp_path), *words])


def named(name):
    return next(item for item in ITEMS if item.name == name)


def speaks(out, name, knn, state="complete"):
    """A record as the queue leaves it: top-1 of kNN (k 20) of the trained network, and what must not decide."""
    (out / name).mkdir()
    (out / name / "item.json").write_text(json.dumps({"state": state}))
    rows = {"raw pixels": 0.99, "mnclglf": knn}
    rows = {row: {"knn20": {"raw": {"top1": top1}}, "knn": {"raw": {"top1": 1 - top1}}} for row, top1 in rows.items()}
    if state == "complete":
        (out / name / "result.json").write_text(json.dumps({"rows": rows}))


def test_what_is_chosen_is_what_the_best_item_on_the_holdout_says(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_queue, "lacking_pictures", lambda name, root: "")
    args, final = options(tmp_path), named("c10-drawn-final")
    assert gpu_queue.lacking(final, args) == "{T-drawn}, of drawn-T0.1, drawn-T0.2, drawn-T0.5"
    speaks(tmp_path, "drawn-T0.2", 0.7)
    speaks(tmp_path, "drawn-T0.5", 0.6)
    assert "{T-drawn}" in gpu_queue.lacking(final, args)  # one is to come
    speaks(tmp_path, "drawn-T0.1", 0.0, state="failed")
    assert gpu_queue.lacking(final, args) == ""
    (words, _) = gpu_queue.commands_of(final, args)
    assert words[words.index("--temperature") + 1] == "0.2" and str(tmp_path / "c10-drawn-final") in words
    shutil.rmtree(tmp_path / "drawn-T0.1")
    speaks(tmp_path, "drawn-T0.1", 0.9)  # tried again, and better: too late, runs have begun with the other
    (words, _) = gpu_queue.commands_of(final, args)
    assert words[words.index("--temperature") + 1] == "0.2"
    assert gpu_queue.lacking(named("c10-released"), args).startswith("{T-released}")
    for number in ("0.1", "0.2", "0.5"):
        speaks(tmp_path, f"released-T{number}", 0, state="failed")
    assert gpu_queue.lacking(named("c10-released"), args).startswith("{T-released}")  # nothing to choose from


def test_what_speaks_for_a_choice_comes_before_what_waits_for_it_and_says_that_word():
    at = {item.name: number for number, item in enumerate(ITEMS)}
    for place, each in CHOICES.items():
        waiting = [item for item in ITEMS if place in item.places]
        assert waiting and max(at[name] for name in each.values()) < min(at[item.name] for item in waiting)
        for word, name in each.items():
            train, measure = named(name).commands
            assert word in train and "--no-holdout" not in train and "holdout" in measure


@pytest.fixture(scope="module")
def recipes():
    """Name of an item: the recipe that its training has, by the command line's own reading; choices at their first word."""
    read, found = main.parser(), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(race, "race", lambda recipe, *rest, **more: found.update({name: recipe}) or {"complete": False})
        patch.setattr(race, "load_dataset", lambda *rest, **more: None)
        for item in ITEMS:
            name = item.name
            words = [next(iter(CHOICES.get(word, [word]))) for word in item.commands[0]]
            if words[1:3] == ["mnclglf_lite", "train"]:
                args = read.parse_args(words[2:])
                found[name] = recipe_from(args, args.method)
                if len(item.commands) > 1:
                    read.parse_args(item.commands[1][2:])
            elif words[1] == "benchmarks.race":
                race.main([word for word in words[2:] if word not in ("--out", "{out}/race.json")])
    return found


def test_a_final_run_alone_trains_on_all_pictures_and_choices_never_see_test(recipes):
    for item in ITEMS:
        if item.name not in recipes or item.name == "as-released-224":
            continue
        final = item.name.endswith("-final")
        assert recipes[item.name].data.holdout != final
        if item.commands[-1][2] == "evaluate":
            on = item.commands[-1][item.commands[-1].index("--split") + 1]
            assert on == ("test" if final or item.name.startswith("part-") else "holdout"), item.name
    chosen = {name for each in CHOICES.values() for name in each.values()}
    assert all(recipes[name].data.holdout for name in chosen) and "as-released-224" in recipes


def test_full_runs_are_the_preset_and_what_their_name_says(recipes):
    epochs = {name: recipe.optim.epochs for name, recipe in recipes.items() if name.startswith(("c10-", "c100-", "tiny-"))}
    assert len(epochs) > 60 and set(epochs.values()) == {200.0}
    drawn = recipes["c10-drawn"]
    expected = {
        "c10-released": {"local_gradient"}, "c10-drawn-T1": {"temperature"}, "c10-drawn-512": {"batch_size"},
        "c10-drawn-final": {"holdout"}, "c10-released-large-final": {"local_gradient", "batch_size", "holdout"},
        "c100-drawn": {"dataset"}, "drawn-T0.5": {"temperature", "seed", "epochs"}, "race-drawn": {"batch_size", "epochs"},
    }  # fmt: skip
    for name, fields in expected.items():
        assert {line.split(":")[0] for line in drawn.differences(recipes[name])} == fields, name
    assert recipes["c10-released-T1-final"].method.temperature == 1.0 and drawn.optim.batch_size == 256
    assert recipes["race-drawn-grown"].views.progressive_sizes[-1] == drawn.views.view.size
    assert recipes["as-released-224"].views.view.size == 224


def test_the_ablation_changes_one_thing_at_a_time_and_keeps_the_sum_of_the_weights(recipes):
    fields = {
        "drawn": set(), "released": {"local_gradient", "global_weight"}, "local-only": {"local_weight", "global_weight"},
        "weights-1-to-1": {"local_weight", "global_weight"}, "random-crops": {"local", "small_view"},
        "one-network": {"num_networks"}, "three-networks": {"num_networks"}, "no-swap": {"neighbour_swap"},
    }  # fmt: skip
    assert set(fields) == set(ABLATION)
    for seed in SEEDS:
        drawn = recipes[f"part-drawn-{seed}"]
        assert drawn.seed == int(seed) and drawn.seed != recipes["drawn-T0.1"].seed
        for variant, changed in fields.items():
            recipe = recipes[f"part-{variant}-{seed}"]
            assert {line.split(":")[0] for line in drawn.differences(recipe)} == changed, variant
            mine = recipe.method
            assert mine.local_weight * mine.local_gradient + mine.global_weight == 7.0, variant
    crops, whole = recipes["part-random-crops-0"].method.small_view, recipes["part-drawn-0"].views.view
    assert (crops.size, crops.jitter, crops.jitter_p) == (whole.size // 2, whole.jitter, whole.jitter_p)
    assert (crops.gray_p, crops.blur_p, crops.solarize_p) == (whole.gray_p, whole.blur_p, whole.solarize_p)
    assert recipes["part-weights-1-to-1-0"].method.local_weight == recipes["part-weights-1-to-1-0"].method.global_weight


def test_what_the_paper_asks_comes_before_speed():
    names = [item.name for item in ITEMS]
    assert names[:3] == ["ceilings", "smoke-mnclglf", "engines-mnclglf"]  # a proof that what trains all others is sound
    speed = [number for number, name in enumerate(names) if name.startswith(("peers", "speed", "joined"))]
    asked = [number for number, item in enumerate(ITEMS) if item.name.startswith(("c10", "c100", "tiny", "race", "part"))]
    assert max(asked) < min(speed)


@pytest.mark.parametrize("name", ["cifar100", "tinyimagenet"])
def test_an_item_waits_for_an_image_set_that_is_not_there(tmp_path, name):
    assert name in gpu_queue.lacking_pictures(name, tmp_path)
