"""The backbone: one ResNet whose width, depth and stem are arguments.

At width 64, blocks (2, 2, 2, 2) and stem "imagenet" it *is* torchvision's resnet18 without the last linear layer: the same
state-dict keys, the same shapes, the same outputs. The other settings keep its names, so weights stay portable.

    stem      first layers                       32x32 enters the stages as   used for
    cifar     3x3 conv, stride 1                 32x32                        CIFAR at native size (`standard`)
    pool      3x3 conv, stride 1, max-pool       16x16                        TinyImageNet at 64 pixels
    imagenet  7x7 conv, stride 2, max-pool       8x8                          the release: pictures enlarged to 224
    patch     2x2 conv, stride 2                 16x16                        the slim net for two CPU cores (`quick`)

A stem that throws resolution away early costs more accuracy on small pictures than any choice of method.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..core.errors import InputError, unknown
from .convolution import Conv2d

STEMS = ("cifar", "pool", "imagenet", "patch")


def conv3x3(channels_in: int, channels_out: int, stride: int = 1) -> Conv2d:
    """A 3x3 convolution without bias that keeps the side at stride 1: (N, C_in, H, W) -> (N, C_out, H/s, W/s)."""
    return Conv2d(channels_in, channels_out, 3, stride, padding=1)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, as in torchvision's resnet18)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1):
        super().__init__()
        self.conv1 = conv3x3(channels_in, channels_out, stride)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(channels_out, channels_out)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(Conv2d(channels_in, channels_out, 1, stride), nn.BatchNorm2d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + shortcut)


class ResNet(nn.Module):
    """Views in, features out: float (N, 3, H, W) -> (N, dim), by global average pooling of the last stage.

    Args:
        width: channels of the first stage; each later stage doubles them. resnet18 has 64.
        blocks: basic blocks in each stage; resnet18 has (2, 2, 2, 2), resnet34 (3, 4, 6, 3).
        stem: "cifar", "pool", "imagenet" or "patch" (see the table above).

    Weights start as in MNCLGLF's release: convolutions Kaiming fan-out, the last BatchNorm scale of each block zero, so that
    every block begins as the identity. `dim` is the feature size, width * 2 ** (number of stages - 1).
    """

    def __init__(self, width: int = 64, blocks: Sequence[int] = (2, 2, 2, 2), stem: str = "cifar"):
        super().__init__()
        if stem not in STEMS:
            raise unknown("stem", stem, STEMS)
        if width < 1 or not blocks or min(blocks) < 1:
            raise InputError(f"a backbone needs width >= 1 and blocks >= 1; got width {width}, blocks {blocks}")
        self.width, self.blocks, self.stem = width, tuple(blocks), stem
        kernel, stride, padding = {"imagenet": (7, 2, 3), "patch": (2, 2, 0)}.get(stem, (3, 1, 1))
        self.conv1 = Conv2d(3, width, kernel, stride, padding)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if stem in ("pool", "imagenet") else nn.Identity()
        self.stages = [f"layer{i}" for i in range(1, len(blocks) + 1)]
        channels = width
        for i, (name, count) in enumerate(zip(self.stages, blocks, strict=True)):
            out = width * 2**i
            first = BasicBlock(channels, out, stride=1 if i == 0 else 2)
            self.add_module(name, nn.Sequential(first, *(BasicBlock(out, out) for _ in range(count - 1))))
            channels = out
        self.dim = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """Every stage's map by name: "stem", "layer1", ..., each (N, channels, h, w), and "pooled" (N, dim)."""
        maps = {"stem": self.maxpool(self.relu(self.bn1(self.conv1(x))))}
        last = maps["stem"]
        for name in self.stages:
            last = maps[name] = getattr(self, name)(last)
        maps["pooled"] = last.mean(dim=(2, 3))  # (N, dim, h, w) -> (N, dim)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        return ResNet.maps(self, x)["pooled"]  # the class's own: a compiled one may stand in its place
