"""SimCLR: two views of a picture are each other's positive, all other pictures of the batch are negatives.

    x1 -> backbone -> projector -> z1 --.
                (the same network)       NT-Xent
    x2 -> backbone -> projector -> z2 --'

    L = NTX(z1, z2)                                  Chen et al. 2020, equation 1; `losses.nt_xent`

The simplest contrastive method, and a strong one once its temperature is right (0.1 to 0.5; the release of MNCLGLF ran it at
1, which makes the loss nearly flat).

With n `local_views`, x3, x4, ... are small and meet both whole views, never each other (`multicrop`; in SimCLR: ours):

    L = 1/(1 + n) [ NTX(z1, z2) + sum_{v >= 3} (NTX(z1, z_v) + NTX(z2, z_v)) / 2 ]

which is SwAV's mean over whole views g and other views v != g: there the symmetric NTX(z1, z2) is simply written twice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..core.distributed import all_gather_rows
from ..losses import nt_xent
from ..models.heads import projector
from ..models.resnet import ResNet
from ..recipe.recipe import Recipe
from .base import Method, Outputs
from .multicrop import forward_together


class SimCLR(Method):
    """SimCLR as a recipe says: backbone, projector, NT-Xent, small views. `classes` is not used."""

    gathers = True

    def __init__(self, recipe: Recipe, classes: int):
        super().__init__()
        self.backbone = ResNet(recipe.width, recipe.blocks, recipe.stem)
        self.projector = projector((self.backbone.dim, *recipe.projector), recipe.projector_last_norm)
        self.views = (recipe.view,) * 2 + (recipe.local_view,) * recipe.local_views
        self.temperature = recipe.temperature

    def embed(self, x: Tensor) -> Tensor:
        return self.projector(self.backbone(x))  # (N, 3, S, S) -> (N, D)

    def forward(self, views: list[Tensor], labels: Tensor | None = None) -> Outputs:
        z1, z2, *small = map(
            all_gather_rows, (self.embed(views[0]), self.embed(views[1]), *forward_together(self.embed, views[2:]))
        )
        meetings = [self.loss(z1, z2)] + [(self.loss(z1, z) + self.loss(z2, z)) / 2 for z in small]
        named = {f"z{v}": z for v, z in enumerate((z1, z2, *small), start=1)}
        return {"loss": torch.stack(meetings).mean(), **named}

    def loss(self, a: Tensor, b: Tensor) -> Tensor:
        return nt_xent(a, b, self.temperature)
