"""SimSiam: two views predict each other. No negatives, no twin, no queue; what keeps it from collapsing is a stop-gradient.

    x1 -> backbone -> projector -> z1 -> predictor -> p1 ---- p1 is drawn towards z2,
                (the same networks)                           p2 is drawn towards z1,
    x2 -> backbone -> projector -> z2 -> predictor -> p2      and z1, z2 hold still: stop-gradient

    L = 1/2 D(p1, sg z2) + 1/2 D(p2, sg z1),     D(p, z) = -s(p, z)         Chen & He 2021 (arXiv 2011.10566), equations 1-4

One constant embedding for all pictures would be the best possible answer, L = -1. Without the stop-gradient training runs
straight into it, and without the predictor too (section 4.1, 4.2): `collapse.feature_std` falls from about 1 to 0.

The projector has BatchNorm after every layer, the last one without scale and shift (release), so that the target of each
coordinate is standardised over the batch. How many layers there are is the recipe's `projector`: three in the release and in
`standard`, two in the paper's CIFAR experiments and in `quick`. The release makes hidden layers as wide as the features,
which are 512 behind a ResNet-18; in `standard` they have 2048. The release keeps the predictor's rate constant:
`predictor_lr="constant"`, as in `standard`; in runs of minutes a falling one did better (measured).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import Tensor

from ..losses import negative_cosine
from ..models.encoder import EncoderConfig
from ..models.heads import predictor, projector
from ..views.named_views import TOY_VIEW
from ..views.view import View
from .base import Method, Outputs, Slot
from .knobs import PredictorKnobs, ProjectorKnobs


@dataclass(frozen=True)
class SimSiamConfig(PredictorKnobs, ProjectorKnobs):
    """The settings of SimSiam."""

    name = "simsiam"


class SimSiam(Method):
    """SimSiam as a recipe says: backbone, projector, predictor, one set of weights. `num_classes` is not used."""

    Config = SimSiamConfig
    title, loss_name = "SimSiam", "cosine"
    presets = {
        "quick": {
            "": {"projector": (256, 256), "batch_size": 128, "muon_lr": 0.05},
            # Without negatives, strong crops and inverted views leave too little in common to begin with (measured)
            "toybox": {"view": dataclasses.replace(TOY_VIEW, scale=(0.6, 1.0), invert_p=0.0)},
        },
        "standard": {"": {"projector": (2048, 2048, 2048), "predictor_hidden": 512, "predictor_lr": "constant"}},
    }
    supports_distributed = True

    def __init__(self, config: SimSiamConfig, encoder: EncoderConfig, view: View, num_classes: int):
        super().__init__(config, encoder, view, num_classes)
        self.backbone = encoder.build()
        self.projector = projector((self.backbone.dim, *config.projector), last_affine=False)
        self.predictor = predictor(config.projector[-1], config.predictor_hidden)
        self.slots = (Slot(), Slot())

    def target(self, z: Tensor) -> Tensor:
        """What the other view's prediction is compared with: z itself, with the gradient stopped."""
        return z.detach()

    def forward(self, views: list[Tensor], labels: Tensor | None = None) -> Outputs:
        z1, z2 = (self.projector(self.backbone(x)) for x in views)  # (N, 3, S, S) -> (N, D) each
        p1, p2 = self.predictor(z1), self.predictor(z2)
        loss = (negative_cosine(p1, self.target(z2)) + negative_cosine(p2, self.target(z1))) / 2
        return {"loss": loss, "z1": z1, "z2": z2, "p1": p1, "p2": p2}
