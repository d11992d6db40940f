"""The training board: what it reads from a run, its picture, its words, and that looking on changes nothing; at last in a
real JupyterLab, where it is stopped with the square button and goes on."""

import base64
import json
import math
import os
import re
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from browser import needs_browser, write_notebook
from conftest import QUIET, tiny

from mnclglf_lite.drawing import canvas
from mnclglf_lite.drawing.palette import AGREE, rgb
from mnclglf_lite.explorers.training import figure, progress
from mnclglf_lite.explorers.training.progress import ProgressSnapshot, ProgressTracker, in_words, thinned
from mnclglf_lite.training import recorder, run
from mnclglf_lite.training.run import lr_factor
from mnclglf_lite.training.step import Step
from mnclglf_lite.training.train import train

pytest.importorskip("PIL")
ROW = {"loss": 2.5, "spread": 0.81, "images_per_second": 800.0}
SIGHT = ProgressSnapshot(
    method="mnclglf",
    dataset="toybox",
    step=120,
    total=427,
    epoch=1.93,
    epochs=6.9,
    losses={
        "loss": [(40, 4.0), (80, 3.0), (120, 2.31)],
        "loss_local": [(40, 2.0), (80, 1.95), (120, 1.9)],
        "loss_global": [(40, 3.0), (80, 2.6), (120, 2.5)],
    },
    history=[{"epoch": 1.0, "step": 60, "knn": 0.45, "rank": 23.2, **ROW}],
    rates=[(4.27 * i, 0.45 * (1 - i / 100)) for i in range(101)],
    rate=0.31,
    dim=64,
    speed=812.0,
    seconds=24.0,
    left=62.0,
    live=True,
    kept=True,
)


def watched(recipe, toys, monkeypatch, every=0.0, callback=None, **more):
    """A run that is looked at after every step (or as often as `every` seconds allow), and what was seen."""
    seen = []
    monkeypatch.setattr(recorder, "CALLBACK_SECONDS", every)

    def look(run):
        seen.append((run.step, run.meter.count, run.live))
        if callback:
            callback(run)

    return train(recipe, toys, callback=look, **{**QUIET, **more}), seen


# ---- the hook


def test_a_callback_is_called_at_the_start_between_steps_after_epochs_and_at_the_end(toys, monkeypatch):
    _, seen = watched(tiny("simclr", steps=25), toys, monkeypatch)  # 20 steps an epoch
    assert [step for step, _, _ in seen] == [*range(26), 25]
    assert [live for _, _, live in seen] == [True] * 26 + [False]
    assert seen[20][1] == 0 and seen[19][1] == 19  # the meter begins anew with each epoch
    _, seen = watched(tiny("simclr", steps=25), toys, monkeypatch, every=1e9)
    assert [step for step, _, _ in seen] == [0, 20, 25, 25]


def test_between_steps_it_waits_for_its_time(toys, monkeypatch):
    """With a clock that goes 0.2 s further whenever it is read, looks are at least half a second apart."""
    now = [0.0]

    def clock():
        now[0] += 0.2
        return now[0]

    monkeypatch.setattr(recorder.time, "perf_counter", clock)
    times = []
    watched(tiny("simclr", steps=15), toys, monkeypatch, every=0.5, callback=lambda run: times.append(now[0]))
    assert 3 < len(times) < 15
    assert min(b - a for a, b in zip(times[:-2], times[1:-1], strict=True)) > 0.5


