"""One file a method. `build(recipe, classes)` is a dictionary look-up; `add` puts a method of your own in."""

from __future__ import annotations

import torch

from ..core.errors import InputError, unknown
from ..recipe.recipe import METHODS, VARIANTS, Recipe
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

CLASSES: dict[str, type[Method]] = {
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
    "register_method",
    "build_method",
]


def build_method(recipe: Recipe, classes: int) -> Method:
    """The recipe's method with freshly drawn weights: the same seed always draws the same ones.

    `classes` is the number of labels, which the supervised reference and MCL's labelled form use. The global random
    state is left as it was.
    """
    if recipe.method not in CLASSES:
        raise unknown("method", recipe.method, CLASSES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return CLASSES[recipe.method](recipe, classes)


def register_method(name: str, method: type[Method]) -> None:
    """Make a method of your own known under a name, until this process ends: recipes, training and comparing then take it.

    A run of it can be loaded or gone on with once it has been added again. The same name may be added anew (a notebook's
    cell is run often); the package's own names are taken.
    """
    if name in VARIANTS or (name in CLASSES and CLASSES[name].__module__.startswith(__package__)):
        raise InputError(f"{name!r} is a name of the package; give your method another one")
    CLASSES[name] = method
    if name not in METHODS:
        METHODS.append(name)
