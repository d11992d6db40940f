"""SimCLR: two views of a picture are each other's positive, all other pictures of the batch are negatives.

    x1 -> backbone -> projector -> z1 --.
                (the same network)       NT-Xent
    x2 -> backbone -> projector -> z2 --'

    L = NTX(z1, z2)                                  Chen et al. 2020, equation 1; `losses.nt_xent`

The simplest contrastive method, and a strong one once its temperature is right (0.1 to 0.5; the release of MNCLGLF ran it at
1, which makes the loss nearly flat).

With n `small_views`, x3, x4, ... are small and meet both whole views, never each other (`multicrop`; in SimCLR: ours):

    L = 1/(1 + n) [ NTX(z1, z2) + sum_{v >= 3} (NTX(z1, z_v) + NTX(z2, z_v)) / 2 ]

which is SwAV's mean over whole views g and other views v != g: there the symmetric NTX(z1, z2) is simply written twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..losses import nt_xent
from ..models.encoder import EncoderConfig
from ..models.heads import projector
from ..views.view import View
from .base import Method, Outputs, Slot
from .knobs import ProjectorNormKnobs, SmallViewKnobs, TemperatureKnobs
from .multicrop import forward_together


@dataclass(frozen=True)
class SimCLRConfig(SmallViewKnobs, ProjectorNormKnobs, TemperatureKnobs):
    """The settings of SimCLR."""

    name = "simclr"


class SimCLR(Method):
    """SimCLR as a recipe says: backbone, projector, NT-Xent, small views. `num_classes` is not used."""

    Config = SimCLRConfig
    title, loss_name = "SimCLR", "NT-Xent"
    presets = {
        "quick": {
            "": {"temperature": 0.15, "projector": (512, 128)},
            "toybox": {"projector": (256, 128), "batch_size": 128},
        },
        "standard": {"": {"projector": (512, 128), "projector_last_norm": False}},
    }
    supports_distributed = True

    def __init__(self, config: SimCLRConfig, encoder: EncoderConfig, view: View, num_classes: int):
        super().__init__(config, encoder, view, num_classes)
        self.backbone = encoder.build()
        self.projector = projector((self.backbone.dim, *config.projector), config.projector_last_norm)
        self.slots = (Slot(), Slot()) + (Slot("small", config.small_view),) * config.small_views
        self.temperature = config.temperature

    def embed(self, x: Tensor) -> Tensor:
        return self.projector(self.backbone(x))  # (N, 3, S, S) -> (N, D)

    def forward(self, views: list[Tensor], labels: Tensor | None = None) -> Outputs:
        z1, z2, *small = self.embed(views[0]), self.embed(views[1]), *forward_together(self.embed, views[2:])
        meetings = [self.loss(z1, z2)] + [(self.loss(z1, z) + self.loss(z2, z)) / 2 for z in small]
        named = {f"z{v}": z for v, z in enumerate((z1, z2, *small), start=1)}
        return {"loss": torch.stack(meetings).mean(), **named}

    def loss(self, a: Tensor, b: Tensor) -> Tensor:
        return nt_xent(a, b, self.temperature)
