"""The queue: its page, its code path on a CPU without the packages a bare machine lacks, what becomes of each item."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu_queue
from benchmarks.gpu_queue import ITEMS, Item
from mnclglf_lite.errors import InputError

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
from mnclglf_lite import __main__, data, evaluate, paper_probe, run
from mnclglf_lite.recipe import preset
draws, labels = torch.Generator().manual_seed(0), torch.arange(60) % 4
images = torch.randint(0, 256, (60, 3, 8, 8), dtype=torch.uint8, generator=draws)
part = data.ImageSet(images, labels, tuple("abcd"), "noise", "train")
splits = data.Splits(part, part, part)
method = run.start(preset("quick", "simclr", batch=20), 60, 4, torch.device("cpu")).method
rows = evaluate.baseline_rows(method.backbone, splits, "holdout") | {"simclr": evaluate.evaluate(method.backbone, splits)}
paper_probe.paper_probe(method.backbone, part, part, paper_probe.PaperProtocol(epochs=1), log=print)
print(evaluate.table(rows))
"""


def test_a_bare_machine_can_measure_a_run(bare):
    """All of `evaluate`, on a set that takes no time; a dry run has the toy box, whose raw pixels take half a minute."""
    done = subprocess.run([sys.executable, "-c", MEASURE], cwd=gpu_queue.ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "random encoder" in done.stdout, done.stderr


def test_every_kind_of_item_runs_on_a_bare_machine(tmp_path, bare, monkeypatch):
    names = ["ceilings", "engines-simclr", "smoke-moco", "race"]
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
    race = json.loads((tmp_path / "out/race/race.json").read_text())
    assert race["step"] == 2 and 0 < race["curve"][-1]["knn_holdout"] < 1 and not race["holds"]
    assert not list((tmp_path / "out").rglob("checkpoint.pt"))  # large things stay in scratch
    assert dry(tmp_path, "--only", "race") == 0 and record(tmp_path, "race") == records["race"]  # done is done


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
    path = tmp_path / ITEMS[0].result
    path.parent.mkdir()
    path.write_text(json.dumps({"state": "running", "seconds": 3}))
    assert gpu_queue.state_of(gpu_queue.read(tmp_path, ITEMS[0])) == "interrupted"
    path.write_text('{"state": "runn')
    assert gpu_queue.state_of(gpu_queue.read(tmp_path, ITEMS[0])) == "open"


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
