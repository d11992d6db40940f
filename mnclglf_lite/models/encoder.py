"""The encoder as settings: how wide and how deep the backbone is, and which stem it has."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.config import Config, knob
from .resnet import STEMS, ResNet

SMALLEST_VIEW = {"cifar": 4, "pool": 4, "imagenet": 8, "patch": 4}  # pixels (ours): smaller maps vanish


@dataclass(frozen=True)
class EncoderConfig(Config):
    """The backbone of every method: a ResNet (`models.resnet`)."""

    width: int = knob(24, "channels of the first stage", "measured", low=1)
    blocks: tuple[int, ...] = knob((1, 1, 1), "basic blocks a stage", "measured", low=1, count=0)
    stem: str = knob("patch", "name", "measured", choices=STEMS)

    first_layer: str = knob(
        "random", "how the first convolution starts (training.first_layer)", "ours", choices=("random", "data")
    )

    def build(self) -> ResNet:
        """A backbone with freshly drawn weights: images (N, 3, H, W) -> features (N, dim)."""
        return ResNet(self.width, self.blocks, self.stem)

    @property
    def smallest_view(self) -> int:
        """The smallest side in pixels that this backbone can take."""
        return SMALLEST_VIEW[self.stem]
