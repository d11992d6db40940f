"""A method's networks with nothing around them: the ceiling that `benchmarks.speed` holds a whole step against.

`networks(method, views)` sends views through every backbone and head that the method sends them through, with gradient
where the method has gradient. No loss, no look-up in a queue, no shuffle for BatchNorm's sake, no optimiser. What must stay:
cutting views into patches and gluing montages, without which a network has nothing to eat.

Nobody has to believe that these functions are faithful: `tests/benchmarks/test_speed.py` counts convolutions and compares
the parameters that get a gradient, method by method.
"""

from __future__ import annotations

import contextlib
from functools import singledispatch

import torch
from torch import Tensor, nn

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.methods.byol import BYOL
from mnclglf_lite.methods.cgh import CGH
from mnclglf_lite.methods.fastmoco import FastMoCo
from mnclglf_lite.methods.glnet import GLNet
from mnclglf_lite.methods.mcl import MCL
from mnclglf_lite.methods.mnclglf import MNCLGLF
from mnclglf_lite.methods.moco import MoCo
from mnclglf_lite.methods.multicrop import forward_together
from mnclglf_lite.methods.nnclr import NNCLR
from mnclglf_lite.methods.simclr import SimCLR
from mnclglf_lite.methods.simsiam import SimSiam
from mnclglf_lite.methods.supervised import Supervised
from mnclglf_lite.training.step import CompiledBackbones
from mnclglf_lite.views import montage


@singledispatch
def networks(method: nn.Module, views: list[Tensor]) -> list[Tensor]:
    """Views (N, 3, S, S) -> all embeddings that the losses would read, as the networks leave them."""
    raise InputError(f"benchmarks/speed/bare.py does not know which networks {type(method).__name__} has")


@networks.register
def _(method: Supervised, views: list[Tensor]) -> list[Tensor]:
    return [method.classifier(method.backbone(views[0]))]


@networks.register
def _(method: SimCLR, views: list[Tensor]) -> list[Tensor]:
    return [method.embed(views[0]), method.embed(views[1]), *forward_together(method.embed, views[2:])]


@networks.register
def _(method: MoCo, views: list[Tensor]) -> list[Tensor]:
    def keys(x: Tensor) -> Tensor:
        with torch.no_grad():
            return method.momentum_projector(method.momentum_backbone(x))

    one_way = [method.queries(views[0]), keys(views[1])]
    return [*one_way, method.queries(views[1]), keys(views[0])] if method.config.symmetric else one_way


@networks.register(SimSiam)
@networks.register(NNCLR)
def _(method: SimSiam | NNCLR, views: list[Tensor]) -> list[Tensor]:
    return [method.predictor(method.projector(method.backbone(x))) for x in views]


@networks.register
def _(method: BYOL, views: list[Tensor]) -> list[Tensor]:
    z = [method.embed(views[0]), method.embed(views[1]), *forward_together(method.embed, views[2:])]
    p = [method.predictor(z[0]), method.predictor(z[1]), *forward_together(method.predictor, z[2:])]
    return [*p, method.target(views[0]), method.target(views[1])]


@networks.register
def _(method: FastMoCo, views: list[Tensor]) -> list[Tensor]:
    return [*(method.embed(x)[1] for x in views), *(method.target(x) for x in views)]


@networks.register
def _(method: MNCLGLF, views: list[Tensor]) -> list[Tensor]:
    config, (x1, x2, x3) = method.config, views[:3]
    p1 = method.embed(x1)[1]
    with torch.set_grad_enabled(config.local_gradient and torch.is_grad_enabled()):
        p2 = method.embed(x2)[1]
    p3 = method.embed(x3)[1]
    small = forward_together(lambda x: method.projector(method.backbone(x)), views[3 : 3 + config.small_views])
    found = [p1, p2, p3, *forward_together(method.predictor, small)]
    found += [method.local_targets(patches) for patches in method.patches_of(views)]
    with torch.no_grad():
        for end in method.endings:
            backbone, head, _ = method.twin(end)
            found += [head(backbone(x)) for x in (x1, x3)] if backbone is not None else []
    return found


@networks.register
def _(method: MCL, views: list[Tensor]) -> list[Tensor]:
    if method.config.with_labels:
        features = [backbone(views[0]) for backbone, _ in method.online]
        embedded = [head(h) for (_, head), h in zip(method.online, features, strict=True)]
        return [*embedded, *(guess(h) for guess, h in zip(method.classifiers, features, strict=True))]
    queries = [network(views[0]) for network in method.online]
    with torch.no_grad():
        return [*queries, *(twin(views[1]) for twin in method.twins)]


@networks.register
def _(method: CGH, views: list[Tensor]) -> list[Tensor]:
    student = method.student(views[0])
    with torch.no_grad():
        return [*student.values(), *method.teacher(views[1]).values()]


@networks.register
def _(method: GLNet, views: list[Tensor]) -> list[Tensor]:
    patches = method.patches_of(views)
    x1, x2 = (montage.glue(x, order) for x, order in zip(patches, method.orders(patches[0]), strict=True))
    h1, h2 = method.encode(method.backbone, x1), method.encode(method.backbone, x2)
    z1, z2, place = method.projector(h1), method.projector(h2), method.location(h1)
    if method.config.framework == "simclr":
        return [z1, z2, place]
    found = [method.predictor(z1), method.predictor(z2), place]
    with torch.no_grad():
        found += [method.momentum_projector(method.encode(method.momentum_backbone, x)) for x in (x1, x2)]
    return found


class Bare:
    """Forward and backward of the networks alone, on views that lie on the device: `bare()` is one step without its work.

    Compiled as in `step`: the backbones. The backward pass starts from random gradients, drawn once, so that nothing like a
    loss has to be computed.
    """

    def __init__(self, method: nn.Module, views: list[Tensor], dtype: torch.dtype | None, compiled: bool):
        self.method, self.views, self.dtype = method, views, dtype
        self.backbones = CompiledBackbones(method) if compiled else contextlib.nullcontext()
        self.gradients: list[Tensor] | None = None

    def __call__(self) -> None:
        for parameter in self.method.parameters():
            parameter.grad = None
        with torch.autocast(self.views[0].device.type, dtype=self.dtype, enabled=self.dtype is not None):
            with self.backbones:
                found = [x for x in networks(self.method, self.views) if x.requires_grad]
        if self.gradients is None:
            self.gradients = [1e-3 * torch.randn_like(x) for x in found]
        torch.autograd.backward(found, self.gradients)
