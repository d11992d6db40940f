"""Many processes against one: gradients, statistics, files; and what happens when one of them is killed or interrupted."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import many_ranks
import pytest
import torch
from conftest import QUIET, tiny

from mnclglf_lite.core import distributed
from mnclglf_lite.core.distributed import (
    all_gather_rows,
    all_gather_stack,
    any_rank,
    broadcast,
    init_distributed,
    local_rows,
    own_places,
    world_size,
)
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.methods import simclr
from mnclglf_lite.methods.registry import METHODS
from mnclglf_lite.models.batchnorm import sync_batchnorm
from mnclglf_lite.training import checkpoint, train
from mnclglf_lite.training.run import load_run
from mnclglf_lite.training.step import Step

ROOT = Path(__file__).resolve().parents[2]
WORLDS = (2, 3)
EXACT = 1e-10  # of the largest gradient; float64 itself is good for some 1e-14


def environment():
    """One thread for each process, and this checkout on the path."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def start(world, *words):
    """`many_ranks.py` as so many processes: their texts and codes."""
    shared = {**environment(), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port()}
    command = [sys.executable, str(ROOT / "tests" / "many_ranks.py"), *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    ranks = [subprocess.Popen(command, env={**shared, "RANK": r, "LOCAL_RANK": r}, **pipes) for r in map(str, range(world))]
    return [(process.communicate(timeout=600)[0], process.returncode) for process in ranks]


def torchrun(folder, processes, *words):
    """The command of the README, on a folder of small pictures, begun and not waited for."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", port()]
    command += ["-m", "mnclglf_lite", "train", "--dataset", f"folder:{folder}", "--device", "cpu", "--precision", "fp32"]
    command += "--method simclr --width 4 --blocks 1 --projector 8 --batch-size 24".split() + list(map(str, words))
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Sixty noisy pictures of two classes."""
    image = pytest.importorskip("PIL.Image")
    draws = torch.Generator().manual_seed(0)
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("one", "two"):
        (folder / name).mkdir()
        for i in range(30):
            noise = torch.randint(0, 256, (32, 32, 3), generator=draws, dtype=torch.uint8)
            image.fromarray(noise.numpy()).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process computes, which both numbers of ranks are compared with."""
    path = tmp_path_factory.mktemp("alone") / "alone.pt"
    ((text, code),) = start(1, "alone", path)
    assert code == 0, text
    return path


@pytest.fixture(scope="module", params=WORLDS, ids="{} ranks".format)
def proof(request, alone):
    """What the ranks found, one dictionary each."""
    path = alone.with_name(f"found{request.param}")
    for text, code in start(request.param, "proof", alone, path):
        assert code == 0, text
        assert "Warning" not in text, text
    return [torch.load(f"{path}.{rank}") for rank in range(request.param)]


def test_every_method_is_among_the_forms():
    assert {form.split(",")[0] for form in many_ranks.FORMS} == {*METHODS, "align-uniform"}  # and that of the page
    assert all(method.supports_distributed for method in METHODS.values())


@pytest.mark.parametrize("form", many_ranks.FORMS)
def test_many_processes_are_one(form, proof):
    """Loss and all gradients in each of 6 steps, then weights, momentum encoders, queues, running statistics: float64."""
    for found in proof:
        apart = {name: found["methods"][form][name] for name in ("loss", "gradient", "state")}
        assert all(value < EXACT for value in apart.values()), apart


@pytest.mark.parametrize("form", many_ranks.FORMS)
def test_each_rank_does_its_own_share_of_a_step(form, proof):
    """Networks, losses and look-ups: its FLOPs times the ranks are those of one process, not one more.

    Muon's updates alone are computed by every rank.
    """
    shares = [found["methods"][form]["flops"] for found in proof]
    assert all(share > 1 if "muon" in form else share == 1 for share in shares), shares


def test_a_loss_of_own_anchors_is_a_share_of_the_whole(proof):
    """Mean of the values, gradients, and FLOPs: n x N similarities on each rank."""
    for found in proof:
        assert len(found["losses"]) == 4
        for name, value in found["losses"].items():
            assert value["value"] < 1e-12 and value["gradient"] < 1e-12 and value["flops"] == 1, (name, value)


def test_a_norm_over_many_processes_is_batchnorm_on_the_whole_batch(proof):
    for found in proof:
        assert len(found["norm"]) == 28
        assert all(value < 1e-12 for value in found["norm"].values()), found["norm"]


def close(one, other):
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def test_a_run_goes_on_with_another_number_of_processes(tmp_path, monkeypatch):
    """One process, two, and one again: float32, to rounding. Rank 1 alone hears the interrupt, and all stop together."""
    splits, recipe = many_ranks.toys(320), tiny(**many_ranks.SHORT)
    whole = train.train(recipe, splits, **QUIET)

    grown = tmp_path / "grown"
    with monkeypatch.context() as patch:
        real = Step.__call__

        def step(self, index):
            if self.run.step == 24:
                os.kill(os.getpid(), signal.SIGINT)
            return real(self, index)

        patch.setattr(Step, "__call__", step)
        assert train.train(recipe, splits, out=grown, **QUIET).step == 25
    (said, code), (silent, code1) = start(2, "train", grown)
    assert code == code1 == 0 and "going on from step 25" in said and "2 processes" in said and silent == ""

    shrunk = tmp_path / "shrunk"
    (said, code), (silent, code1) = start(2, "train", shrunk, 25)
    assert code == code1 == 0 and "stopped at step 25 of 40" in said and silent == ""
    parts = [torch.load(shrunk / f"final.{rank}") for rank in (0, 1)]
    assert [part["step"] for part in parts] == [25, 25]
    assert all(torch.equal(value, parts[1]["method"][name]) for name, value in parts[0]["method"].items())
    train.train(recipe, splits, out=shrunk, resume=True, **QUIET)

    for folder in (grown, shrunk):
        run = load_run(folder, "cpu")
        assert run.finished and [row["step"] for row in run.history] == [20, 40]
        close(whole.method.state_dict(), run.method.state_dict())
        for row, other in zip(run.history, whole.history, strict=True):
            assert row["loss"] == pytest.approx(other["loss"], rel=1e-4)


def test_torchrun_trains_and_speaks_once(pictures, tmp_path):
    said, errors = (job := torchrun(pictures, 2, "--steps", 6, "--out", tmp_path / "run")).communicate(timeout=300)
    assert job.returncode == 0, errors
    assert said.count("6 steps of 24 images") == 1 and said.count("2 processes") == 1
    assert said.count("the run is in") == 1 and len(said.splitlines()) == 3 + len(re.findall("^epoch", said, re.M))
    rows = [json.loads(text) for text in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert load_run(tmp_path / "run", "cpu").finished


def ranks_of(job, deadline):
    """Rank -> process number, of the processes that a torchrun has started; Linux."""
    while time.monotonic() < deadline:
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == job.pid:
                    named = dict(word.partition("=")[::2] for word in (entry / "environ").read_text().split("\0"))
                    found[int(named["RANK"])] = int(entry.name)
            except (OSError, KeyError):
                continue
        if found:
            return found
        time.sleep(0.1)
    raise TimeoutError("torchrun has started nothing")


def under_way(job, out):
    """Wait for the first line of the history; then the processes of the job."""
    deadline = time.monotonic() + 120
    while not (out / "history.jsonl").exists() or not (out / "history.jsonl").read_text():
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < deadline, "no epoch in two minutes"
        time.sleep(0.1)
    return ranks_of(job, deadline)


def goes_on(out, monkeypatch):
    """The run in `out` takes another three steps in one process."""
    recipe = load_run(out, "cpu").recipe
    begun = checkpoint.load(out / "checkpoint.pt", torch.device("cpu"))["step"]
    real = Step.__call__

    def step(self, index):
        if self.run.step == begun + 2:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(Step, "__call__", step)
        run = train.train(recipe, out=out, resume=True, **QUIET)
    assert run.step == begun + 3
    return begun


@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_a_killed_process_ends_the_job_with_one_line_and_a_whole_checkpoint(pictures, tmp_path, monkeypatch):
    out = tmp_path / "run"
    job = torchrun(pictures, 3, "--steps", 100_000, "--out", out)
    os.kill(under_way(job, out)[0], signal.SIGKILL)  # the writer itself
    said, errors = job.communicate(timeout=120)
    assert job.returncode not in (0, None)
    lines = [text for text in errors.splitlines() if "mnclglf-lite:" in text]
    assert len(lines) == 1, errors
    for words in ("another of the 3 processes is gone", "of 100000", "last whole checkpoint is that of step 0", "--resume"):
        assert words in lines[0], lines[0]
    assert "Error: [" not in errors and errors.count("Traceback") == 1, errors  # torchrun's own report
    assert goes_on(out, monkeypatch) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_an_interrupt_keeps_everything_so_far(pictures, tmp_path, monkeypatch):
    out = tmp_path / "run"
    job = torchrun(pictures, 2, "--steps", 100_000, "--out", out)
    for process in under_way(job, out).values():
        os.kill(process, signal.SIGINT)  # as some launchers do, and torchrun then once more
    os.killpg(job.pid, signal.SIGINT)
    said, errors = job.communicate(timeout=120)
    stopped = int(re.search(r"stopped at step (\d+) of 100000; everything so far is kept", said)[1])
    assert job.returncode != 0 and "mnclglf-lite:" not in errors, errors
    assert goes_on(out, monkeypatch) == stopped > 0


def test_what_processes_cannot_share_is_refused_before_anything_is_written(monkeypatch, tmp_path):
    monkeypatch.setattr(distributed, "_world", 3)
    for changes, words in (
        ({}, r"batch_size \(16, of the whole batch\) does not divide among 3 processes.* such as 15 or 18"),
        ({"batch_size": 12, "queue": 24, "bn_splits": 4}, r"bn_splits \(4, .* 3 or 6"),
    ):
        with pytest.raises(InputError, match=words):
            train.train(tiny("moco", **changes), out=tmp_path / "run", **QUIET)
    assert not (tmp_path / "run").exists()


def test_a_method_that_does_not_claim_it_is_refused(monkeypatch, toys, tmp_path):
    monkeypatch.setattr(distributed, "_world", 2)
    monkeypatch.setattr(simclr.SimCLR, "supports_distributed", False)
    with pytest.raises(InputError, match="'simclr' does not say that it works with many .*core.distributed.all_gather_rows"):
        train.train(tiny("simclr"), toys, out=tmp_path / "run", **QUIET)
    assert not (tmp_path / "run").exists()


def test_with_one_process_nothing_changes():
    x = torch.randn(6, 3)
    assert all_gather_rows(x) is x and local_rows(6) == slice(0, 6) and torch.equal(all_gather_stack(x).mean(0), x)
    assert broadcast(7) == 7 and any_rank(True) and not any_rank(False)
    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    assert type(sync_batchnorm(module, torch.device("cpu"))[1]) is torch.nn.BatchNorm1d
    with init_distributed("cpu") as device:
        assert device == "cpu" and world_size() == 1


def test_rows_are_dealt_out_without_gap_or_overlap(monkeypatch):
    monkeypatch.setattr(distributed, "_world", 4)
    dealt = []
    for rank in range(4):
        monkeypatch.setattr(distributed, "_rank", rank)
        dealt += range(24)[local_rows(24)]
        assert own_places(6, torch.device("cpu")).tolist() == dealt[-6:]
    assert dealt == list(range(24))