@pytest.mark.parametrize("method", ["simclr", "mnclglf", "cgh"])
def test_looking_on_changes_nothing_bit_by_bit(method, toys, monkeypatch, tmp_path):
    plain = train(tiny(method, steps=25), toys, **QUIET)
    board = ProgressTracker()
    seen, _ = watched(tiny(method, steps=25), toys, monkeypatch, callback=board.look, out=tmp_path)
    state, other = plain.method.state_dict(), seen.method.state_dict()
    assert all(torch.equal(state[key], other[key]) for key in state)
    assert torch.equal(plain.generator.get_state(), seen.generator.get_state())
    momenta = [r.optimiser.state_dict()["state"][0]["momentum_buffer"] for r in (plain, seen)]
    assert torch.equal(*momenta)
    timed = ("seconds", "images_per_second")
    for a, b in zip(plain.history, seen.history, strict=True):
        assert {k: v for k, v in a.items() if k not in timed} == {k: v for k, v in b.items() if k not in timed}


def test_without_a_callback_nothing_is_read(toys, monkeypatch):
    monkeypatch.setattr(progress, "snapshot_of", lambda run: pytest.fail("looked"))
    assert train(tiny("simclr", steps=3), toys, **QUIET).finished


def test_a_callback_that_breaks_is_left_and_training_goes_on(toys, monkeypatch):
    said = []

    def breaks(run):
        if run.step == 2:
            raise OSError("no such picture")

    result, seen = watched(tiny("simclr", steps=5), toys, monkeypatch, callback=breaks, log=said.append)
    assert result.finished and seen[-1][0] == 2
    assert [text for text in said if "callback" in text] == [
        "the callback broke off (OSError: no such picture); training goes on without it"
    ]


