"""The paper's linear protocol: a frozen backbone, a new linear layer, LARS, and pictures cropped anew every
epoch.

Read in the released code (same as Fast-MoCo's): online backbone in eval mode; weights N(0, 0.01), bias 0;
LARS with trust 0.001, rate 0.8, momentum 0.9, no weight decay, cosine to 0 step by step; 90 epochs of batch
256; random resized crop (0.08 to 1, bicubic) and flip for training; tested every 5 epochs, of which the
release keeps the best top-1 and, separately, the best top-5 *on the test set*: a choice made with the test
labels, so a little too high. We report the last epoch, and the best ones beside it by name.

Ours, not the release's: the picture's own size instead of 224 pixels (`size` changes that); for testing the
whole picture instead of the centre 224 of 256 pixels; the last, smaller batch of an epoch is dropped instead
of filled up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import InputError
from ..core.schedules import cosine_decay
from ..core.text import format_left
from ..data.dataset import ImageSet, batch_order
from ..models.freeze import eval_mode
from ..views.view import View, render_view, sample_params
from .evaluate import extract_features
from .knn import accuracy, check


@dataclass(frozen=True)
class PaperProtocol:
    """Every constant from the release.

    A trust of 0.001 moves the weights by at most about 1 % a step, and they start small: it takes a thousand
    steps or so to leave the random start. Few epochs of a small set say nothing about the features.
    """

    epochs: int = 90
    batch: int = 256
    lr: float = 0.8
    momentum: float = 0.9
    trust: float = 0.001
    scale: tuple[float, float] = (0.08, 1.0)
    test_every: int = 5  # epochs

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch, self.test_every) < 1:
            raise InputError(f"the paper's linear protocol needs epochs, batch and test_every of at least 1; got {self}")


@torch.no_grad()
def lars_(parameters: list[Tensor], buffers: list[Tensor], lr: float, momentum: float, trust: float) -> None:
    """One LARS step in place (You, Gitman & Ginsburg 2017), without weight decay, as released:

    v <- momentum * v + g;   w <- w - lr * trust * |w| / |g| * v

    The paper puts the local rate into v instead; the release's config asks for this form ("implementation:
    PyTorch"). The local rate is 1 where either length is zero, as for a bias at its start.
    """
    for weight, buffer in zip(parameters, buffers, strict=True):
        length, slope = weight.norm(), weight.grad.norm()
        rate = trust * length / (slope + 1e-8)  # 1e-8: the release's
        local = torch.where((length > 0) & (slope > 0), rate, 1.0)
        buffer.mul_(momentum).add_(weight.grad)
        weight.sub_(lr * local * buffer)


def paper_probe(
    backbone: nn.Module, train: ImageSet, test: ImageSet, protocol: PaperProtocol | None = None, seed: int = 0,
    size: int | None = None, log: Callable[[str], None] = print,
) -> dict[str, object]:  # fmt: skip
    """Last and best top-1 / top-5 (0 to 1) under the protocol above, with the accuracy at every test.

    The backbone is only looked at. `size` is the side in pixels of training crops and test pictures, by
    default the pictures' own. One line of progress an epoch.
    """
    protocol = protocol or PaperProtocol()
    for part in (train, test):
        pixel = part.images.flatten(1)[:, :1]
        check(pixel, part.labels, f"linear protocol, {part.split}", len(train.classes), every=part is train)
    generator = torch.Generator(train.device).manual_seed(seed)
    asked = extract_features(backbone, test, size=size)
    classes, dim = len(train.classes), asked.shape[1]
    weight = (0.01 * torch.randn(classes, dim, generator=generator, device=train.device)).requires_grad_()
    bias = torch.zeros(classes, device=train.device, requires_grad=True)
    buffers = [torch.zeros_like(weight), torch.zeros_like(bias)]
    view = View(size=size or train.side, scale=protocol.scale, jitter_p=0.0, gray_p=0.0, blur_p=0.0, interpolation="bicubic")
    batch = min(protocol.batch, len(train))
    per_epoch = len(train) // batch
    total, begun, tests = protocol.epochs * per_epoch, time.perf_counter(), []
    with eval_mode(backbone):
        for step in range(total):
            epoch, position = divmod(step, per_epoch)
            if position == 0:
                order = batch_order(seed, epoch, len(train)).to(train.device)
            index = order[position * batch : (position + 1) * batch]
            images = train.images[index]
            with torch.no_grad():
                draw = sample_params(view, batch, images.shape[-2:], generator, train.device)
                crops = render_view(images, view, draw).contiguous(memory_format=torch.channels_last)
                x = backbone(crops).float()  # (N, 3, S, S) -> (N, D)
            weight.grad = bias.grad = None
            F.cross_entropy(x @ weight.T + bias, train.labels[index]).backward()
            lr = protocol.lr * cosine_decay(step, total)
            lars_([weight, bias], buffers, lr, protocol.momentum, protocol.trust)
            done = step + 1
            if done % per_epoch:
                continue
            line = f"linear epoch {epoch + 1:3d}"
            if (epoch + 1) % protocol.test_every == 0 or done == total:
                with torch.no_grad():
                    tests.append({"epoch": epoch + 1, **accuracy(asked @ weight.T + bias, test.labels)})
                line += f"  top-1 {100 * tests[-1]['top1']:.2f} %"
            spent = time.perf_counter() - begun
            log(f"{line}  {format_left(spent, spent / done * (total - done))}")
    return {
        "last": {"top1": tests[-1]["top1"], "top5": tests[-1]["top5"]},
        "best_on_test": {top: max(row[top] for row in tests) for top in ("top1", "top5")},
        "tests": tests,
        "seconds": round(time.perf_counter() - begun, 2),
    }
