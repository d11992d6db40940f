"""Supervised: the same backbone, views and schedule, taught with the labels. The line to measure the others against.

x -> backbone -> linear -> class logits          L = cross-entropy(logits, label)
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..core.distributed import all_gather_rows
from ..core.errors import InputError
from ..models.resnet import ResNet
from ..recipe.recipe import Recipe
from .base import Method, Outputs


class Supervised(Method):
    """The reference with labels, as a recipe says: backbone and a linear classifier of `classes` outputs."""

    gathers = True

    def __init__(self, recipe: Recipe, classes: int):
        super().__init__()
        self.backbone = ResNet(recipe.width, recipe.blocks, recipe.stem)
        self.classifier = nn.Linear(self.backbone.dim, classes)
        self.views = (recipe.view,)

    def forward(self, views: list[Tensor], labels: Tensor | None = None) -> Outputs:
        if labels is None:
            raise InputError("the supervised reference needs labels, and got none; pass the image set's labels")
        logits = all_gather_rows(self.classifier(self.backbone(views[0])))  # (N, 3, S, S) -> (N, classes)
        return {
            "loss": F.cross_entropy(logits.float(), labels),
            "accuracy": (logits.argmax(1) == labels).float().mean(),
            "logits": logits,
        }
