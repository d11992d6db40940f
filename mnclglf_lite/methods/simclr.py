"""SimCLR: two views of a picture are each other's positive, all other pictures of the batch are negatives.

    x1 -> backbone -> projector -> z1 --.
                (the same network)       NT-Xent
    x2 -> backbone -> projector -> z2 --'

    L = NTX(z1, z2)                                  Chen et al. 2020, equation 1; `losses.nt_xent`

The simplest contrastive method, and a strong one once its temperature is right (0.1 to 0.5; the release of MNCLGLF ran it at
1, which makes the loss nearly flat).
"""

from __future__ import annotations

from torch import Tensor

from ..backbone import ResNet
from ..heads import projector
from ..losses import nt_xent
from ..recipe import Recipe
from .base import Method, Outputs


class SimCLR(Method):
    """SimCLR as a recipe says: backbone, projector, NT-Xent. `classes` is not used."""

    def __init__(self, recipe: Recipe, classes: int):
        super().__init__()
        self.backbone = ResNet(recipe.width, recipe.blocks, recipe.stem)
        self.projector = projector((self.backbone.dim, *recipe.projector), recipe.projector_last_norm)
        self.views = (recipe.view, recipe.view)
        self.temperature = recipe.temperature

    def forward(self, views: list[Tensor], labels: Tensor | None = None) -> Outputs:
        z1, z2 = (self.projector(self.backbone(x)) for x in views)  # (N, 3, S, S) -> (N, D) each
        return {"loss": nt_xent(z1, z2, self.temperature), "z1": z1, "z2": z2}
