"""What every method promises, so that one training loop, one evaluation and one explorer serve them all.

A method is a module that says which views it wants, turns a batch of them into a loss, and does its bookkeeping afterwards:

    method.slots                     which views: a tuple of `Slot`, the whole view or one of the method's own
    method(views, labels) -> dict    "loss" (a scalar with gradient) and every named intermediate (z, p, c, n, ...)
    method.after_step(outputs)       moving averages and queues, after the optimiser's step, without gradient
    method.backbone                  the network that is evaluated

    method.config                    its settings, a frozen dataclass of its own (`Config`)
    method.progress                  0-d tensor: share of the run that is done, set by the loop before each step (for ramps)
    method.generator                 the run's random generator, for a method that shuffles; its state is in the checkpoint

All its other state (networks, momentum encoders, queues) is in `state_dict()`, so an exact resume is one file. Nothing in
the forward pass or in `after_step` reads a tensor's value into Python.

Where many processes share a batch (`core.distributed`), a method holds this rank's rows and no others: views, labels,
embeddings, outputs. The losses in `losses` and the queue gather what they compare, so that a forward with these reads as in
one process. A forward that compares or mixes rows by itself gathers what it needs (`all_gather_rows`). Scalars are means
over own rows; the training step averages them over the ranks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.errors import InputError
from ..models.encoder import EncoderConfig
from ..views.view import View
from .knobs import MethodConfig

Outputs = dict[str, Tensor]


@dataclass(frozen=True)
class Slot:
    """One view that a method wants of each image: the recipe's whole view with changes, or a view of the method's own.

        Slot("whole")                                  the recipe's view, at the size that it has at this step
        Slot("whole", changes={"solarize_p": 0.2})     the same, drawn in another way
        Slot("patch", share=0.5)                       half as large along each side
        Slot("small", view=config.small_view)          a view of its own: its size never changes

    kind: what it is called in figures and words. share: of the whole view's side.
    """

    kind: str = "whole"
    view: View | None = None
    share: float = 1.0
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.view is not None and (self.share != 1 or self.changes):
            raise InputError("a slot has a view of its own, or changes to the whole view, not both")

    def resolve(self, whole: View) -> View:
        """The view that is drawn where whole views are now `whole`."""
        if self.view is not None:
            return self.view
        size = whole.size if self.share == 1 else int(whole.size * self.share)
        return dataclasses.replace(whole, **{"size": size, **self.changes}) if self.changes or size != whole.size else whole


class Method(nn.Module):
    """The contract above. `labels` are for methods that say so (`uses_labels`) and for gauges, never for a
    loss that calls itself self-supervised.

    A method's class also says what the rest of the package shows of it: `title`, `loss_name`, its `presets` (settings that a
    preset has for it, by preset, then by image set, "" for all), `variants` (names for it with some settings changed) and
    `variant_presets` (of a variant that trains in another way: like `presets`, by variant).
    An example of 30 lines: docs/add_your_own_method.md.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    title: ClassVar[str] = ""
    loss_name: ClassVar[str] = ""
    presets: ClassVar[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {}
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    variant_presets: ClassVar[Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]] = {}
    supports_distributed: ClassVar[bool] = False  # True where the paragraph above holds; nothing else checks it

    config: Any  # an instance of its `Config`
    backbone: nn.Module
    slots: tuple[Slot, ...]
    generator: torch.Generator | None = None
    shuffles_batch = False  # True where a random draw mixes the images of a batch, so that their order matters

    def __init__(self, config: MethodConfig, encoder: EncoderConfig, view: View, num_classes: int) -> None:
        """Build the networks. `config`: its settings. `encoder`: builds backbones. `view`: the recipe's whole view.
        `num_classes`: for methods that use labels."""
        super().__init__()
        self.config, self.whole_view = config, view
        self.register_buffer("progress", torch.zeros(()), persistent=False)

    @classmethod
    def uses_labels(cls, config: MethodConfig) -> bool:
        """Whether the loss reads labels under these settings."""
        return False

    @property
    def views(self) -> tuple[View, ...]:
        """The views of its slots, at the recipe's own size."""
        return tuple(slot.resolve(self.whole_view) for slot in self.slots)

    def forward(self, views: list[Tensor], labels: Tensor | None = None) -> Outputs:
        """One float tensor (N, 3, S, S) for each entry of `self.slots`, in that order; labels (N,) or None."""
        raise NotImplementedError

    @torch.no_grad()
    def after_step(self, outputs: Outputs) -> None:
        """Most methods have nothing to keep."""
