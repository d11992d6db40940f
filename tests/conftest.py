"""Shared by all tests: the loops that play oracle, and a tiny recipe."""

import os
import signal

os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

from mnclglf_lite.data import dataset
from mnclglf_lite.data.dataset import load_dataset
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.training.step import Step
from mnclglf_lite.views.view import View


def clouds(n=300, d=6, classes=4, seed=0, dtype=torch.float32):
    """Labelled features (n, d) of overlapping classes, in turn."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    centres = torch.randn(classes, d, generator=torch.Generator().manual_seed(99))
    return (centres[labels] + 1.2 * torch.randn(n, d, generator=generator)).to(dtype), labels


QUIET = {"device": "cpu", "log": lambda text: None}
WEAK = View(size=16, scale=(0.4, 1.0), jitter_p=0.0, gray_p=0.0, blur_p=0.0)


SMALL = {
    "width": 8, "blocks": (1, 1), "projector": (16, 8), "predictor_hidden": 8, "queue": 32, "batch_size": 16, "steps": 4,
    "view": View(size=16, blur_p=0.0), "teacher_view": WEAK, "optimiser": "sgd", "first_layer": "random", "swap_from": 0.0,
}  # fmt: skip


def read_by(method, **settings):
    """Those of the settings that a method reads: for tests that go through all methods."""
    base = preset("quick", method, "toybox")
    return {name: value for name, value in settings.items() if base.reads(name)}


def tiny(method="mnclglf", **changes):
    """A recipe that steps in milliseconds."""
    return preset("quick", method, "toybox", **read_by(method, **SMALL) | changes)


def same(one, two):
    """Whether two runs have the very same weights."""
    a, b = one.method.state_dict(), two.method.state_dict()
    return all(torch.equal(a[key], b[key]) for key in a)


def interrupt_after(steps, monkeypatch):
    """Press the stop button during the given step, as Ctrl-C does."""
    real = Step.__call__

    def step(self, index):
        if self.run.step == steps - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, index)

    monkeypatch.setattr(Step, "__call__", step)


@pytest.fixture(scope="session")
def toys():
    """A small toy box: 320 / 40 / 40 pictures of 16 x 16 pixels, so that a tiny network runs in no time."""
    parts = load_dataset("toybox", side=16)
    return dataset.Splits(
        parts.train.subset(torch.arange(320)), parts.holdout.subset(torch.arange(40)), parts.test.subset(torch.arange(40))
    )


@pytest.fixture(scope="module")
def browser():
    """Debian's chromium (mark the test with `browser.needs_browser()`). Of a module, not of the session: while Playwright
    runs, nothing else in this thread may start an event loop."""
    from browser import chromium

    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab that serves an empty folder, `lab.folder`."""
    from browser import Lab

    with Lab(tmp_path_factory.mktemp("lab")) as one:
        yield one