def test_looking_is_not_training_time(toys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(recorder.time, "perf_counter", lambda: now[0])

    def slow(run):
        now[0] += 100.0

    real = Step.__call__
    monkeypatch.setattr(Step, "__call__", lambda *args: now.__setitem__(0, now[0] + 1.0) or real(*args))
    result, _ = watched(tiny("simclr", steps=10), toys, monkeypatch, callback=slow)
    assert result.seconds == pytest.approx(10.0)
    assert result.history[-1]["images_per_second"] == pytest.approx(16.0)


def test_a_stopped_run_is_no_longer_live_and_a_resumed_one_is_again(toys, monkeypatch, tmp_path):
    def stop(run):
        if run.step == 7 and run.live:
            os.kill(os.getpid(), signal.SIGINT)

    result, seen = watched(tiny("simclr", steps=25), toys, monkeypatch, callback=stop, out=tmp_path)
    assert not result.live and not result.finished and seen[-1][2] is False
    trail_of = ProgressTracker()
    sights = []
    look = {"callback": lambda run: sights.append(trail_of.look(run)), "out": tmp_path, "resume": True}
    again, seen = watched(tiny("simclr", steps=25), toys, monkeypatch, **look)
    assert again.finished and seen[0] == (result.step, result.step, True)
    assert sights[0].step == result.step and sights[-1].finished and not sights[-1].live


# ---- what is read


def test_losses_are_means_of_the_steps_since_the_last_look(toys, monkeypatch):
    """Against every single step's loss, at uneven looks and across the end of an epoch."""
    single, looked, board = [], [], ProgressTracker()
    real = run.Meter.add

    def add(self, outputs, step):
        single.append({name: float(value.detach()) for name, value in outputs.items() if value.ndim == 0})
        real(self, outputs, step)

    monkeypatch.setattr(run.Meter, "add", add)

    def look(run):
        if run.step in (0, 3, 4, 11, 20, 23, 25):
            looked.append((run.step, board.look(run)))

    watched(tiny("mnclglf", steps=25), toys, monkeypatch, callback=look)
    losses = looked[-1][1].losses
    assert list(losses) == ["loss", "loss_local", "loss_global"]
    for name, points in losses.items():
        expected = [(3, 0, 3), (4, 3, 4), (11, 4, 11), (23, 20, 23)]  # those of an epoch's end are in its row
        assert [step for step, _ in points] == [step for step, _, _ in expected]
        for (_, value), (_, begin, end) in zip(points, expected, strict=True):
            assert value == pytest.approx(np.mean([row[name] for row in single[begin:end]]), rel=1e-4)


def test_a_sight_tells_what_the_run_is(toys, monkeypatch):
    board, sights = ProgressTracker(), []
    result, _ = watched(tiny("mnclglf", steps=25), toys, monkeypatch, callback=lambda run: sights.append(board.look(run)))
    middle = sights[10]
    assert (middle.step, middle.total, middle.epoch, middle.epochs) == (10, 25, 0.5, 1.25)
    recipe = result.recipe
    for step, value in ((0, sights[0].rate), (10, middle.rate)):
        assert value == pytest.approx(recipe.optim.lr * recipe.optim.batch_size / 256 * lr_factor(recipe, step, 25))
    assert middle.rates[0][0] == 0 and middle.rates[-1] == (25, pytest.approx(0.0, abs=1e-6))
    assert middle.dim == result.backbone.dim == 16 and middle.live and not middle.kept and middle.left > 0
    assert sights[-1].history == result.history and sights[-1].now("knn") == result.history[-1]["knn"]
    assert sights[0].left is None and sights[0].now("loss") is None
    assert middle.left == pytest.approx(15 * middle.seconds / 10, rel=0.2)


def test_another_run_begins_another_trail(toys, monkeypatch):
    board, sights = ProgressTracker(), []
    for _ in range(2):
        watched(tiny("simclr", steps=4), toys, monkeypatch, callback=lambda run: sights.append(board.look(run)))
    assert len(sights[-1].losses["loss"]) <= 4 and sights[6].losses == {}


def test_long_trails_are_thinned_and_keep_their_mean():
    points = [(float(i), math.sin(i)) for i in range(progress.MOST)]
    assert thinned(points) == points
    points.append((float(len(points)), 0.5))
    thin = thinned(points)
    assert len(thin) == progress.MOST // 2 + 1
    assert thin[-1] == points[-1] and thin[0] == (0.5, (math.sin(0) + math.sin(1)) / 2)
    assert sum(y for _, y in thin[:-1]) * 2 == pytest.approx(sum(y for _, y in points[:-1]))


# ---- words


def test_the_words_of_a_run_that_trains():
    for part in (
        "step 120 of 427", "epoch 1.9 of 6.9", "loss 2.31 (local 1.90, global 2.50)", "kNN 45 % at step 60", "spread 0.81",
        "effective rank 23 of 64", "rate 0.31", "812 pictures a second", "1:02 left", "square button: everything is kept",
    ):  # fmt: skip
        assert part in in_words(SIGHT)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"live": False}, "Stopped at step 120 of 427.*Everything so far is kept; run the cell again to go on"),
        ({"live": False, "kept": False}, "Stopped at.*it lives in memory: give train an `out`"),
        ({"kept": False}, "Stop with the square button: what is learnt is kept; it lives in memory"),
        ({"live": False, "step": 427}, r"^Done in 0:24: step 427 of 427.*pictures a second\.$"),
        ({"history": [], "left": None, "speed": 0.0}, "rate 0.31, not timed yet, time not known yet"),
        ({"dim": 0}, "effective rank 23, rate"),
        ({"total": 0, "step": 0}, "Nothing has been trained yet"),
        ({"losses": {"loss": [(1, 3.0)]}}, "loss 3.00, kNN"),
    ],
)
def test_the_words_of_other_moments(change, words):
    assert re.search(words, in_words(replace(SIGHT, **change)))


# ---- picture


def pixels(sight):
    return np.asarray(figure.board(sight).convert("RGB")).astype(int)


def blue(array):
    return np.abs(array - rgb(AGREE)).max(-1) < 40


def test_the_bar_is_as_long_as_what_is_done():
    for step in (0, 100, 213, 427):
        row = pixels(replace(SIGHT, step=step))[53, canvas.MARGIN + figure.LOSS + figure.GAP :]
        whole = np.flatnonzero((row == 255).all(-1))[0]  # the bar ends where white begins
        assert blue(row[:whole]).sum() / whole == pytest.approx(step / 427, abs=0.02)


