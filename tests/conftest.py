"""Shared by all tests: the loops that play oracle, and a tiny recipe."""

import math
import os

os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

from mnclglf_lite import data
from mnclglf_lite.recipe import preset
from mnclglf_lite.views import View


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


def tiny(method="mnclglf", **changes):
    """A recipe that steps in milliseconds."""
    small = {"width": 8, "blocks": (1, 1), "projector": (16, 8), "predictor": 8, "queue": 32, "batch": 16}
    return preset("quick", method, "toybox", **{**small, "view": View(size=16, blur=0.0), "steps": 4, **changes})


@pytest.fixture(scope="session")
def toys():
    """A small toy box: 320 / 40 / 40 pictures of 16 x 16 pixels, so that a tiny network runs in no time."""
    parts = data.load("toybox", side=16)
    return data.Splits(
        parts.train.subset(torch.arange(320)),
        parts.holdout.subset(torch.arange(40)),
        parts.test.subset(torch.arange(40)),
    )
