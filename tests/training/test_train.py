"""The loop: schedule, exact resume, interrupts, crashes, full disks, and losses that are no numbers."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from conftest import QUIET, interrupt_after, same, tiny

from mnclglf_lite.core.errors import InputError, TrainingError
from mnclglf_lite.data.dataset import batch_order, evenly_spaced
from mnclglf_lite.methods.registry import METHODS
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.training import checkpoint, prepare, train
from mnclglf_lite.training import run as runs
from mnclglf_lite.training.prepare import calibrate_steps
from mnclglf_lite.training.run import load_run, lr_factor
from mnclglf_lite.training.step import Step
from mnclglf_lite.views import batch as views_batch
from mnclglf_lite.views.view import render_view


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stop", [3, 20, 27])
def test_interrupt_and_resume_end_in_the_very_same_weights(method, stop, toys, tmp_path, monkeypatch):
    recipe = tiny(method, steps=30)  # 20 steps an epoch: stops inside the first, at its end, inside the second
    whole = train.train(recipe, toys, **QUIET)
    with monkeypatch.context() as patch:
        interrupt_after(stop, patch)
        said = []
        first = train.train(recipe, toys, out=tmp_path / "run", device="cpu", log=said.append)
    assert first.step == stop and not first.finished and "everything so far is kept" in said[-1]
    second = train.train(recipe, toys, out=tmp_path / "run", resume=True, **QUIET)
    assert second.finished and same(second, whole)
    assert second.optimiser.state_dict()["state"].keys() == whole.optimiser.state_dict()["state"].keys()
    momenta = [run.optimiser.state_dict()["state"][0]["momentum_buffer"] for run in (second, whole)]
    assert torch.equal(*momenta) and torch.equal(second.generator.get_state(), whole.generator.get_state())
    for a, b in zip(second.history, whole.history, strict=True):
        measured = ("seconds", "images_per_second")
        assert {k: v for k, v in a.items() if k not in measured} == {k: v for k, v in b.items() if k not in measured}
    lines = [json.loads(text) for text in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in lines] == [20, 30]


def test_a_killed_process_resumes_to_the_very_same_weights(tmp_path):
    """SIGKILL at a random moment, again and again until it is through: nothing can be tidied up, and nothing is lost."""
    code = textwrap.dedent(
        f"""
        import sys, torch
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from conftest import tiny
        from mnclglf_lite.data import dataset
        from mnclglf_lite.training import train
        parts = dataset.load_dataset("toybox", side=16)
        toys = dataset.Splits(*(part.subset(torch.arange(320)) for part in parts))
        run = train.train(tiny(steps=150), toys, out=sys.argv[1], resume=True, device="cpu", checkpoint_seconds=0.0)
        torch.save(run.method.state_dict(), sys.argv[1] + "/final.pt")
        """
    )

    def launch(out):
        return subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.DEVNULL)

    assert launch(tmp_path / "whole").wait() == 0
    draw, kills, out = torch.Generator().manual_seed(int(time.time())), 0, tmp_path / "killed"
    while kills < 3:
        process = launch(out)
        while process.poll() is None and not (out / "checkpoint.pt").exists():
            time.sleep(0.01)
        time.sleep(0.3 * float(torch.rand((), generator=draw)))
        process.kill()
        kills += 1
        if process.wait() == 0:
            break
    assert process.returncode != 0 or kills > 1, "it was never killed: make the run longer"
    assert launch(out).wait() == 0
    a, b = (torch.load(tmp_path / name / "final.pt", weights_only=True) for name in ("whole", "killed"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_two_runs_of_one_recipe_are_the_same_and_another_seed_is_not(toys):
    one, two, three = (train.train(tiny("simclr", seed=seed), toys, **QUIET) for seed in (0, 0, 1))
    assert same(one, two) and not same(one, three)


def test_resuming_with_another_recipe_is_refused_and_names_the_difference(toys, tmp_path):
    train.train(tiny(), toys, out=tmp_path, **QUIET)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(InputError, match=r"another recipe \(temperature: [0-9.]+ -> 0.5\)"):
        train.train(tiny(temperature=0.5), toys, out=tmp_path, resume=True, **QUIET)
    with pytest.raises(InputError, match="already holds a run"):
        train.train(tiny(), toys, out=tmp_path, **QUIET)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_batch_larger_than_the_set_is_refused(toys):
    with pytest.raises(InputError, match=r"batch \(512\) is larger than the training set \(320 pictures\)"):
        train.train(tiny(batch_size=512, queue=512), toys, **QUIET)


def test_a_loss_that_is_no_number_stops_the_run_and_names_step_and_checkpoint(toys, tmp_path, monkeypatch):
    real = Step.__call__

    def step(self, index):
        if self.run.step == 12:
            with torch.no_grad():
                self.run.method.backbone.conv1.weight.fill_(float("nan"))
        return real(self, index)

    monkeypatch.setattr(Step, "__call__", step)
    with pytest.raises(TrainingError, match="step 13 of 30; the last good checkpoint is .*checkpoint.pt") as error:
        train.train(tiny(steps=30), toys, out=tmp_path, checkpoint_seconds=0.0, **QUIET)
    assert "smaller lr" in str(error.value)
    state = checkpoint.load(tmp_path / "checkpoint.pt", torch.device("cpu"))
    assert state["step"] == 12 and all(torch.isfinite(v).all() for v in state["method"].values())


def test_a_full_disk_is_one_clear_error_and_the_old_checkpoint_stays(toys, tmp_path):
    recipe = tiny(steps=25)
    run = train.train(recipe.replace(steps=20), toys, out=tmp_path, **QUIET)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:  # the system refuses to let a file grow beyond half a checkpoint
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
        with pytest.raises(
            TrainingError, match="could not write the checkpoint of step 20 .* is untouched. Free some space"
        ):
            checkpoint.save(tmp_path / "checkpoint.pt", run.state())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "history.jsonl", "recipe.json"]


def test_a_damaged_checkpoint_says_so(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        load_run(tmp_path, "cpu")
    with pytest.raises(InputError, match="there is no checkpoint"):
        load_run(tmp_path / "nowhere", "cpu")


def test_checkpoints_execute_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    torch.save({"step": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError):
        load_run(tmp_path, "cpu")
    assert not (tmp_path / "owned").exists()


def test_load_gives_back_the_run(toys, tmp_path):
    run = train.train(tiny(), toys, out=tmp_path, **QUIET)
    again = load_run(tmp_path, "cpu")
    assert again.recipe == run.recipe and again.step == run.step and same(again, run) and again.history == run.history


def test_the_rate_rises_linearly_and_falls_along_a_cosine():
    recipe = tiny(warmup=0.1)
    rates = [lr_factor(recipe, step, 1000) for step in range(1000)]
    assert rates[:100] == pytest.approx([(step + 1) / 101 for step in range(100)])
    assert rates[100] == 1.0 and max(rates) == 1.0
    assert rates[550] == pytest.approx(0.5) and rates[-1] < 1e-5
    # ... and equals torch's own cosine schedule where there is no warm-up
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 200)
    for step in range(200):
        assert lr_factor(tiny(warmup=0.0), step, 200) == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-9)
        optimiser.step()
        schedule.step()


def test_the_predictors_rate_may_stay_constant(toys):
    run = train.train(tiny(predictor_lr="constant", warmup=0.0), toys, **QUIET)
    named = dict(run.method.named_parameters())
    for group in run.optimiser.param_groups:
        of_predictor = any(group["params"][0] is p for name, p in named.items() if name.startswith("predictor."))
        assert group["constant"] == of_predictor
        scale = run.recipe.optim.lr * run.recipe.optim.batch_size / 256
        assert group["lr"] == pytest.approx(scale * (1 if of_predictor else 0.5 * (1 + math.cos(math.pi * 3 / 4))))


def test_weight_decay_spares_biases_and_norms_unless_told():
    for decay_all in (False, True):
        recipe = tiny(decay_bias_and_norm=decay_all)
        method = build_method(recipe, 10)
        for group in runs.make_optimiser(recipe, method).param_groups:
            for parameter in group["params"]:
                expected = recipe.optim.weight_decay if decay_all or parameter.ndim > 1 else 0.0
                assert group["weight_decay"] == expected


def test_each_epoch_sees_every_picture_once_in_an_order_of_its_own():
    one, two = batch_order(0, 0, 100), batch_order(0, 1, 100)
    assert sorted(one.tolist()) == sorted(two.tolist()) == list(range(100))
    assert one.tolist() != two.tolist() and torch.equal(one, batch_order(0, 0, 100))


def test_minutes_become_steps_that_stay_with_the_run(toys, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "calibrate_steps", lambda minutes, *rest: round(minutes * 100))
    run = train.train(tiny(steps=0), toys, out=tmp_path, minutes=0.05, **QUIET)
    assert run.step == run.recipe.optim.steps == 5
    monkeypatch.setattr(prepare, "calibrate_steps", lambda minutes, *rest: 99)  # another machine, another speed
    assert train.train(tiny(steps=0), toys, out=tmp_path, minutes=0.05, resume=True, **QUIET).step == 5
    with pytest.raises(InputError, match="minutes must be positive"):
        monkeypatch.undo()
        calibrate_steps(-1, tiny(), toys, torch.device("cpu"))


def test_training_lowers_the_loss(toys):
    run = train.train(tiny("simclr", steps=120), toys, **QUIET)
    assert run.history[-1]["loss"] < run.history[0]["loss"] - 0.3


def test_every_epoch_is_one_line_that_tells_all(toys):
    said = []
    train.train(tiny(steps=40), toys, device="cpu", log=said.append)
    assert len(said) == 3
    for word in ("epoch", "step", "loss", "local", "global", "kNN", "std", "rank", "images/s", "left"):
        assert word in said[1], word


def test_without_a_holdout_its_pictures_are_trained_on_too(toys, monkeypatch):
    seen = []
    real = Step.__call__
    monkeypatch.setattr(Step, "__call__", lambda self, index: seen.append(self.images[index]) or real(self, index))
    for holdout, count in ((True, 320), (False, 360)):
        seen.clear()
        train.train(tiny("simclr", batch_size=40, steps=count // 40, holdout=holdout), toys, **QUIET)
        assert len(torch.cat(seen).flatten(1).unique(dim=0)) == count


def test_the_monitors_pictures_are_spread_over_the_whole_set(toys):
    part = evenly_spaced(toys.train, 100)
    assert len(part) <= 100 and torch.equal(part.images[-1], toys.train.images[(len(part) - 1) * 4])
    assert len(evenly_spaced(toys.holdout, 1000)) == len(toys.holdout)


def test_views_may_grow_in_equal_shares_of_the_steps(toys, monkeypatch):
    sides = []
    real = render_view
    monkeypatch.setattr(views_batch, "render_view", lambda x, view, draw: sides.append(view.size) or real(x, view, draw))
    train.train(tiny("simclr", progressive_sizes=(8, 12, 16), steps=6), toys, **QUIET)
    assert sides == [8] * 4 + [12] * 4 + [16] * 4  # two views a step


def test_auto_precision_is_bf16_where_it_is_native(monkeypatch):
    from mnclglf_lite.core.device import CPU_BF16, autocast_dtype

    for name in CPU_BF16:
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert autocast_dtype("auto", torch.device("cpu")) is None
    monkeypatch.setattr(torch.cpu, CPU_BF16[1], lambda: True)
    assert autocast_dtype("auto", torch.device("cpu")) is torch.bfloat16
    assert autocast_dtype("fp32", torch.device("cpu")) is None
    for name in CPU_BF16:  # a torch without these questions
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert autocast_dtype("auto", torch.device("cpu")) is None
