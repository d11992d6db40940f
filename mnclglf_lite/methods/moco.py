"""MoCo v2: a slow twin writes keys into a long queue, and a query must find its own key among them.

    x1 -> backbone -> head -> q1 ----------------------.
                                                        InfoNCE: k2 is right, the K entries of Q wrong
    x2 -> momentum backbone -> momentum head -> k2 - stop -'
                                                 '---> queue Q, after the step

    l(q, k) = -(1/N) sum_i log [ e(q_i, k_i) / ( e(q_i, k_i) + sum_{j <= K} e(q_i, Q_j) ) ]     e(a, b) = exp(s(a, b) / T)
    L = l(q1, k2)                           one-way: He et al. 2020 (arXiv 1911.05722), equation 1
    L = 1/2 [ l(q1, k2) + l(q2, k1) ]       symmetric: the authors' CIFAR-10 notebook (which adds the two without the half)

The queue makes the number of negatives independent of the batch; the twin, a moving average of the online network (equation
2, copied from it at the start), makes keys of different steps comparable. Version 2 (Chen et al. 2020, arXiv 2003.04297)
brought the head of two layers with ReLU and no BatchNorm, more colour changes, and T = 0.2. (`quick` puts one BatchNorm
at the end, which runs of minutes need: see `heads.mlp`.)

In the symmetric form both look-ups see the same queue, and only then k1 and k2 enter it, in this order (the notebook's; a
batch thus fills 2N places). An enqueue between the two look-ups would offer the second query the first one's key of its own
picture as a wrong answer.

BatchNorm lets the pictures of a batch see each other, so query and key could be matched by their company: `bn_splits`
gives each part of the batch statistics of its own, as on as many graphics cards, and `shuffle_bn` has the keys computed in
another order and puts them back, so that query and key were in different company (`batchnorm`). With one group every picture
meets all others whatever the order, and the shuffle changes nothing but rounding.

The release moves the twin before it computes the keys and this file at the end of the step before: the same, since they
start equal. BatchNorm's running statistics are each network's own. Its residual blocks start at a BatchNorm scale of 1, ours
at 0 (`models.resnet`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.config import knob
from ..losses import info_nce_queue
from ..models.batchnorm import shuffle_batch, split_batchnorm
from ..models.encoder import EncoderConfig
from ..models.freeze import freeze
from ..models.heads import mlp
from ..models.memory_queue import Queue
from ..models.momentum import update_ema
from ..views.view import View
from .base import Method, Outputs, Slot
from .knobs import BatchNormKnobs, EmaKnobs, ProjectorNormKnobs, QueueKnobs, TemperatureKnobs


@dataclass(frozen=True)
class MoCoConfig(QueueKnobs, EmaKnobs, BatchNormKnobs, ProjectorNormKnobs, TemperatureKnobs):
    """The settings of MoCo v2."""

    name = "moco"
    symmetric: bool = knob(True, "each view is the query once", "ours; paper one-way")


class MoCo(Method):
    """MoCo v2 as a recipe says: one-way or symmetric, with groups and shuffle or without. `num_classes` is not used."""

    Config = MoCoConfig
    title, loss_name = "MoCo v2", "InfoNCE"
    presets = {
        # Small batches: in a run of minutes the number of steps counts for more than what each of them sees (measured). A
        # momentum encoder must be quick there: 0.99 remembers a hundred steps.
        "quick": {"": {"temperature": 0.1, "batch_size": 128, "ema": 0.95}, "toybox": {"temperature": 0.2, "ema": 0.9}},
        # Eight parts of the batch with BatchNorm statistics of their own: MoCo's authors' CIFAR-10 notebook.
        "standard": {"": {"projector": (512, 128), "projector_last_norm": False, "bn_splits": 8}},
    }
    variants = {"moco-oneway": {"symmetric": False}}
    supports_distributed = True

    def __init__(self, config: MoCoConfig, encoder: EncoderConfig, view: View, num_classes: int):
        super().__init__(config, encoder, view, num_classes)
        self.shuffles_batch = config.bn_splits > 1
        self.backbone = split_batchnorm(encoder.build(), config.bn_splits)
        head = mlp((self.backbone.dim, *config.projector), config.projector_last_norm)
        self.projector = split_batchnorm(head, config.bn_splits)
        self.momentum_backbone = freeze(copy.deepcopy(self.backbone))
        self.momentum_projector = freeze(copy.deepcopy(self.projector))
        self.queue = Queue(config.queue, config.projector[-1])
        self.slots = (Slot(), Slot())

    def queries(self, x: Tensor) -> Tensor:
        return self.projector(self.backbone(x))  # (N, 3, S, S) -> (N, D)

    @torch.no_grad()
    def keys(self, x: Tensor) -> Tensor:
        """The twin's branch, in a random order that is undone: views (N, 3, S, S) -> keys (N, D), row i of picture i."""
        if not self.config.shuffle_bn:
            return self.momentum_projector(self.momentum_backbone(x))
        mixed, undo = shuffle_batch(x, self.generator)
        return undo(self.momentum_projector(self.momentum_backbone(mixed)))

    def forward(self, views: list[Tensor], labels: Tensor | None = None) -> Outputs:
        x1, x2 = views
        q1, k2 = self.queries(x1), self.keys(x2)
        loss = info_nce_queue(q1, k2, self.queue.entries, self.config.temperature)
        if not self.config.symmetric:
            return {"loss": loss, "q1": q1, "k2": k2}
        q2, k1 = self.queries(x2), self.keys(x1)
        back = info_nce_queue(q2, k1, self.queue.entries, self.config.temperature)
        return {"loss": (loss + back) / 2, "q1": q1, "q2": q2, "k1": k1, "k2": k2}

    @torch.no_grad()
    def after_step(self, outputs: Outputs) -> None:
        update_ema(self.momentum_backbone, self.backbone, self.config.ema)
        update_ema(self.momentum_projector, self.projector, self.config.ema)
        for name in ("k1", "k2") if self.config.symmetric else ("k2",):
            self.queue.push(outputs[name])
