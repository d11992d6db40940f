"""Supervised: the same backbone, views and schedule, taught with the labels. The line to measure the others against.

x -> backbone -> linear -> class logits          L = cross-entropy(logits, label)
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import InputError
from ..losses import at_least_float32
from ..models.encoder import EncoderConfig
from ..views.named_views import PLAIN_VIEW
from ..views.view import View
from .base import Method, Outputs, Slot
from .knobs import MethodConfig


@dataclass(frozen=True)
class SupervisedConfig(MethodConfig):
    """The settings of the supervised reference."""

    name = "supervised"


class Supervised(Method):
    """The reference with labels, as a recipe says: backbone and a linear classifier of `num_classes` outputs."""

    Config = SupervisedConfig
    title, loss_name = "supervised (with labels)", "cross-entropy"
    presets = {
        "quick": {
            "": {"batch_size": 256, "view": View(size=24, scale=(0.4, 1.0), gray_p=0.1, blur_p=0.0)},
            "toybox": {"batch_size": 128, "muon_lr": 0.05},
        },
        "standard": {
            "": {"lr": 0.1, "view": PLAIN_VIEW},
            "tinyimagenet": {"view": dataclasses.replace(PLAIN_VIEW, size=64)},
        },
    }
    supports_distributed = True

    def __init__(self, config: SupervisedConfig, encoder: EncoderConfig, view: View, num_classes: int):
        super().__init__(config, encoder, view, num_classes)
        self.backbone = encoder.build()
        self.classifier = nn.Linear(self.backbone.dim, num_classes)
        self.slots = (Slot(),)

    @classmethod
    def uses_labels(cls, config: MethodConfig) -> bool:
        return True

    def forward(self, views: list[Tensor], labels: Tensor | None = None) -> Outputs:
        if labels is None:
            raise InputError("the supervised reference needs labels, and got none; pass the image set's labels")
        logits = self.classifier(self.backbone(views[0]))  # (N, 3, S, S) -> (N, classes)
        return {
            "loss": F.cross_entropy(at_least_float32(logits), labels),
            "accuracy": (logits.argmax(1) == labels).float().mean(),
            "logits": logits,
        }
