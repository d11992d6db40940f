"""BYOL: the online network predicts what its own slow twin says of another view. No negatives.

    x1 -> backbone -> projector -> z1 -> predictor -> p1 ------------.
                                                                      2 - 2 cos
    x2 -> momentum backbone -> momentum projector -> m2 --- stop -----'     and with x1 and x2 exchanged

    l(p, m) = (1/N) sum_i | p_i / |p_i| - m_i / |m_i| |^2 = 2 - 2 (1/N) sum_i s(p_i, m_i)     Grill et al. 2020, equation 2
    L = l(p1, m2) + l(p2, m1)                                     a sum, 0 to 8                (arXiv 2006.07733)

    twin <- tau * twin + (1 - tau) * online,     tau from `ema` up to `ema_end` by half a cosine (section 3.3)

The twin starts as a copy and has no predictor; that asymmetry and its slowness keep the constant answer, L = 0, from being
reached. Raising tau lets the twin change fast while it knows little, and settle at the end; `ema_end=0` keeps tau.

The paper draws its two views differently (blur, solarisation); here both are drawn alike, as CIFAR recipes do. Those often
average the two terms, which is the same as half the learning rate and twice the weight decay here.

With n `small_views`, x3, x4, ... are small, predict what the twin says of x1 and of x2, and are never a target (`multicrop`;
in BYOL: ours):

    L = 2 * mean of l(p_v, m_g) over g = 1, 2 and all v != g
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from ..losses import negative_cosine
from ..models.encoder import EncoderConfig
from ..models.freeze import freeze
from ..models.heads import predictor, projector
from ..models.momentum import ema_schedule, update_ema
from ..views.view import View
from .base import Method, Outputs, Slot
from .knobs import EmaScheduleKnobs, PredictorKnobs, ProjectorNormKnobs, SmallViewKnobs
from .multicrop import cross_view_mean, forward_together


@dataclass(frozen=True)
class BYOLConfig(SmallViewKnobs, EmaScheduleKnobs, PredictorKnobs, ProjectorNormKnobs):
    """The settings of BYOL."""

    name = "byol"


class BYOL(Method):
    """BYOL as a recipe says: online network with predictor, twin that follows it, small views. `num_classes` is not used."""

    Config = BYOLConfig
    title, loss_name = "BYOL", "cosine"
    presets = {
        "quick": {
            "": {"projector_last_norm": False, "batch_size": 128, "ema": 0.95, "ema_end": 1.0},
            "toybox": {"batch_size": 64},
        },
        "standard": {"": {"projector": (1024, 256), "projector_last_norm": False, "predictor_hidden": 1024, "ema_end": 1.0}},
    }
    supports_distributed = True

    def __init__(self, config: BYOLConfig, encoder: EncoderConfig, view: View, num_classes: int):
        super().__init__(config, encoder, view, num_classes)
        self.backbone = encoder.build()
        self.projector = projector((self.backbone.dim, *config.projector), config.projector_last_norm)
        self.predictor = predictor(config.projector[-1], config.predictor_hidden)
        self.momentum_backbone = freeze(copy.deepcopy(self.backbone))
        self.momentum_projector = freeze(copy.deepcopy(self.projector))
        self.slots = (Slot(), Slot()) + (Slot("small", config.small_view),) * config.small_views

    def embed(self, x: Tensor) -> Tensor:
        return self.projector(self.backbone(x))  # (N, 3, S, S) -> (N, D)

    @torch.no_grad()
    def target(self, x: Tensor) -> Tensor:
        """The twin's branch, with BatchNorm statistics of its own: views (N, 3, S, S) -> m (N, D)."""
        return self.momentum_projector(self.momentum_backbone(x))

    def forward(self, views: list[Tensor], labels: Tensor | None = None) -> Outputs:
        x1, x2, *small = views
        z = (self.embed(x1), self.embed(x2), *forward_together(self.embed, small))
        p = (self.predictor(z[0]), self.predictor(z[1]), *forward_together(self.predictor, z[2:]))
        m = (self.target(x1), self.target(x2))
        loss = 2 * cross_view_mean(lambda target, guess: 2 + 2 * negative_cosine(guess, target), m, p)
        named = {f"{name}{v}": value for name, values in (("z", z), ("p", p), ("m", m)) for v, value in enumerate(values, 1)}
        return {"loss": loss, **named}

    def tau(self) -> float | Tensor:
        """The moving average's momentum at this moment of the run."""
        start, end = self.config.ema, self.config.ema_end
        return ema_schedule(start, end, self.progress) if end else start

    @torch.no_grad()
    def after_step(self, outputs: Outputs) -> None:
        update_ema(self.momentum_backbone, self.backbone, self.tau())
        update_ema(self.momentum_projector, self.projector, self.tau())
