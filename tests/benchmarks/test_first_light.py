"""The GPU script runs all its lines on a CPU; a step that fails, hangs or dies costs itself alone."""

import json
import subprocess
import sys
import time

import pytest
import torch

from benchmarks.gpu import first_light
from benchmarks.gpu.first_light import STEPS
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.methods.registry import METHODS


def records(folder):
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in STEPS if (folder / f"{name}.json").exists()}


def test_a_pretended_run_performs_every_step_and_a_second_one_nothing(tmp_path, capfd):
    assert first_light.main(["--pretend", "--out", str(tmp_path), "--minutes", "60"]) == 0  # on a busy machine too
    found = records(tmp_path)
    assert list(found) == list(STEPS) and {row["state"] for row in found.values()} == {"complete"}
    assert all(row["pretend"] and row["hardware"] and row["versions"]["torch"] for row in found.values())
    assert all(found["methods"][name]["finite"] for name in METHODS)
    for name in ("simclr", "mnclglf"):
        rows = [found["engines"][f"{name} {engine}"] for engine in ("eager", "compiled")]
        rows.append(found["captured"][f"{name} captured"])
        assert [row["became"] for row in rows] == ["eager", "compiled", "compiled"] and "CUDA" in rows[2]["said"][0]
        assert all(len(row["losses"]) == 20 and row["views_per_s"] > 0 for row in rows)
    assert found["speed"]["bare"]["ours_over_it"] > 0 and len(found["speed"]["ours"]["seconds"]) == 3
    for name in first_light.TRAINED:
        assert found[name]["test"]["on"] == "test" and 0 <= found[name]["test"]["linear"]["top1"] <= 1
        assert found[name]["curve"][-1]["seconds"] == pytest.approx(found[name]["train_seconds"], abs=0.01)
        assert found[name]["recipe"]["holdout"] is True  # no choice and no look on the way has seen the test set
    assert found["mnclglf-released"]["recipe"]["local_gradient"] is False
    assert "minutes in all, estimated" in capfd.readouterr().out and sum(STEPS.values()) <= 12 * 60

    assert first_light.main(["--pretend", "--out", str(tmp_path)]) == 0
    assert records(tmp_path) == found


# A worker that plays one scene a call: what is written there, then it ends, dies or hangs.
WORKER = """
import json, pathlib, sys, time
out = pathlib.Path(sys.argv[1])
def write(name, state):
    budget = -20 if name == "speed" else 1  # which hangs at once
    (out / f"{name}.json").write_text(json.dumps({"state": state, "began": time.time(), "budget_s": budget}))
state = lambda name: json.loads((out / f"{name}.json").read_text())["state"] if (out / f"{name}.json").exists() else ""
if not state("methods"):
    write("methods", "complete"); write("engines", "running"); sys.exit(9)
if not state("speed"):
    write("speed", "running"); time.sleep(60)
if not state("limits"):
    write("limits", "complete"); write("captured", "complete")
write("simclr", "running"); time.sleep(60)
"""


@pytest.fixture
def play(monkeypatch, tmp_path):
    real = subprocess.Popen
    monkeypatch.setattr(first_light.subprocess, "Popen", lambda *a, **b: real([sys.executable, "-c", WORKER, str(tmp_path)]))


def test_a_step_that_dies_or_hangs_costs_itself_alone_and_one_cut_off_stays_open(play, tmp_path, monkeypatch):
    for name in STEPS:
        monkeypatch.setitem(STEPS, name, 1)
    (tmp_path / "mnclglf.json").write_text(json.dumps({"state": "running", "began": time.time() - 1000}))  # of another call
    code = first_light.main(["--pretend", "--out", str(tmp_path), "--minutes", "0.07"])
    found = {name: row["state"] for name, row in records(tmp_path).items()}
    assert code == 1 and found == {
        "methods": "complete", "engines": "failed", "speed": "failed", "limits": "complete", "captured": "complete",
        "simclr": "open", "mnclglf": "running",
    }  # fmt: skip
    assert "9" in records(tmp_path)["engines"]["why"]


def test_a_step_out_of_time_keeps_what_it_has_and_is_taken_up_again(tmp_path, monkeypatch):
    monkeypatch.setattr(first_light, "METHODS", ("simclr", "moco"))
    args = first_light.argparse.Namespace(out=tmp_path, data=None, pretend=True)
    monkeypatch.setitem(STEPS, "methods", -1)
    assert first_light.work(args, "methods", time.monotonic() + 1000)
    record = first_light.state_of(tmp_path, "methods")
    assert record["state"] == "open" and "simclr" not in record  # not even begun
    monkeypatch.setitem(STEPS, "methods", 1000)
    (tmp_path / "methods.json").write_text(json.dumps(record | {"simclr": "as it was"}))
    assert first_light.work(args, "methods", time.monotonic() + 1000)
    record = first_light.state_of(tmp_path, "methods")
    assert record["state"] == "complete" and record["simclr"] == "as it was" and record["moco"]["finite"]
    assert record["why"] == ""
    other = record | {"state": "open", "hardware": "another device"}  # whose rows must not stand under this one's name
    (tmp_path / "methods.json").write_text(json.dumps(other))
    assert first_light.work(args, "methods", time.monotonic() + 1000)
    record = first_light.state_of(tmp_path, "methods")
    assert record["hardware"] != "another device" and record["simclr"]["finite"]


def test_what_cannot_be_done_here_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no CUDA GPU here; --pretend"):
        first_light.main(["--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
    args = first_light.argparse.Namespace(out=tmp_path, data=tmp_path, pretend=False)
    assert "needs CIFAR-10 in" in first_light.waiting(args, "simclr", time.monotonic() + 1000)
    assert "10 s are left, too few" in first_light.waiting(args, "methods", time.monotonic() + 10.4)
    assert first_light.waiting(args, "methods", time.monotonic() + 1000) == ""
