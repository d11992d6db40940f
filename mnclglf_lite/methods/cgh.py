"""CGH: cross-context learning between global and hypercolumn features (Gao, Feng, Patras, WACV 2024, arXiv 2308.13392).

A teacher tells the student which of many other pictures a picture resembles, and how much. Nobody is told which two views
belong together: what is learnt is a whole distribution over a queue. A picture is described in two contexts, the pooled
feature (g) and a hypercolumn (h), in which the last two stages stand on top of each other at every place:

    x -> backbone -> last map -> mean -> projector -> s_g                 student: learns by gradient
            `-> last two maps, the earlier one shrunk -> 1x1 conv -> mean -> hyper projector -> s_h
    y -> twins of all of these -> t_g -> queue Q_g                        teacher: no gradient, weak views
                               -> t_h -> queue Q_h

    p(v, Q, T) = softmax_k s(v, Q_k) / T                         K shares; no entry is the picture's own

    L_h = CE( p(t_g, Q_g, 0.04), p(s_h, Q_h, 0.08) )             the *other* context teaches: hence the name
    L_g = CE( p(t_h, Q_h, 0.08), p(s_g, Q_g, 0.10) )             CE(target, guess) = `losses.soft_cross_entropy`
    L   = (1 - a) [ NCE(s_g, t_g, Q_g) + NCE(s_h, t_h, Q_h) ] + a (L_g + L_h) / 2

NCE is MoCo's loss at temperature 0.2 (`losses.info_nce_queue`), and a rises from 0 to 1 over the first `ramp` of the run: at
the start the teacher knows nothing worth imitating. Both queues take the same batch at the same step, so slot k is one
picture in both, and a share of one queue can be compared with a share of the other. Two controls show what crossing is
worth:

    context="ressl"    no hypercolumn: L_g with target p(t_g, Q_g, 0.04). This is ReSSL (Zheng et al. 2021)
    context="same"     both contexts, each taught by itself: p(t_g) to s_g and p(t_h) to s_h

Read in the released code: all of the above, heads without BatchNorm, four temperatures, the old queue in every look-up. The
paper's text was not read. `quick` ends the heads in a BatchNorm (see `heads.mlp`). Released for a ResNet-50 on ImageNet:
heads 4096-512, queues of 131,072, momentum 0.999, residual blocks that start at a BatchNorm scale of 1; `standard` has what
CIFAR customarily has, and blocks start at 0 (`models.resnet`). Off in the release and absent here: centred targets,
multi-crop. Keeping the NCE start in the controls is ours. `perplexity` says how many entries a target spreads over: K would
be a teacher with no opinion.

`bn_splits` splits every BatchNorm, that of the hypercolumn too: so does the release on several cards, as its README runs it.
On one card its hypercolumn sees the whole batch. A part is then every G-th picture, here it is pictures that follow one
another; in shuffled batches that is as good.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.config import knob
from ..core.errors import InputError
from ..losses import cosine_logits, queue_logits, soft_cross_entropy
from ..models.batchnorm import shuffle_batch, split_batchnorm
from ..models.encoder import EncoderConfig
from ..models.freeze import freeze
from ..models.heads import mlp
from ..models.memory_queue import Queue
from ..models.momentum import update_ema
from ..views.named_views import PLAIN_VIEW, WEAK_VIEW
from ..views.view import View
from .base import Method, Outputs, Slot
from .knobs import BatchNormKnobs, EmaKnobs, ProjectorNormKnobs, QueueKnobs, TemperatureKnobs, check_side

NCE_TEMPERATURE = 0.2  # of the start (release)
TEACHER_OF = {
    "cross": {"global": "hyper", "hyper": "global"},
    "same": {"global": "global", "hyper": "hyper"},
    "ressl": {"global": "global"},
}


@dataclass(frozen=True)
class CGHConfig(QueueKnobs, EmaKnobs, BatchNormKnobs, ProjectorNormKnobs, TemperatureKnobs):
    """The settings of CGH."""

    name = "cgh"
    context: str = knob(
        "cross", "who teaches whom: cross is CGH, ressl and same its controls", "release; controls ours",
        choices=("cross", "same", "ressl"),
    )  # fmt: skip
    teacher_temperature: float = knob(0.04, "of the teacher's global distribution", "release", above=0)
    hyper_temperatures: tuple[float, ...] = knob(
        (0.08, 0.08), "hypercolumn: teacher's, student's", "release", above=0, count=2
    )  # fmt: skip
    ramp: float = knob(
        0.025, "share of the steps over which InfoNCE gives way", "release: 5 epochs of 200", low=0, below=1
    )  # fmt: skip
    teacher_view: View = knob(
        View(jitter_p=0.0, gray_p=0.0, blur_p=0.0), "the teacher's views", "release: crop and flip alone"
    )  # fmt: skip

    def check(self, recipe: Any) -> None:
        super().check(recipe)
        check_side("teacher_view", self.teacher_view, recipe.encoder.smallest_view)
        if len(recipe.encoder.blocks) < 2:
            raise InputError(
                f"a hypercolumn needs two stages; got blocks={recipe.encoder.blocks}, give at least two numbers"
            )


class Contexts(nn.Module):
    """Views in, one embedding for each context out: what the student is made of, and the teacher too."""

    def __init__(self, config: CGHConfig, encoder: EncoderConfig):
        super().__init__()
        self.backbone = encoder.build()
        dim = self.backbone.dim
        self.projector = mlp((dim, *config.projector), config.projector_last_norm)
        self.hyper = config.context != "ressl"
        if self.hyper:
            conv = nn.Conv2d(dim // 2 + dim, dim, 1, bias=False)  # the stage before the last has half its channels
            self.mix = nn.Sequential(conv, nn.BatchNorm2d(dim), nn.ReLU(inplace=True))
            self.hyper_projector = mlp((dim, *config.projector), config.projector_last_norm)

    def column(self, maps: dict[str, Tensor]) -> Tensor:
        """The last two maps as one: (N, dim / 2, 2h, 2w) and (N, dim, h, w) -> (N, 3 dim / 2, h, w)."""
        earlier, last = (maps[name] for name in self.backbone.stages[-2:])
        # Halving a side bilinearly, between pixel centres, is the mean of 2x2 places.
        earlier = F.interpolate(earlier, last.shape[-2:], mode="bilinear", align_corners=False)
        return torch.cat([earlier, last], dim=1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = self.backbone.maps(x)
        found = {"global": self.projector(maps["pooled"])}  # (N, dim) -> (N, D)
        if self.hyper:
            mixed = self.mix(self.column(maps)).mean(dim=(2, 3))  # (N, 3 dim / 2, h, w) -> (N, dim)
            found["hyper"] = self.hyper_projector(mixed)  # (N, dim) -> (N, D)
        return found


class CGH(Method):
    """CGH as a recipe says, or one of its controls (`context`). `num_classes` is not used."""

    Config = CGHConfig
    title, loss_name = "CGH", "soft cross-entropy"
    presets = {
        "quick": {
            "": {"temperature": 0.1, "batch_size": 128, "ema": 0.95, "ramp": 0.3, "teacher_view": WEAK_VIEW},
            "toybox": {"ema": 0.9, "teacher_view": PLAIN_VIEW, "muon_lr": 0.05},
        },
        "standard": {
            "": {"projector": (2048, 128), "projector_last_norm": False, "temperature": 0.1, "bn_splits": 8},
            "tinyimagenet": {"teacher_view": dataclasses.replace(CGHConfig.teacher_view, size=64)},
        },
    }
    variants = {"ressl": {"context": "ressl"}, "cgh-same": {"context": "same"}}
    supports_distributed = True

    def __init__(self, config: CGHConfig, encoder: EncoderConfig, view: View, num_classes: int):
        super().__init__(config, encoder, view, num_classes)
        self.shuffles_batch = config.bn_splits > 1
        self.student = split_batchnorm(Contexts(config, encoder), config.bn_splits)
        self.teacher = freeze(copy.deepcopy(self.student))
        self.teacher_of = TEACHER_OF[config.context]
        self.queues = nn.ModuleDict({name: Queue(config.queue, config.projector[-1]) for name in self.teacher_of})
        self.student_temperatures = {"global": config.temperature, "hyper": config.hyper_temperatures[1]}
        self.teacher_temperatures = {"global": config.teacher_temperature, "hyper": config.hyper_temperatures[0]}
        self.slots = (Slot(), Slot("teacher", config.teacher_view))

    @property
    def backbone(self) -> nn.Module:
        return self.student.backbone

    @torch.no_grad()
    def teach(self, y: Tensor) -> dict[str, Tensor]:
        """The teacher's embeddings, computed in shuffled order: with `bn_splits`, student and teacher see a picture in
        different company; without, the shuffle changes nothing."""
        if not self.config.shuffle_bn:
            return self.teacher(y)
        mixed, undo = shuffle_batch(y, self.generator)
        return {name: undo(t) for name, t in self.teacher(mixed).items()}

    def forward(self, views: list[Tensor], labels: Tensor | None = None) -> Outputs:
        x, y = views
        student, teacher = self.student(x), self.teach(y)
        first = torch.zeros(len(x), dtype=torch.long, device=x.device)  # NCE's right answer is index 0
        targets, guesses, nce, outputs = {}, {}, {}, {}
        for name, queue in self.queues.items():
            s, t = student[name], teacher[name]
            opinion = cosine_logits(t, queue.entries, self.teacher_temperatures[name])  # (N, K)
            targets[name] = opinion.softmax(dim=1)
            cosines = queue_logits(s, t, queue.entries, temperature=1.0)  # (N, 1 + K)
            guesses[name] = cosines[:, 1:] / self.student_temperatures[name]  # (N, K)
            nce[name] = F.cross_entropy(cosines / NCE_TEMPERATURE, first)
            outputs |= {f"s_{name}": s, f"t_{name}": t, f"target_{name}": targets[name]}
            outputs[f"perplexity_{name}"] = soft_cross_entropy(opinion, targets[name]).exp()
        soft = {name: soft_cross_entropy(guess, targets[self.teacher_of[name]]) for name, guess in guesses.items()}
        share = self.share()
        outputs |= {f"loss_{name}": value for name, value in soft.items()}
        outputs |= {"loss_nce": sum(nce.values()), "share": share}
        loss = (1 - share) * outputs["loss_nce"] + share * sum(soft.values()) / len(soft)
        return {"loss": loss, **outputs}

    def share(self) -> Tensor:
        """a of the formula: 0 at the first step, 1 from `ramp` of the run on."""
        if not self.config.ramp:
            return torch.ones_like(self.progress)
        return (self.progress / self.config.ramp).clamp(max=1.0)

    @torch.no_grad()
    def after_step(self, outputs: Outputs) -> None:
        update_ema(self.teacher, self.student, self.config.ema)
        for name, queue in self.queues.items():
            queue.push(outputs[f"t_{name}"])
