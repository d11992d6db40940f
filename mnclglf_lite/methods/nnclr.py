"""NNCLR: contrast with a friend. The positive is not the other view of the picture but its nearest neighbour in a queue.

    x1 -> backbone -> projector -> z1 -> predictor -> p1     z1 -> nearest of the queue -> n1 -- stop
                (the same networks)
    x2 -> backbone -> projector -> z2 -> predictor -> p2     z2 -> nearest of the queue -> n2 -- stop

    l(n, p) = -(1/N) sum_i log [ exp(s(n_i, p_i) / T) / sum_k exp(s(n_i, p_k) / T) ]       `losses.info_nce`, n as anchor
    L = 1/2 [ l(n1, p2) + l(n2, p1) ]                    Dwibedi et al. 2021 (arXiv 2104.14548), equation 3 with predictor

A neighbour differs from its picture by more than any crop or colour change, and is often of its class: the gauge `agreement`
says how often, from labels that ride along in the queue and that no loss reads. The queue serves positives only; negatives
are the predictions for the other pictures of the batch. z1 alone enters it (as in solo-learn), after both look-ups, so that
no picture finds itself.

More than one form is in use. This is the one-sided one of the paper's equation and of solo-learn: the neighbours are the
anchors, and each chooses among N predictions. lightly has `losses.nt_xent` in its place (both sides are anchors, and the
similarities of a side with itself are negatives too, 2N - 2 in all), and so has MNCLGLF, which adds a momentum network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..losses import info_nce
from ..models.encoder import EncoderConfig
from ..models.heads import predictor, projector
from ..models.memory_queue import Queue
from ..views.view import View
from .base import Method, Outputs, Slot
from .knobs import PredictorKnobs, ProjectorNormKnobs, SwapKnobs, TemperatureKnobs


@dataclass(frozen=True)
class NNCLRConfig(SwapKnobs, PredictorKnobs, ProjectorNormKnobs, TemperatureKnobs):
    """The settings of NNCLR."""

    name = "nnclr"


class NNCLR(Method):
    """NNCLR as a recipe says: backbone, projector, predictor, queue of positives. `num_classes` is not used."""

    Config = NNCLRConfig
    title, loss_name = "NNCLR", "InfoNCE"
    presets = {
        "quick": {
            # At first few neighbours are of the right class: they begin to be the targets at half of the run (measured)
            "": {"temperature": 0.15, "batch_size": 128, "queue": 2048, "swap_from": 0.5, "muon_lr": 0.05},
            "toybox": {"temperature": 0.3, "batch_size": 64, "muon_lr": 0.1},
        },
        "standard": {"": {"projector": (2048, 2048, 256), "predictor_hidden": 4096}},
    }
    supports_distributed = True

    def __init__(self, config: NNCLRConfig, encoder: EncoderConfig, view: View, num_classes: int):
        super().__init__(config, encoder, view, num_classes)
        self.backbone = encoder.build()
        self.projector = projector((self.backbone.dim, *config.projector), config.projector_last_norm)
        self.predictor = predictor(config.projector[-1], config.predictor_hidden)
        self.queue = Queue(config.queue, config.projector[-1])
        self.slots = (Slot(), Slot())
        self.temperature = config.temperature

    def forward(self, views: list[Tensor], labels: Tensor | None = None) -> Outputs:
        z1, z2 = (self.projector(self.backbone(x)) for x in views)  # (N, 3, S, S) -> (N, D) each
        p1, p2 = self.predictor(z1), self.predictor(z2)
        begun = self.progress >= self.config.swap_from
        (n1, label1), (n2, label2) = self.queue.nearest(z1, begun), self.queue.nearest(z2, begun)  # without gradient
        loss = (info_nce(n1, p2, self.temperature) + info_nce(n2, p1, self.temperature)) / 2
        outputs = {"loss": loss, "z1": z1, "z2": z2, "p1": p1, "p2": p2, "n1": n1, "n2": n2}
        if labels is not None:  # a gauge, never a loss: how often is the neighbour of the picture's own class?
            agree = torch.cat([label1 == labels, label2 == labels])
            outputs |= {"agreement": agree.float().mean(), "labels": labels}
        return outputs

    @torch.no_grad()
    def after_step(self, outputs: Outputs) -> None:
        self.queue.push(outputs["z1"], outputs.get("labels"))
