"""MNCLGLF: multi-network contrastive learning based on global and local features (Li, Long, Li 2023, arXiv 2306.15930).

A picture is seen three times. One network learns; the two others only say what it should have said:

    x1, x2, x3 -> online backbone -> projector -> predictor -> p1, p2, p3      learns by gradient
    x1, x2     -> divide 2x2 -> same backbone -> combine pairs -> same projector -> c(x1), c(x2)   no grad
    x1, x3     -> momentum backbone -> momentum projector -> m1, m3 -> nearest in queue -> n1, n3   no grad

    L_GL = (1/12) sum_j [ l(p1, c_j(x2)) + l(p2, c_j(x1)) ]       global meets local: 6 pairs of patches, InfoNCE
    L_GG = 1/2 NTX(n3, p1) + 1/2 NTX(n1, p3)                      global meets a neighbour of the other view
    L    = local_weight * L_GL + global_weight * L_GG             temperature 1 in both terms: release

The release shows three weightings, the first of them live, the others commented out, with b = 0.5 and a = 6:

    L_GL + 6 L_GG                 local_weight=1,   global_weight=6
    b L_GL + (1 - b) L_GG         local_weight=0.5, global_weight=0.5
    b L_GL + (1 - b) a L_GG       local_weight=0.5, global_weight=3          half the first: the same direction

Two methods bear this name. *As drawn* (`local_gradient=True`): the authors' figure stops gradients at c and n alone, so that
L_GL trains p. *As released* (`local_gradient=False`): the authors' code detaches p1 and p2 before L_GL, so that the local
term is a constant for the optimiser and the gradient of L is exactly that of global_weight * L_GG. Which of the two made
the published numbers is unknown.

Read in the released code: networks, views, losses, weights, temperature, queue (only m3 enters it, after both look-ups; the
batch is never among its own neighbours), moving average 0.99 of parameters only, a momentum network with its own random
start. Inferred: that the paper's text says the same. The release moves the twin before it computes the keys and this file at
the end of the step before, and once when it is built: the same. The release draws the scales of the heads' BatchNorms from 0
to 1 and has those of the backbone at 1; `as_released` does so too, the other presets start all of them at 1.

Ours, to ask what each network and each view is worth; `num_networks=2` and `small_views=0` are the method above:

    num_networks=1    no twin: m1, m3 are z1, z3 held constant, the queue holds z3 (after NNCLR, Dwibedi et al. 2021)
    num_networks=1+T  T twins i = 0..T-1, each with its own random start and queue; L_GG is the mean over them. So that they
                      do not all say the same, twin i has momentum 1 - (1 - momentum) / 2^i: half as fast as twin i-1
    small_views=n     n small views x4, x5, ... go the online way as well, to be further anchors of the global term:
                      L_GG = 1/(2 + 2n) [ NTX(n3, p1) + NTX(n1, p3) + sum_{v >= 4} (NTX(n1, p_v) + NTX(n3, p_v)) ]
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.config import knob
from ..losses import info_nce, nt_xent
from ..models.encoder import EncoderConfig
from ..models.freeze import freeze
from ..models.heads import predictor, projector
from ..models.memory_queue import Queue
from ..models.momentum import update_ema
from ..views.patches import average_combinations, grid_patches
from ..views.view import View
from .base import Method, Outputs, Slot
from .knobs import (
    EmaKnobs,
    GridKnobs,
    HeadStartKnobs,
    PredictorKnobs,
    ProjectorNormKnobs,
    SmallViewKnobs,
    SwapKnobs,
    TemperatureKnobs,
)
from .multicrop import cross_view_mean, forward_together


@dataclass(frozen=True)
class MNCLGLFConfig(
    GridKnobs, SmallViewKnobs, SwapKnobs, EmaKnobs, HeadStartKnobs, PredictorKnobs, ProjectorNormKnobs, TemperatureKnobs
):
    """The settings of MNCLGLF."""

    name = "mnclglf"
    num_networks: int = knob(2, "sets of weights: online and momentum networks", "release", low=1)
    local: str = knob("grid", "what the local targets see", "release", choices=("grid", "crops"))
    local_weight: float = knob(1.0, "weight of L_GL", "release", low=0)
    global_weight: float = knob(6.0, "weight of L_GG", "release", low=0)
    local_gradient: bool = knob(True, "True: as drawn, False: as released", "paper")
    neighbour_swap: bool = knob(True, "momentum embeddings swapped for their nearest neighbours in the queue", "paper")

    @property
    def cells(self) -> int:
        return self.grid if self.local == "grid" else 1

    def reads_small_view(self) -> bool:
        return self.small_views > 0 or self.local == "crops"


def slots_of(config: MNCLGLFConfig) -> tuple[Slot, ...]:
    """The views it wants: x1, x2, x3, then the small ones; then, with random local crops, those of x1 and of x2."""
    crops = config.grid**2 if config.local == "crops" else 0
    return (Slot(),) * 3 + (Slot("small", config.small_view),) * (config.small_views + 2 * crops)


def patches_of(views: list[Tensor], config: MNCLGLFConfig) -> tuple[Tensor, Tensor]:
    """The patches of x1 and of x2, (P, N, 3, s, s) each: a grid cut out of the view, or random local crops."""
    if config.local == "grid":
        return grid_patches(views[0], config.grid), grid_patches(views[1], config.grid)
    crops = views[3 + config.small_views :]
    first, second = torch.stack(crops).chunk(2)  # 2P x (N, 3, s, s) -> (P, N, 3, s, s) twice
    return first, second


class MNCLGLF(Method):
    """MNCLGLF as a recipe says, as drawn or as released (`local_gradient`). `num_classes` is not used."""

    Config = MNCLGLFConfig
    title, loss_name = "MNCLGLF as drawn", "InfoNCE + NT-Xent"
    presets = {
        "quick": {
            # At first few neighbours are of the right class: they begin to be the targets at half of the run (measured)
            "": {"temperature": 0.1, "batch_size": 128, "global_weight": 1.0, "ema": 0.9, "swap_from": 0.5},
            "toybox": {"temperature": 0.2, "batch_size": 64},
        },
        "standard": {"": {"projector": (2048, 2048, 2048), "predictor_hidden": 512, "queue": 16384}},
        "as_released": {"": {"queue": 16384, "local_gradient": False}},
    }
    variants = {"mnclglf-released": {"local_gradient": False}, "mnclglf-crops": {"local": "crops"}}
    supports_distributed = True

    def __init__(self, config: MNCLGLFConfig, encoder: EncoderConfig, view: View, num_classes: int):
        super().__init__(config, encoder, view, num_classes)
        self.backbone, self.projector = self._encoder(config, encoder)
        dim = config.projector[-1]
        self.predictor = predictor(dim, config.predictor_hidden, config.head_norm_start)
        # what the names of each momentum network end in: queue, then queue_2, ...
        self.endings = ["", *(f"_{i}" for i in range(2, config.num_networks))]
        for end in self.endings:
            # Drawn on its own, not copied: release. The difference is forgotten in a few hundred steps.
            backbone, head = map(freeze, self._encoder(config, encoder)) if config.num_networks > 1 else (None, None)
            self.add_module(f"momentum_backbone{end}", backbone)
            self.add_module(f"momentum_projector{end}", head)
            self.add_module(f"queue{end}", Queue(config.queue, dim))
        self.slots = slots_of(config)
        self.follow()  # the first step's, which comes before its keys: release

    @staticmethod
    def _encoder(config: MNCLGLFConfig, encoder: EncoderConfig) -> tuple[nn.Module, nn.Module]:
        backbone = encoder.build()
        widths = (backbone.dim, *config.projector)
        return backbone, projector(widths, config.projector_last_norm, norm_start=config.head_norm_start)

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The online branch: views (N, 3, S, S) -> projection z (N, D) and prediction p (N, D)."""
        z = self.projector(self.backbone(x))
        return z, self.predictor(z)

    @torch.no_grad()
    def local_targets(self, patches: Tensor) -> Tensor:
        """The stop-gradient branch: patches (P, N, 3, s, s) -> combined embeddings c (C, N, D).

        All P*N patches go through the backbone in one batch, with BatchNorm statistics of their own; so do the C*N pairs
        through the projector. Pairs are averaged after pooling and before the projector (release).
        """
        p, n = patches.shape[:2]
        features = self.backbone(patches.flatten(0, 1)).unflatten(0, (p, n))  # (P, N, 3, s, s) -> (P, N, dim)
        pairs = average_combinations(features, self.config.combine)  # (P, N, dim) -> (C, N, dim)
        return self.projector(pairs.flatten(0, 1)).unflatten(0, pairs.shape[:2])  # (C, N, D)

    def twin(self, end: str) -> tuple[nn.Module | None, nn.Module | None, Queue]:
        """Backbone and projector of one momentum network (None where there is no twin), and the queue of its keys."""
        return tuple(getattr(self, name + end) for name in ("momentum_backbone", "momentum_projector", "queue"))

    @torch.no_grad()
    def momentum_targets(self, x: Tensor, z: Tensor, end: str) -> tuple[Tensor, Tensor, Tensor]:
        """The momentum branch: views -> keys m (N, D), their nearest queue entries n (N, D), the neighbours' labels.

        Where there is no twin, the online network's own projection z (N, D) of these views is the key.
        """
        backbone, head, queue = self.twin(end)
        m = z.detach() if backbone is None else head(backbone(x))
        config = self.config
        nearest, labels = queue.nearest(m, self.progress >= config.swap_from)
        return m, nearest if config.neighbour_swap else m, labels

    def patches_of(self, views: list[Tensor]) -> tuple[Tensor, Tensor]:
        """See `patches_of` above."""
        return patches_of(views, self.config)

    def forward(self, views: list[Tensor], labels: Tensor | None = None) -> Outputs:
        config, temperature = self.config, self.config.temperature
        x1, x2, x3, *small = views[: 3 + config.small_views]
        z1, p1 = self.embed(x1)
        with torch.set_grad_enabled(config.local_gradient and torch.is_grad_enabled()):
            z2, p2 = self.embed(x2)  # used by the local term alone
        z3, p3 = self.embed(x3)
        z_small = forward_together(lambda x: self.projector(self.backbone(x)), small)
        p_small = forward_together(self.predictor, z_small)
        c1, c2 = (self.local_targets(patches) for patches in self.patches_of(views))

        a1, a2 = (p1, p2) if config.local_gradient else (p1.detach(), p2.detach())
        pairs = [info_nce(a1, c, temperature) for c in c2] + [info_nce(a2, c, temperature) for c in c1]
        loss_local = torch.stack(pairs).mean()
        terms, targets, found = [], {}, []
        for end in self.endings:
            m1, n1, label1 = self.momentum_targets(x1, z1, end)
            m3, n3, label3 = self.momentum_targets(x3, z3, end)
            terms.append(cross_view_mean(lambda n, p: nt_xent(n, p, temperature), (n1, n3), (p1, p3, *p_small)))
            targets |= {f"m1{end}": m1, f"m3{end}": m3, f"n1{end}": n1, f"n3{end}": n3}
            found += [label1, label3]
        loss_global = torch.stack(terms).mean()
        outputs = {
            "loss": config.local_weight * loss_local + config.global_weight * loss_global,
            "loss_local": loss_local,
            "loss_global": loss_global,
            **{f"z{v}": z for v, z in enumerate((z1, z2, z3, *z_small), start=1)},
            **{f"p{v}": p for v, p in enumerate((p1, p2, p3, *p_small), start=1)},
            **{"c1": c1, "c2": c2, **targets},
        }
        if labels is not None:  # a gauge, never a loss: how often is the neighbour of the picture's own class?
            agree = torch.stack(found) == labels  # (2 a twin, N)
            outputs |= {"agreement": agree.float().mean(), "labels": labels}
        return outputs

    def follow(self) -> None:
        """Move each momentum network towards the online one."""
        for i, end in enumerate(self.endings):
            backbone, head, _ = self.twin(end)
            if backbone is not None:
                momentum = 1 - (1 - self.config.ema) / 2**i  # ours: each half as fast as the one before
                update_ema(backbone, self.backbone, momentum)
                update_ema(head, self.projector, momentum)

    @torch.no_grad()
    def after_step(self, outputs: Outputs) -> None:
        self.follow()
        for end in self.endings:
            self.twin(end)[-1].push(outputs[f"m3{end}"], outputs.get("labels"))
