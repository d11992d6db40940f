"""Shared by all tests: the loops that play oracle, and a tiny recipe."""

import math
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


def cosine(a, b):
    """Cosine similarity of two float64 vectors, in plain Python."""
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def clouds(n=300, d=6, classes=4, seed=0, dtype=torch.float32):
    """Labelled features (n, d) of overlapping classes, in turn."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    centres = torch.randn(classes, d, generator=torch.Generator().manual_seed(99))
    return (centres[labels] + 1.2 * torch.randn(n, d, generator=generator)).to(dtype), labels


def slow_info_nce(p, c, temperature):
    """The formula of `losses.info_nce`, one pair at a time."""
    p, c = p.tolist(), c.tolist()
    total = 0.0
    for i in range(len(p)):
        scores = [math.exp(cosine(p[i], c[k]) / temperature) for k in range(len(c))]
        total -= math.log(scores[i] / sum(scores))
    return total / len(p)


def slow_nt_xent(a, b, temperature):
    """The formula of `losses.nt_xent`, one pair at a time."""
    a, b = a.tolist(), b.tolist()
    n, total = len(a), 0.0
    for left, right in ((a, b), (b, a)):
        for i in range(n):
            across = [math.exp(cosine(left[i], right[k]) / temperature) for k in range(n)]
            beside = [math.exp(cosine(left[i], left[k]) / temperature) for k in range(n) if k != i]
            total -= math.log(across[i] / (sum(across) + sum(beside)))
    return total / (2 * n)


def slow_log_softmax(row):
    """log of each entry's share of exp, for one list of numbers."""
    total = sum(math.exp(x) for x in row)
    return [x - math.log(total) for x in row]


def slow_soft_cross_entropy(logits, targets):
    """The formula of `losses.soft_cross_entropy`, for lists of lists."""
    total = 0.0
    for row, target in zip(logits, targets, strict=True):
        total -= sum(t * share for t, share in zip(target, slow_log_softmax(row), strict=True))
    return total / len(logits)


def slow_soften(student, teacher, temperature):
    """The formula of `losses.distillation_kl`, for lists of lists."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        guess, target = (slow_log_softmax([x / temperature for x in row]) for row in (s, t))
        total += sum(math.exp(b) * (b - a) for a, b in zip(guess, target, strict=True))
    return temperature**2 * total / len(student)


def slow_supervised_contrastive(s, labels):
    """The formula of `losses.supervised_contrastive`, for a list of lists and a list."""
    anchors = []
    for i, row in enumerate(s):
        others = [j for j in range(len(s)) if j != i]
        total = sum(math.exp(row[j]) for j in others)
        friends = [j for j in others if labels[j] == labels[i]]
        if friends:
            anchors.append(-sum(row[p] - math.log(total) for p in friends) / len(friends))
    return sum(anchors) / len(anchors)


def slow_queue_nce(q, k, queue, temperature):
    """The formula of `losses.info_nce_queue`, one similarity at a time."""
    q, k, queue = q.tolist(), k.tolist(), queue.tolist()
    total = 0.0
    for i in range(len(q)):
        own = math.exp(cosine(q[i], k[i]) / temperature)
        others = sum(math.exp(cosine(q[i], entry) / temperature) for entry in queue)
        total -= math.log(own / (own + others))
    return total / len(q)


def slow_negative_cosine(p, z):
    """The formula of `losses.negative_cosine`, one pair at a time."""
    return -sum(cosine(a, b) for a, b in zip(p.tolist(), z.tolist(), strict=True)) / len(p)


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
        parts.train.subset(torch.arange(320)),
        parts.holdout.subset(torch.arange(40)),
        parts.test.subset(torch.arange(40)),
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
