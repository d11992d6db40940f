"""GLNet: global contrast and local location (Zhao and others 2023, IEEE TCSVT, doi 10.1109/TCSVT.2022.3221611).

No picture is trained on as a whole. Four overlapping quadrants are cut out of each, twice, under two sets of augmentations;
all quadrants of a batch are shuffled and glued, four at a time, into montages (see `views.montage`):

    view 1: patches -> montages -> backbone -> split, unshuffle -> h1 -> projector -> z1 -> predictor -> p1
                                                                   `--> location head: which quadrant?
    view 2: the same                                               h2 -> projector -> z2 -> predictor -> p2
    both:   the same montages -> momentum backbone -> split, unshuffle -> momentum projector -> k1, k2
                                                                                            (no gradient)

    SC(a, b) = mean over the 8N vectors i of a and b:  -1/7 sum_{p in P(i)} [ s_ip / T - log sum_{j != i} exp(s_ij / T) ]
    L_global   = 1/2 SC(p1, k2) + 1/2 SC(p2, k1)                  P(i): the 7 others from i's picture
    L_location = cross-entropy(location head(h1), quadrant)
    L          = L_global + location_weight * L_location

The contrast says: whatever comes from one picture belongs together. The location says: and yet remember where it was.

The repository under this name (github.com/WilyZhao8/GLNet) holds no code, and only the abstract was read. Inferred,
strongly: that GLNet is the two-loss program in the ablation folder of the authors' next work (WilyZhao8/W2SSL), built on
MoCo v3. Read there: all of the above, T 0.3, momentum 0.99 rising to 1, solarisation 0.5 and 0.2. It multiplies each SC by
T / 0.07 = 4.286, adds the two and weighs L_location by 1; in the means above, that is location_weight = 1 / 8.57 = 0.117.

`flip_patches="after"` mirrors each patch after the cut, as read there: left and right cannot be told apart any more, and no
location head can be right more than half the time. "before" is our variant: one coin a picture mirrors the whole picture
before both cuts, so that all four places can be told. `framework="simclr"` stands for the abstract's claim that the method
suits other frames; how it was tried there is unknown. Here: no twin, no predictor, L_global = SC(z1, z2), gradient on both
sides.

Ours: SGD, not LARS; the recipe's blur for both views (read: 0.5 and 0.1); linear layers keep their biases, which a BatchNorm
makes idle in all but the predictor's last; residual blocks start at a BatchNorm scale of 0 (`models.resnet`; read: 1). The
plain backbone is evaluated, on whole pictures.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.config import knob
from ..core.distributed import all_gather_rows, local_rows, world_size
from ..losses import at_least_float32, two_sides
from ..models.encoder import EncoderConfig
from ..models.freeze import freeze
from ..models.heads import predictor, projector
from ..models.momentum import ema_schedule, update_ema
from ..views import montage
from ..views.view import View
from .base import Method, Outputs, Slot
from .knobs import EmaScheduleKnobs, PredictorKnobs, ProjectorNormKnobs, TemperatureKnobs

SOLARIZE = (0.5, 0.2)  # probability in view 1 and in view 2, whatever the recipe's view says (release)


def multi_positive_nt_xent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """SC of the formula above: the patches of N pictures, quadrant by quadrant, (4N, D) and (4N, D) -> scalar.

    It is `losses.supervised_contrastive` with the picture as class, at less cost: every class has eight members here, so
    an anchor's sum over P(i) is its product with the sum of its picture's vectors, less that with itself.
    """
    with torch.autocast(a.device.type, enabled=False):
        both, everyone, place = two_sides(a, b)  # (4n, D), (4n, D) -> (8n, D), (8N, D), (8n,)
        logits = (both @ everyone.T / temperature).scatter_(1, place[:, None], float("-inf"))  # (8n, 8N)
        picture = both.unflatten(0, (8, -1)).sum(dim=0).repeat(8, 1)  # (8n, D) -> (n, D) -> (8n, D)
        alike = ((both * picture).sum(dim=1) - 1) / (7 * temperature)  # (8n,)
        return (logits.logsumexp(dim=1) - alike).mean()


@dataclass(frozen=True)
class GLNetConfig(EmaScheduleKnobs, PredictorKnobs, ProjectorNormKnobs, TemperatureKnobs):
    """The settings of GLNet."""

    name = "glnet"
    flip_patches: str = knob("after", "mirrored after the cut, or before it", "release", choices=("after", "before"))
    same_order: bool = knob(True, "both views' montages shuffled alike", "release")
    location_weight: float = knob(
        0.117, "weight of the location loss", "release, as a share of the mean-form loss", low=0
    )  # fmt: skip
    framework: str = knob(
        "moco_v3", "what the montages train: momentum network and predictor, or SimCLR", "paper",
        choices=("moco_v3", "simclr"),
    )  # fmt: skip


class GLNet(Method):
    """GLNet as a recipe says, on MoCo v3's frame or on SimCLR's (`framework`). `num_classes` is not used."""

    Config = GLNetConfig
    title, loss_name = "GLNet", "NT-Xent + location"
    presets = {
        "quick": {"": {"temperature": 0.2, "batch_size": 128, "ema": 0.9}, "toybox": {"batch_size": 64, "muon_lr": 0.2}},
        "standard": {"": {"projector": (2048, 256), "predictor_hidden": 2048, "temperature": 0.3, "ema_end": 1.0}},
    }
    variants = {"glnet-before": {"flip_patches": "before"}}
    supports_distributed = True
    shuffles_batch = True

    def __init__(self, config: GLNetConfig, encoder: EncoderConfig, view: View, num_classes: int):
        super().__init__(config, encoder, view, num_classes)
        self.backbone = encoder.build()
        widths = (self.backbone.dim, *config.projector)
        self.projector = projector(widths, config.projector_last_norm, last_affine=False)
        self.location = nn.Linear(self.backbone.dim, 4)
        if config.framework == "moco_v3":
            self.predictor = predictor(config.projector[-1], config.predictor_hidden)
            self.momentum_backbone = freeze(copy.deepcopy(self.backbone))  # they start as copies: MoCo v3
            self.momentum_projector = freeze(copy.deepcopy(self.projector))
        once = {} if config.flip_patches == "after" else {"flip_p": 0.0}  # the whole image is mirrored, once for both views
        # view 1: TL, BL, TR, BR; view 2: the same
        self.slots = tuple(
            Slot("patch", share=0.5, changes={"source_region": region, "solarize_p": p, **once})
            for p in SOLARIZE
            for region in montage.REGIONS
        )

    def patches_of(self, views: list[Tensor]) -> Tensor:
        """The quadrants of both views: 8 x (N, 3, s, s) -> (V, 4N, 3, s, s), number quadrant * N + picture."""
        patches = torch.stack(views).unflatten(0, (2, 4))  # 8 x (N, 3, s, s) -> (V, P, N, 3, s, s)
        if self.config.flip_patches == "before":
            x = views[0]
            whole = len(x) * world_size()
            coin = (
                torch.rand(whole, generator=self.generator, device=x.device)[local_rows(whole)] < self.whole_view.flip_p
            )  # (N,)
            patches = torch.stack([montage.mirror(each, coin) for each in patches])
        # montages mix the images of all ranks: (V, P, n, 3, s, s) -> (V, P, N, 3, s, s) -> (V, 4N, 3, s, s)
        return all_gather_rows(patches.movedim(2, 0)).movedim(0, 2).flatten(1, 2)

    def orders(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A permutation (4N,) for each view's patches: the same one (release), or one each."""
        first = torch.randperm(len(x), generator=self.generator, device=x.device)
        return first, first if self.config.same_order else torch.randperm(len(x), generator=self.generator, device=x.device)

    @staticmethod
    def encode(backbone: nn.Module, montages: Tensor) -> Tensor:
        """Montages (N, 3, S, S) -> a feature vector of each of their cells (4N, dim), number cell * N + montage."""
        return montage.split(backbone.maps(montages)[backbone.stages[-1]])  # (N, dim, h, w) -> (4N, dim)

    def forward(self, views: list[Tensor], labels: Tensor | None = None) -> Outputs:
        temperature, (x1, x2) = self.config.temperature, self.patches_of(views)
        order1, order2 = self.orders(x1)
        x1, x2 = montage.glue(x1, montage.some(order1)), montage.glue(x2, montage.some(order2))  # (N, 3, S, S) each

        def home(*cells: Tensor) -> tuple[Tensor, Tensor]:
            """Vectors of the cells of both views, (4N, D) each, to where their patches came from.

            With many processes: from this rank's montages to this rank's images, by way of the cells of all ranks.
            """
            rows = [all_gather_rows(c.unflatten(0, (4, -1)).transpose(0, 1)) for c in cells]  # (4n, D) -> (N, 4, D)
            return tuple(
                row.transpose(0, 1).flatten(0, 1)[montage.some(order.argsort())]
                for row, order in zip(rows, (order1, order2), strict=True)
            )

        h = [self.encode(self.backbone, x) for x in (x1, x2)]
        z = [self.projector(cells) for cells in h]
        (h1, h2), (z1, z2) = home(*h), home(*z)  # (4N, dim) and (4N, D) each
        outputs = {"h1": h1, "h2": h2, "z1": z1, "z2": z2}
        if self.config.framework == "moco_v3":
            p1, p2 = home(*map(self.predictor, z))
            with torch.no_grad():
                k1, k2 = home(*(self.momentum_projector(self.encode(self.momentum_backbone, x)) for x in (x1, x2)))
            loss_global = (multi_positive_nt_xent(p1, k2, temperature) + multi_positive_nt_xent(p2, k1, temperature)) / 2
            outputs |= {"p1": p1, "p2": p2, "k1": k1, "k2": k2}
        else:
            loss_global = multi_positive_nt_xent(z1, z2, temperature)

        guess = at_least_float32(self.location(h1))  # (4N, dim) -> (4N, 4)
        quadrant = torch.arange(4, device=guess.device).repeat_interleave(len(guess) // 4)  # (4N,), N of each
        loss_location = F.cross_entropy(guess, quadrant)
        return outputs | {
            "loss": loss_global + self.config.location_weight * loss_location,
            "loss_global": loss_global,
            "loss_location": loss_location,
            "location": (guess.argmax(dim=1) == quadrant).float().mean(),  # a gauge: 0.25 is chance
        }

    @torch.no_grad()
    def after_step(self, outputs: Outputs) -> None:
        if self.config.framework == "moco_v3":
            start = self.config.ema
            momentum = ema_schedule(start, self.config.ema_end or start, self.progress)
            update_ema(self.momentum_backbone, self.backbone, momentum)
            update_ema(self.momentum_projector, self.projector, momentum)
