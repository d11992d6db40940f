"""One file a method. `build(recipe, classes)` is a dictionary look-up."""

from __future__ import annotations

import torch

from ..errors import unknown
from ..recipe import METHODS, Recipe
from .base import Method, Outputs
from .mnclglf import MNCLGLF
from .simclr import SimCLR
from .supervised import Supervised

CLASSES = {"mnclglf": MNCLGLF, "simclr": SimCLR, "supervised": Supervised}
assert set(CLASSES) == set(METHODS)  # `recipe` names them without importing them

__all__ = ["CLASSES", "MNCLGLF", "Method", "Outputs", "SimCLR", "Supervised", "build"]


def build(recipe: Recipe, classes: int) -> Method:
    """The recipe's method with freshly drawn weights: the same seed always draws the same ones.

    `classes` is the number of labels, which only the supervised reference uses. The global random state is left as it was.
    """
    if recipe.method not in CLASSES:
        raise unknown("method", recipe.method, CLASSES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return CLASSES[recipe.method](recipe, classes)
