"""Settings that several methods share, each said once. A method's own settings are a dataclass of those that it reads:

@dataclass(frozen=True)
class NNCLRConfig(SwapKnobs, PredictorKnobs, ProjectorNormKnobs, TemperatureKnobs):
    name = "nnclr"

every method            MethodConfig
projection head         ProjectorKnobs, ProjectorNormKnobs
both heads              HeadStartKnobs
prediction head         PredictorKnobs
contrastive loss        TemperatureKnobs
momentum encoder        EmaKnobs, EmaScheduleKnobs
queue                   QueueKnobs, SwapKnobs
BatchNorm               BatchNormKnobs
grid of patches         GridKnobs
multi-crop              SmallViewKnobs
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from typing import Any

from ..core.config import Config, knob
from ..core.errors import InputError
from ..views.view import View


@dataclass(frozen=True)
class MethodConfig(Config):
    """The settings of one method: exactly those that it reads. `name` is what recipes and the command line call it."""

    # Without annotations, so that these are no fields: a method may make one of them a setting.
    name = ""
    bn_splits = 1  # parts of the batch with BatchNorm statistics of their own
    cells = 1  # cells along a side into which whole views are cut

    @classmethod
    @functools.cache
    def settings(cls) -> frozenset[str]:
        """The names of its settings."""
        return frozenset(spec.name for spec in fields(cls))

    def check(self, recipe: Any) -> None:
        """Refuse what does not go with the rest of the recipe (`recipe.encoder`, `recipe.views`, `recipe.optim`)."""


@dataclass(frozen=True)
class ProjectorKnobs(MethodConfig):
    """A projection head."""

    projector: tuple[int, ...] = knob((256, 128), "layer widths, the last is the embedding size", "measured", low=1, count=0)


@dataclass(frozen=True)
class ProjectorNormKnobs(ProjectorKnobs):
    """A projection head that may end in a BatchNorm."""

    projector_last_norm: bool = knob(True, "BatchNorm after the projector's last layer too", "release")


@dataclass(frozen=True)
class PredictorKnobs(MethodConfig):
    """A prediction head."""

    predictor_hidden: int = knob(128, "hidden width of the prediction head", "ours", low=1)
    predictor_lr: str = knob(
        "cosine", "learning-rate schedule of the prediction head", "ours; release constant", choices=("cosine", "constant")
    )


@dataclass(frozen=True)
class HeadStartKnobs(MethodConfig):
    """Heads whose BatchNorm scales may start at random."""

    head_norm_start: str = knob(
        "one", "BatchNorm scales of the heads at the start: 1, or uniform in 0 to 1", "ours; release uniform",
        choices=("one", "uniform"),
    )  # fmt: skip


@dataclass(frozen=True)
class TemperatureKnobs(MethodConfig):
    """A loss with a temperature."""

    temperature: float = knob(0.2, "divides cosine similarities", "measured", above=0)


@dataclass(frozen=True)
class EmaKnobs(MethodConfig):
    """A momentum encoder."""

    ema: float = knob(0.99, "momentum of the moving average of weights, at the start of the run", "release", low=0, below=1)


@dataclass(frozen=True)
class EmaScheduleKnobs(EmaKnobs):
    """A momentum encoder whose momentum rises."""

    ema_end: float = knob(
        0.0, "momentum of the moving average at the end, reached by half a cosine; 0: constant", "paper", low=0, high=1
    )


@dataclass(frozen=True)
class QueueKnobs(MethodConfig):
    """A queue of embeddings."""

    queue: int = knob(4096, "embeddings K, a multiple of the batch", "ours; MNCLGLF's release 16,384", low=1)

    def check(self, recipe: Any) -> None:
        super().check(recipe)
        batch = recipe.optim.batch_size
        if self.queue % batch:
            near = max(1, round(self.queue / batch)) * batch
            raise InputError(f"the queue ({self.queue}) must be a multiple of the batch ({batch}); the nearest is {near}")


@dataclass(frozen=True)
class SwapKnobs(QueueKnobs):
    """Embeddings that are replaced by their nearest neighbours in a queue."""

    swap_from: float = knob(
        0.0, "share of the run that is over when neighbours begin to be the targets", "ours; paper 0", low=0, high=1
    )


@dataclass(frozen=True)
class BatchNormKnobs(MethodConfig):
    """BatchNorm over parts of the batch, and keys in shuffled order."""

    bn_splits: int = knob(1, "parts of the batch that each have BatchNorm statistics", "ours", low=1)
    shuffle_bn: bool = knob(True, "keys computed in another order, so that BatchNorm tells nothing", "paper")

    def check(self, recipe: Any) -> None:
        super().check(recipe)
        if recipe.optim.batch_size % self.bn_splits:
            raise InputError(f"a batch of {recipe.optim.batch_size} does not divide into {self.bn_splits} bn_splits")


@dataclass(frozen=True)
class GridKnobs(MethodConfig):
    """Whole views cut into a grid of patches."""

    grid: int = knob(2, "cells a side; grid x grid patches", "release", low=1)
    combine: int = knob(2, "patches averaged into one local embedding", "release", low=1)

    @property
    def cells(self) -> int:
        return self.grid

    def check(self, recipe: Any) -> None:
        super().check(recipe)
        self.check_combine()

    def check_combine(self) -> None:
        """Refuse to combine more patches than there are."""
        if self.combine > self.grid**2:
            raise InputError(f"cannot combine {self.combine} of {self.grid**2} patches; make grid larger or combine smaller")


@dataclass(frozen=True)
class SmallViewKnobs(MethodConfig):
    """Small views beside the whole ones."""

    small_views: int = knob(0, "further small views, multi-crop", "ours; SwAV 6, DINO 8", low=0)
    small_view: View = knob(
        View(size=16, scale=(0.05, 0.4)), "the small views, where there are any", "ours, after DINO's scales"
    )

    def reads_small_view(self) -> bool:
        """Whether any view is a small one."""
        return self.small_views > 0

    def check(self, recipe: Any) -> None:
        super().check(recipe)
        if self.reads_small_view():
            check_side("small_view", self.small_view, recipe.encoder.smallest_view)


def check_side(name: str, view: View, least: int) -> None:
    """Refuse a view that is too small for the encoder."""
    if view.size < least:
        raise InputError(f"a {name} of {view.size} pixels is too small; make it at least {least}")
