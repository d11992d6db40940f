"""MCL: mutual contrastive learning (Yang, An, Cai, Xu, AAAI 2022, arXiv 2104.12565).

M networks with different random starts learn together. Each is a MoCo of its own; beyond that, each looks for its picture
among the other networks' keys, and each tries to be as sure, and as unsure, as the others are:

    x -> backbone_m -> head_m -> q_m                        learns by gradient             m = 0 ... M - 1
    y -> twins of the two -> k_m -> queue Q_m               no gradient

    z_ab = [ s(q_a, k_b), s(q_a, Q_b[1]), ..., s(q_a, Q_b[K]) ] / T          network a's queries among network b's keys

    VCL = sum_m CE(z_mm, 0)              soft VCL = sum_{a != b} D(z_aa, z_bb)             D: `losses.distillation_kl`
    ICL = sum_{a != b} CE(z_ab, 0)       soft ICL = sum_{a != b} D(z_ab, z_ba)
    L   = VCL + ICL + soft VCL + soft ICL                   plain sums; `losses` says which of them are on

All networks see the same x and the same y, so slot j holds the same picture in every queue, which is what gives D a meaning
(the random entries of the start are unaligned until they have left). With one network VCL alone is left: one-way MoCo.

The supervised form (`with_labels`) has no twins and no queues; the networks meet inside the batch:

    x -> backbone_m -> classifier_m -> class logits         and         the same features -> head_m -> e_m

    S_ab = s(e_a, e_b) / T, (N, N), takes the place of z_ab, and `losses.supervised_contrastive` that of CE: the diagonal,
    a picture with itself, counts nowhere in VCL and ICL, between networks neither; the soft losses keep it
    L    = sum_m CE(logits_m, label) + 0.1 (VCL + ICL) + soft VCL + soft ICL

Both forms follow the released code; the papers were not read beyond their abstracts. The released head of the first form is
one linear layer, as in `standard`; a longer one is MoCo v2's, and ours in `quick`, which also ends it in a BatchNorm (see
`heads.mlp`). Released for ImageNet: T 0.07, queue 65,536, momentum 0.999, rate 0.03 with steps, residual blocks that start
at a BatchNorm scale of 1; here what CIFAR customarily has, and blocks start at 0 (`models.resnet`). The release moves the
twins before it computes the keys and this file at the end of the step before, which is the same, as they start as copies.

Released for labels: a head of two layers, batch 128, rate 0.1, Nesterov, 300 epochs; images padded by 4 pixels, cropped to
their size and mirrored, nothing else; two images of each class in a batch; and besides it a memory-bank form and a
distillation of class logits, which are not here. Ours has the views, the rate and the batch of the supervised reference
(`variant_presets`), so that both can be compared: in `standard` crops of 0.4 to 1 and mirrors, no change of colour. Batches
are drawn freely, so an image without a classmate is no anchor of VCL and ICL.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.config import knob
from ..core.distributed import all_gather_rows
from ..core.errors import InputError
from ..losses import at_least_float32, cosine_logits, distillation_kl, queue_logits, supervised_contrastive
from ..models.batchnorm import shuffle_batch, split_batchnorm
from ..models.encoder import EncoderConfig
from ..models.freeze import freeze
from ..models.heads import mlp
from ..models.memory_queue import Queue
from ..models.momentum import update_ema
from ..views.view import View
from .base import Method, Outputs, Slot
from .knobs import BatchNormKnobs, EmaKnobs, ProjectorNormKnobs, QueueKnobs, TemperatureKnobs
from .supervised import Supervised

LOSSES = ("vcl", "icl", "soft_vcl", "soft_icl")
LABELLED = {"vcl": 0.1, "icl": 0.1, "soft_vcl": 1.0, "soft_icl": 1.0}  # weights: alpha, beta, gamma, lambda of the release


def mutual_losses(z: list[list[Tensor]], hard: Callable[[Tensor], Tensor], temperature: float) -> dict[str, Tensor]:
    """The losses that M networks make of M x M logits z[a][b]; `hard` is the loss of one of them against the truth."""
    networks = range(len(z))
    pairs = list(itertools.permutations(networks, 2))  # (0, 1) and (1, 0): both directions
    losses = {"vcl": sum(hard(z[m][m]) for m in networks)}
    if pairs:
        losses["icl"] = sum(hard(z[a][b]) for a, b in pairs)
        losses["soft_vcl"] = sum(distillation_kl(z[a][a], z[b][b], temperature) for a, b in pairs)
        losses["soft_icl"] = sum(distillation_kl(z[a][b], z[b][a], temperature) for a, b in pairs)
    return losses


@dataclass(frozen=True)
class MCLConfig(QueueKnobs, EmaKnobs, BatchNormKnobs, ProjectorNormKnobs, TemperatureKnobs):
    """The settings of MCL."""

    name = "mcl"
    num_networks: int = knob(2, "networks that are taught together", "release", low=1)
    losses: tuple[str, ...] = knob(LOSSES, "losses that are on", "release", choices=LOSSES)
    soft_temperature: float = knob(3.0, "of the two soft losses, which its square multiplies", "release", above=0)
    with_labels: bool = knob(False, "the supervised form", "release")

    def check(self, recipe: Any) -> None:
        if self.with_labels:  # it has no queue
            return
        super().check(recipe)
        if not self.losses or (self.num_networks == 1 and "vcl" not in self.losses):
            raise InputError(
                f"losses={self.losses} leaves nothing to learn from; add 'vcl', or another loss and num_networks=2"
            )


class MCL(Method):
    """MCL as a recipe says: `num_networks` of them, of which network 0 is evaluated. `num_classes`: for the supervised form.

    All four losses are reported, also those that `losses` leaves out of the sum: how far apart are networks that never talk?
    """

    Config = MCLConfig
    title, loss_name = "MCL", "InfoNCE + KL"
    presets = {
        "quick": {"": {"temperature": 0.1, "batch_size": 128, "ema": 0.95}},
        "standard": {"": {"projector": (128,), "projector_last_norm": False, "temperature": 0.1, "bn_splits": 8}},
    }
    variants = {"mcl-one": {"num_networks": 1}, "mcl-labels": {"with_labels": True}}
    variant_presets = {"mcl-labels": Supervised.presets}  # views, rate and batch: networks and losses differ
    supports_distributed = True

    def __init__(self, config: MCLConfig, encoder: EncoderConfig, view: View, num_classes: int):
        super().__init__(config, encoder, view, num_classes)
        alone = config.num_networks == 1 and "vcl" not in config.losses
        self.shuffles_batch = config.bn_splits > 1 and not config.with_labels
        self.online = nn.ModuleList(
            self._network(config, encoder) for _ in range(config.num_networks)
        )  # each drawn on its own
        if config.with_labels:
            self.slots = (Slot(),)
            self.classifiers = nn.ModuleList(nn.Linear(self.backbone.dim, num_classes) for _ in self.online)
            if alone or not config.losses:  # no loss reaches the heads
                for _, head in self.online:
                    freeze(head)
        else:
            self.slots = (Slot(), Slot())
            self.twins = nn.ModuleList(freeze(copy.deepcopy(network)) for network in self.online)
            self.queues = nn.ModuleList(Queue(config.queue, config.projector[-1]) for _ in self.online)

    @staticmethod
    def _network(config: MCLConfig, encoder: EncoderConfig) -> nn.Sequential:
        backbone = encoder.build()
        head = mlp((backbone.dim, *config.projector), config.projector_last_norm)
        # The labelled form has no keys that could be told by their company: one group (release).
        return split_batchnorm(nn.Sequential(backbone, head), 1 if config.with_labels else config.bn_splits)

    @classmethod
    def uses_labels(cls, config: MCLConfig) -> bool:
        return config.with_labels

    @property
    def backbone(self) -> nn.Module:
        return self.online[0][0]

    @torch.no_grad()
    def keys(self, y: Tensor) -> list[Tensor]:
        """Views (N, 3, S, S) -> each twin's keys (N, D), computed in one shuffled order that all twins share (release).

        With `bn_splits` the shuffle puts query and key of a picture among different company; without, it changes nothing.
        """
        if not self.config.shuffle_bn:
            return [twin(y) for twin in self.twins]
        mixed, undo = shuffle_batch(y, self.generator)
        return [undo(twin(mixed)) for twin in self.twins]

    def forward(self, views: list[Tensor], labels: Tensor | None = None) -> Outputs:
        return self.with_labels(views[0], labels) if self.config.with_labels else self.without_labels(*views)

    def without_labels(self, x: Tensor, y: Tensor) -> Outputs:
        config = self.config
        q = [network(x) for network in self.online]  # (N, 3, S, S) -> M times (N, D)
        k = self.keys(y)  # (N, 3, S, S) -> M times (N, D)
        keys = list(zip(k, self.queues, strict=True))
        z = [[queue_logits(a, b, queue.entries, config.temperature) for b, queue in keys] for a in q]  # M x M of (N, 1 + K)
        first = torch.zeros(len(q[0]), dtype=torch.long, device=x.device)  # the right answer is always index 0
        losses = mutual_losses(z, lambda logits: F.cross_entropy(logits, first), config.soft_temperature)
        outputs = {"loss": sum(losses[name] for name in losses if name in config.losses)}
        outputs |= {f"loss_{name}": value for name, value in losses.items()}
        for m in range(config.num_networks):
            outputs |= {f"q{m}": q[m], f"k{m}": k[m]}
        return outputs

    def with_labels(self, x: Tensor, labels: Tensor | None) -> Outputs:
        if labels is None:
            raise InputError("MCL with_labels needs labels, and got none; pass the image set's labels")
        config = self.config
        features = [backbone(x) for backbone, _ in self.online]  # (N, 3, S, S) -> M times (N, dim)
        e = [head(h) for (_, head), h in zip(self.online, features, strict=True)]  # M times (N, D)
        guesses = [classifier(h) for classifier, h in zip(self.classifiers, features, strict=True)]  # (N, classes)
        guesses = [at_least_float32(guess) for guess in guesses]
        everyone = [all_gather_rows(b) for b in e]  # with many processes, own anchors meet the rows of all
        s = [[cosine_logits(a, b, config.temperature) for b in everyone] for a in e]  # M x M of (N, N)
        losses = mutual_losses(s, lambda logits: supervised_contrastive(logits, labels), config.soft_temperature)
        outputs = {"loss_labels": sum(F.cross_entropy(guess, labels) for guess in guesses)}
        outputs |= {f"loss_{name}": value for name, value in losses.items()}
        taught = sum(LABELLED[name] * losses[name] for name in losses if name in config.losses)
        outputs |= {"loss": outputs["loss_labels"] + taught, "accuracy": (guesses[0].argmax(1) == labels).float().mean()}
        for m in range(config.num_networks):
            outputs |= {f"e{m}": e[m], f"logits{m}": guesses[m]}
        return outputs

    @torch.no_grad()
    def after_step(self, outputs: Outputs) -> None:
        if self.config.with_labels:
            return
        for m, (twin, network, queue) in enumerate(zip(self.twins, self.online, self.queues, strict=True)):
            update_ema(twin, network, self.config.ema)
            queue.push(outputs[f"k{m}"])