def test_gauges_are_dots_where_they_belong():
    """A dot for each epoch, its height the value's share of the panel's."""
    rows = [{"epoch": i, "step": 100 * i, "knn": knn, "rank": 10.0, **ROW} for i, knn in ((1, 0.2), (2, 0.4), (3, 0.8))]
    found = blue(pixels(replace(SIGHT, history=rows)))
    left = canvas.MARGIN + figure.LOSS + figure.GAP + figure.AXIS
    small = (figure.WIDE - figure.LOSS - 2 * figure.GAP) // 2 - figure.AXIS
    panel = found[100:200, left : left + small]
    heights = []
    for step in (100, 200, 300):
        column = np.flatnonzero(panel[:, round(small * step / 427) - 1 : round(small * step / 427) + 2].any(1))
        heights.append(column.mean())
    assert heights[1] - heights[2] == pytest.approx(2 * (heights[0] - heights[1]), rel=0.15)  # 20, 40, 80 %


def test_curves_have_colours_dashes_and_names_of_their_own():
    terms = ("labels", "vcl", "icl", "soft_vcl", "soft_icl")  # the most that a method of the package has
    assert len(set(figure.PARTS)) == len(set(figure.DASHES)) == len(terms)
    losses = {"loss": SIGHT.losses["loss"]} | {f"loss_{name}": [(1, 1.0), (100, 2.0 + i)] for i, name in enumerate(terms)}
    array = pixels(replace(SIGHT, losses=losses))
    for colour in figure.PARTS:
        assert (np.abs(array - rgb(colour)).max(-1) < 40).sum() > 40
    assert (array[:300, 440:446] == 255).all()  # names wrap: nothing runs into the panels beside


@pytest.mark.parametrize(
    "change",
    [
        {"losses": {}, "history": [], "rates": [], "step": 0},
        {"losses": {"loss": [(5, 2.0)]}},
        {"losses": {"loss": [(5, math.nan), (6, math.inf), (7, 1.0), (8, 1.0)]}},
        {"losses": {"loss": [(5, 1e9), (6, -1e9)]}},
        {"total": 0, "step": 0, "losses": {}, "history": []},
    ],
)
def test_odd_runs_are_drawn_too(change):
    sight = replace(SIGHT, **change)
    first = canvas.png(figure.board(sight))
    assert first == canvas.png(figure.board(sight)) and first.startswith(b"\x89PNG")
    assert figure.board(sight).size == figure.board(SIGHT).size  # nothing below it jumps


# ---- the shell


@pytest.fixture
def widgets():
    pytest.importorskip("anywidget")
    return pytest.importorskip("mnclglf_lite.explorers")


def test_the_board_draws_at_most_twice_a_second(widgets, toys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("mnclglf_lite.explorers.training.widget.time", SimpleNamespace(perf_counter=lambda: now[0]))
    board, drawn = widgets.TrainingBoard(), []
    assert "Nothing has been trained yet" in board.words
    real = type(board).redraw
    monkeypatch.setattr(type(board), "redraw", lambda self, change=None: drawn.append(now[0]) or real(self))

    def tick(run):
        now[0] += 0.1
        board(run)

    watched(tiny("simclr", steps=45), toys, monkeypatch, callback=tick)  # epochs of 20 steps: 2 s
    assert len(drawn) == pytest.approx(4.8 / 0.5, abs=2)
    assert min(b - a for a, b in zip(drawn, drawn[1:-1], strict=False)) > 0.44  # but for the last, which is the end
    assert board.words.startswith("Done in") and board.sight.finished


def test_outside_of_a_notebook_it_shows_nothing_and_still_has_its_picture(widgets, toys, monkeypatch, capsys):
    board = widgets.TrainingBoard()
    run = train(tiny("simclr", steps=4), toys, callback=board, **QUIET)
    assert board.handle is False and capsys.readouterr().out == ""
    assert run.finished and board.figure().size == (928, 343)
    data, _ = board._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]) == board.picture.png == canvas.png(board.figure())
    assert data["text/plain"] == board.words


