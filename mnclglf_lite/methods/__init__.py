"""One file a method. `build(recipe, classes)` is a dictionary look-up."""

from __future__ import annotations

import torch

from ..errors import unknown
from ..recipe import METHODS, Recipe
from .base import Method, Outputs
from .byol import BYOL
from .cgh import CGH
from .fastmoco import FastMoCo
from .glnet import GLNet
from .mcl import MCL
from .mnclglf import MNCLGLF
from .moco import MoCo
from .nnclr import NNCLR
from .simclr import SimCLR
from .simsiam import SimSiam
from .supervised import Supervised

CLASSES = {
    "supervised": Supervised,
    "simclr": SimCLR,
    "moco": MoCo,
    "simsiam": SimSiam,
    "byol": BYOL,
    "nnclr": NNCLR,
    "fastmoco": FastMoCo,
    "mnclglf": MNCLGLF,
    "mcl": MCL,
    "cgh": CGH,
    "glnet": GLNet,
}
assert set(CLASSES) == set(METHODS)  # `recipe` names them without importing them

__all__ = [
    "BYOL",
    "CGH",
    "CLASSES",
    "FastMoCo",
    "GLNet",
    "MCL",
    "MNCLGLF",
    "Method",
    "MoCo",
    "NNCLR",
    "Outputs",
    "SimCLR",
    "SimSiam",
    "Supervised",
    "build",
]


def build(recipe: Recipe, classes: int) -> Method:
    """The recipe's method with freshly drawn weights: the same seed always draws the same ones.

    `classes` is the number of labels, which only the supervised reference uses. The global random state is left as it was.
    """
    if recipe.method not in CLASSES:
        raise unknown("method", recipe.method, CLASSES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return CLASSES[recipe.method](recipe, classes)
