"""Fast-MoCo: many cheap questions about a view. Pairs of its patches must predict what the twin says of the other view.

    x1 -> divide 2x2 -> backbone -> combine pairs -> projector -> z_j(x1) -> predictor -> p_j(x1)
                                                                                             InfoNCE
    x2 -> momentum backbone -> momentum projector -> m(x2) --- stop -----------------------------'
    for j = 1 ... 6, and once more with x1 and x2 exchanged

    L = (1/12) sum_j [ l(p_j(x1), sg m(x2)) + l(p_j(x2), sg m(x1)) ]              l: `losses.info_nce`, p as anchor

(Ci et al. 2022, arXiv 2207.08220; released code orashi/Fast-MoCo.) Four patches cost as much to encode as the view they were
cut from, and give six positive pairs where MoCo has one: hence *fast*. Negatives are the other pictures of the batch; there
is no queue, despite the name. MNCLGLF comes from this code and turns it round: its combined patches are the *targets*, and
whole views are what its predictor is given.

Read in the released code: views, networks, the mean of two pooled features before the projector, loss, temperature 1,
moving average 0.99 of parameters only, a twin with its own random start. The online backbone never sees a whole view in
training, so its BatchNorm running statistics, which evaluation uses, are those of patches (release). The release moves the
twin before it computes the targets and this file at the end of the step before, and once when it is built: the same.

`as_released` has the release's temperature, rate, batch, clipped gradients and scales of the heads' BatchNorms (drawn from 0
to 1); but a ResNet-18, where the release trains a ResNet-50 on ImageNet for 100, 200 or 400 epochs, and a first epoch in
which the rate rises from 0, where the release starts at a quarter. `quick` and `standard` have the customary temperatures
0.1 and 0.2, no limit on gradients, and scales that start at 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..losses import info_nce
from ..models.encoder import EncoderConfig
from ..models.freeze import freeze
from ..models.heads import predictor, projector
from ..models.momentum import update_ema
from ..views.patches import average_combinations, grid_patches
from ..views.view import View
from .base import Method, Outputs, Slot
from .knobs import EmaKnobs, GridKnobs, HeadStartKnobs, PredictorKnobs, ProjectorNormKnobs, TemperatureKnobs


@dataclass(frozen=True)
class FastMoCoConfig(GridKnobs, EmaKnobs, HeadStartKnobs, PredictorKnobs, ProjectorNormKnobs, TemperatureKnobs):
    """The settings of Fast-MoCo."""

    name = "fastmoco"


class FastMoCo(Method):
    """Fast-MoCo as a recipe says: `grid` and `combine` make the patches' combinations. `num_classes` is not used."""

    Config = FastMoCoConfig
    title, loss_name = "Fast-MoCo", "InfoNCE"
    presets = {
        "quick": {"": {"temperature": 0.2, "batch_size": 128, "ema": 0.9}, "toybox": {"temperature": 0.3, "batch_size": 64}},
        "standard": {"": {"projector": (2048, 2048, 2048), "predictor_hidden": 512}},
        # a rate of 0.1 for batches of 512, after an epoch of warm-up
        "as_released": {"": {"batch_size": 512, "lr": 0.05, "warmup": 1 / 200}},
    }
    supports_distributed = True

    def __init__(self, config: FastMoCoConfig, encoder: EncoderConfig, view: View, num_classes: int):
        super().__init__(config, encoder, view, num_classes)
        self.backbone, self.projector = self._encoder(config, encoder)
        self.predictor = predictor(config.projector[-1], config.predictor_hidden, config.head_norm_start)
        self.momentum_backbone, self.momentum_projector = map(freeze, self._encoder(config, encoder))  # not a copy: release
        self.slots = (Slot(), Slot())
        self.follow()  # the first step's, which comes before its targets: release

    @staticmethod
    def _encoder(config: FastMoCoConfig, encoder: EncoderConfig) -> tuple[nn.Module, nn.Module]:
        backbone = encoder.build()
        widths = (backbone.dim, *config.projector)
        return backbone, projector(widths, config.projector_last_norm, norm_start=config.head_norm_start)

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The online branch: whole views (N, 3, S, S) -> projections z and predictions p of all combinations, (C, N, D)."""
        patches = grid_patches(x, self.config.grid)  # (N, 3, S, S) -> (P, N, 3, s, s)
        features = self.backbone(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])  # -> (P, N, dim)
        pairs = average_combinations(features, self.config.combine)  # (P, N, dim) -> (C, N, dim)
        z = self.projector(pairs.flatten(0, 1))  # (C*N, D): one batch, and BatchNorm over all of it (release)
        p = self.predictor(z).unflatten(0, pairs.shape[:2])
        return z.unflatten(0, pairs.shape[:2]), p

    @torch.no_grad()
    def target(self, x: Tensor) -> Tensor:
        """The twin's branch: whole views (N, 3, S, S) -> m (N, D)."""
        return self.momentum_projector(self.momentum_backbone(x))

    def forward(self, views: list[Tensor], labels: Tensor | None = None) -> Outputs:
        x1, x2 = views
        (z1, p1), (z2, p2) = self.embed(x1), self.embed(x2)
        m1, m2 = self.target(x1), self.target(x2)
        pairs = [info_nce(p, m2, self.config.temperature) for p in p1]
        pairs += [info_nce(p, m1, self.config.temperature) for p in p2]
        return {"loss": torch.stack(pairs).mean(), "z1": z1, "z2": z2, "p1": p1, "p2": p2, "m1": m1, "m2": m2}

    def follow(self) -> None:
        """Move the momentum network towards the online one."""
        update_ema(self.momentum_backbone, self.backbone, self.config.ema)
        update_ema(self.momentum_projector, self.projector, self.config.ema)

    @torch.no_grad()
    def after_step(self, outputs: Outputs) -> None:
        self.follow()
