"""MNCLGLF: multi-network contrastive learning based on global and local features (Li, Long, Li 2023, arXiv 2306.15930).

A picture is seen three times. One network learns; the two others only say what it should have said:

    x1, x2, x3 -> online backbone -> projector -> predictor -> p1, p2, p3         learns by gradient
    x1, x2     -> divide 2x2 -> the same backbone -> combine pairs -> the same projector -> c(x1), c(x2)     no gradient
    x1, x3     -> momentum backbone -> momentum projector -> m1, m3 -> nearest in queue -> n1, n3            no gradient

    L_GL = (1/12) sum_j [ l(p1, c_j(x2)) + l(p2, c_j(x1)) ]       global meets local: 6 pairs of patches, InfoNCE
    L_GG = 1/2 NTX(n3, p1) + 1/2 NTX(n1, p3)                      global meets a neighbour of the other view
    L    = local_weight * L_GL + global_weight * L_GG             release: 1 and 6, temperature 1 in both terms

Two methods bear this name. *As drawn* (`local_gradient=True`): the paper's figure puts the stop-gradient on c and n only, so
L_GL trains p. *As released* (`local_gradient=False`): the authors' code detaches p1 and p2 before L_GL, so that the local
term is a constant for the optimiser and the gradient of L is exactly that of global_weight * L_GG. Which of the two made
the published numbers is unknown.

Read in the released code: networks, views, losses, weights, temperature, queue (only m3 enters it, after both look-ups; the
batch is never among its own neighbours), moving average 0.99 of parameters only, a momentum network with its own random
start. Inferred: that the paper's text says the same. The release moves the twin at the start of a step and this file at the
end of the one before, which differs in the very first step alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..backbone import ResNet
from ..heads import predictor, projector
from ..losses import info_nce, nt_xent
from ..memory import Queue, follow, frozen
from ..patches import combine, divide
from ..recipe import Recipe
from .base import Method, Outputs


class MNCLGLF(Method):
    """MNCLGLF as a recipe says, as drawn or as released (`local_gradient`). `classes` is not used."""

    def __init__(self, recipe: Recipe, classes: int):
        super().__init__()
        self.recipe = recipe
        self.backbone, self.projector = self._encoder(recipe)
        dim = recipe.projector[-1]
        self.predictor = predictor(dim, recipe.predictor)
        # Drawn on its own, not copied: release. The difference is forgotten in a few hundred steps.
        self.momentum_backbone, self.momentum_projector = map(frozen, self._encoder(recipe))
        self.queue = Queue(recipe.queue, dim)
        # With random local crops, each of x1 and x2 brings its own, cut from the same picture.
        crops = recipe.grid**2 if recipe.local == "crops" else 0
        self.views = (recipe.view,) * 3 + (recipe.local_view,) * (2 * crops)

    @staticmethod
    def _encoder(recipe: Recipe) -> tuple[nn.Module, nn.Module]:
        backbone = ResNet(recipe.width, recipe.blocks, recipe.stem)
        return backbone, projector((backbone.dim, *recipe.projector), recipe.projector_last_norm)

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
        pairs = combine(features, self.recipe.combine)  # (P, N, dim) -> (C, N, dim)
        return self.projector(pairs.flatten(0, 1)).unflatten(0, pairs.shape[:2])  # (C, N, D)

    @torch.no_grad()
    def momentum_targets(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The momentum branch: views -> keys m (N, D), their nearest queue entries n (N, D), the neighbours' labels."""
        m = self.momentum_projector(self.momentum_backbone(x))
        nearest, labels = self.queue.nearest(m)
        return m, nearest if self.recipe.swap else m, labels

    def patches_of(self, views: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The patches of x1 and of x2, (P, N, 3, s, s) each: a grid cut out of the view, or random local crops."""
        if self.recipe.local == "grid":
            return divide(views[0], self.recipe.grid), divide(views[1], self.recipe.grid)
        first, second = torch.stack(views[3:]).chunk(2)  # 2P x (N, 3, s, s) -> (P, N, 3, s, s) twice
        return first, second

    def forward(self, views: list[Tensor], labels: Tensor | None = None) -> Outputs:
        recipe, temperature = self.recipe, self.recipe.temperature
        x1, x2, x3 = views[:3]
        z1, p1 = self.embed(x1)
        with torch.set_grad_enabled(recipe.local_gradient and torch.is_grad_enabled()):
            z2, p2 = self.embed(x2)  # used by the local term alone
        z3, p3 = self.embed(x3)
        c1, c2 = (self.local_targets(patches) for patches in self.patches_of(views))
        m1, n1, label1 = self.momentum_targets(x1)
        m3, n3, label3 = self.momentum_targets(x3)

        a1, a2 = (p1, p2) if recipe.local_gradient else (p1.detach(), p2.detach())
        pairs = [info_nce(a1, c, temperature) for c in c2] + [info_nce(a2, c, temperature) for c in c1]
        loss_local = torch.stack(pairs).mean()
        loss_global = (nt_xent(n3, p1, temperature) + nt_xent(n1, p3, temperature)) / 2
        outputs = {
            "loss": recipe.local_weight * loss_local + recipe.global_weight * loss_global,
            "loss_local": loss_local,
            "loss_global": loss_global,
            **{"z1": z1, "z2": z2, "z3": z3, "p1": p1, "p2": p2, "p3": p3},
            **{"c1": c1, "c2": c2, "m1": m1, "m3": m3, "n1": n1, "n3": n3},
        }
        if labels is not None:  # a gauge, never a loss: how often is the neighbour of the picture's own class?
            agree = torch.cat([label1 == labels, label3 == labels])
            outputs |= {"agreement": agree.float().mean(), "labels": labels}
        return outputs

    @torch.no_grad()
    def after_step(self, outputs: Outputs) -> None:
        follow(self.momentum_backbone, self.backbone, self.recipe.momentum)
        follow(self.momentum_projector, self.projector, self.recipe.momentum)
        self.queue.push(outputs["m3"], outputs.get("labels"))