TRAIN = """
board = TrainingBoard()
run = train(recipe, splits, out="run", resume=True, device="cpu", callback=board)
"""
SET_UP = """
import torch
from mnclglf_lite.data import dataset, toybox
from mnclglf_lite.explorers import TrainingBoard
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.training.train import train
from mnclglf_lite.views.view import View

images, labels, _, _ = toybox.draw(400, 0, 16)
part = lambda name, rows: dataset.ImageSet(images[rows], labels[rows], tuple(toybox.CLASSES), "toybox", name)
splits = dataset.Splits(part("train", slice(0, 320)), part("holdout", slice(320, 360)), part("test", slice(360, 400)))
# fewer steps than a CPU would compile for
small = dict(width=8, blocks=(1, 1), projector=(16, 8), batch_size=16, view=View(size=16, blur_p=0.0), steps=4900)
recipe = preset("quick", "simclr", "toybox", **small)
"""


@needs_browser()
def test_in_jupyterlab_it_grows_is_stopped_with_the_square_button_and_goes_on(browser, lab):
    from playwright.sync_api import expect

    write_notebook(lab.folder / "board.ipynb", SET_UP, TRAIN)
    page = lab.open(browser, "board.ipynb", run=False)

    def go(menu):
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.locator(f"[data-command='{menu}']").click()

    def stopped():
        expect(words).to_contain_text("Stopped at step", timeout=30_000)
        return int(re.search(r"step ([\d,]+) of", words.inner_text())[1].replace(",", ""))

    img, words = page.locator(".mnclglf-picture img"), page.locator(".mnclglf-picture .words")
    go("runmenu:run-all")
    expect(words).to_contain_text("of 4,900", timeout=60_000)
    running = page.locator(".jp-InputPrompt", has_text="[*]")
    for _ in range(2):  # it grows while the cell runs
        src = img.get_attribute("src")
        expect(img).not_to_have_attribute("src", src)
        expect(running).to_have_count(1)
    assert "Stop with the square button: everything is kept; run the cell again to go on" in words.inner_text()
    page.get_by_role("button", name="Interrupt the kernel").first.click()  # the square button
    first = stopped()
    expect(running).to_have_count(0)
    output = page.locator(".jp-CodeCell").nth(1).locator(".jp-OutputArea")
    expect(output).to_contain_text(f"stopped at step {first} of 4900; everything so far is kept")  # train's own line
    assert img.count() == 1 and "Traceback" not in output.inner_text()

    # the notebook that is saved holds a picture of the end
    page.keyboard.press("Control+s")
    end = base64.b64decode(lab.python("board.ipynb", "__import__('base64').b64encode(board.picture.png).decode()")[1:-1])

    def saved():
        try:
            cell = json.loads((lab.folder / "board.ipynb").read_text())["cells"][1]
        except json.JSONDecodeError:  # just being written
            return []
        return [base64.b64decode(o["data"]["image/png"]) for o in cell["outputs"] if "image/png" in o.get("data", {})]

    for _ in range(100):
        if saved() == [end]:
            break
        page.wait_for_timeout(100)
    assert saved() == [end]

    page.locator(".jp-CodeCell").nth(1).locator(".jp-InputArea-editor").click()
    go("notebook:run-cell")
    expect(output).to_contain_text(f"going on from step {first}", timeout=30_000)
    expect(words).to_contain_text("Stop with the square button", timeout=30_000)
    src = img.get_attribute("src")
    expect(img).not_to_have_attribute("src", src)
    page.keyboard.press("Escape")
    page.keyboard.press("i")  # twice: JupyterLab's key for the square button
    page.keyboard.press("i")
    assert stopped() > first
    assert int(lab.python("board.ipynb", "run.step")) > first
    assert page.left == [] and page.errors == []
