"""The paper's linear protocol: a frozen backbone, a new linear layer, LARS, and pictures cropped anew every epoch.

Read in the released code (same as Fast-MoCo's): online backbone in eval mode; weights N(0, 0.01), bias 0; LARS with trust
0.001, rate 0.8, momentum 0.9, no weight decay, cosine to 0 step by step; 90 epochs of batch 256; random resized crop
(0.08 to 1) and flip for training, the whole picture for testing; tested every 5 epochs, of which the release keeps the best
top-1 and, separately, the best top-5 *on the test set*. We report the last epoch, and the best ones beside it by name.
The release works at 224 pixels; here the pictures keep the size they were trained at.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import views
from .data import ImageSet
from .evaluate import features, looking_at
from .train import batch_order, clock, cosine
from .views import View


@dataclass(frozen=True)
class PaperProtocol:
    """Every constant from the release."""

    epochs: int = 90
    batch: int = 256
    lr: float = 0.8
    momentum: float = 0.9
    trust: float = 0.001
    scale: tuple[float, float] = (0.08, 1.0)
    test_every: int = 5  # epochs


@torch.no_grad()
def lars_(parameters: list[Tensor], velocities: list[Tensor], lr: float, momentum: float, trust: float) -> None:
    """One LARS step in place (You, Gitman, Ginsburg 2017, without weight decay):

    v <- momentum * v + lr * trust * |w| / |g| * g;   w <- w - v

    The local rate trust * |w| / |g| is 1 where either length is zero (a bias at its start).
    """
    for weight, velocity in zip(parameters, velocities, strict=True):
        length, slope = weight.norm(), weight.grad.norm()
        local = torch.where((length > 0) & (slope > 0), trust * length / slope, 1.0)
        velocity.mul_(momentum).add_(weight.grad * local, alpha=lr)
        weight.sub_(velocity)


def paper_probe(
    backbone: nn.Module,
    train: ImageSet,
    test: ImageSet,
    protocol: PaperProtocol | None = None,
    seed: int = 0,
    size: int | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, object]:
    """Last and best top-1 / top-5 (0 to 1) under the protocol above, with the accuracy at every test.

    The backbone is only looked at. `size` is the side of the crops in pixels, by default the pictures' own.
    """
    protocol = protocol or PaperProtocol()
    generator = torch.Generator(train.device).manual_seed(seed)
    asked = features(backbone, test)
    classes, dim = len(train.classes), asked.shape[1]
    weight = (0.01 * torch.randn(classes, dim, generator=generator, device=train.device)).requires_grad_()
    bias = torch.zeros(classes, device=train.device, requires_grad=True)
    velocities = [torch.zeros_like(weight), torch.zeros_like(bias)]
    view = View(size=size or train.side, scale=protocol.scale, jitter_p=0.0, gray=0.0, blur=0.0)
    batch = min(protocol.batch, len(train))
    per_epoch = len(train) // batch
    total, begun, tests = protocol.epochs * per_epoch, time.perf_counter(), []
    with looking_at(backbone):
        for step in range(total):
            epoch, position = divmod(step, per_epoch)
            if position == 0:
                order = batch_order(seed, epoch, len(train)).to(train.device)
            index = order[position * batch : (position + 1) * batch]
            images = train.images[index]
            with torch.no_grad():
                draw = views.sample(view, batch, images.shape[-2:], generator, train.device)
                x = backbone(views.render(images, view, draw)).float()  # (N, 3, S, S) -> (N, D)
            weight.grad = bias.grad = None
            F.cross_entropy(x @ weight.T + bias, train.labels[index]).backward()
            lr = protocol.lr * cosine(step, total)
            lars_([weight, bias], velocities, lr, protocol.momentum, protocol.trust)
            done = step + 1
            if done % per_epoch == 0 and ((epoch + 1) % protocol.test_every == 0 or done == total):
                with torch.no_grad():
                    top = (asked @ weight.T + bias).topk(min(5, classes), dim=1).indices
                    hits = top == test.labels[:, None]
                    tests.append({
                        "epoch": epoch + 1,
                        "top1": hits[:, 0].float().mean().item(),
                        "top5": hits.any(1).float().mean().item(),
                    })  # fmt: skip
                spent = time.perf_counter() - begun
                log(
                    f"linear epoch {epoch + 1:3d}  top-1 {100 * tests[-1]['top1']:.2f} %  "
                    f"{clock(spent)} gone, {clock(spent / done * (total - done))} left"
                )
    return {
        "last": {"top1": tests[-1]["top1"], "top5": tests[-1]["top5"]},
        "best_on_test": {top: max(row[top] for row in tests) for top in ("top1", "top5")},
        "tests": tests,
        "seconds": round(time.perf_counter() - begun, 2),
    }
