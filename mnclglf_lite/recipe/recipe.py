"""A recipe is one frozen object with every setting of a training run: data, views, encoder, method and optimiser.

    recipe = preset("quick", "simclr", "cifar10")          # `presets`: settings that go together
    recipe = recipe.replace(temperature=0.5, lr=0.6)       # by name, whichever section they are in
    recipe.method.temperature, recipe.optim.lr             # read from their section

A method's settings are its own (`methods.moco.MoCoConfig`, ...): one that this run does not read is refused by name. Every
setting carries its unit and where its value comes from (`core.config`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import torch

from ..core.config import Config, knob, plain
from ..core.errors import InputError, unknown
from ..methods.base import Method
from ..methods.knobs import MethodConfig
from ..methods.mnclglf import MNCLGLFConfig
from ..methods.registry import find_method, methods_with
from ..models.encoder import EncoderConfig
from ..views.view import View
from .legacy import FORMAT, upgrade


@dataclass(frozen=True)
class DataConfig(Config):
    """Which images are trained on."""

    dataset: str = knob("toybox", "name of the image set", "ours")
    holdout: bool = knob(True, "keep a tenth of the training set as validation set", "ours")


@dataclass(frozen=True)
class ViewsConfig(Config):
    """What every method is shown: the whole view. Views of its own are among a method's settings."""

    view: View = knob(View(), "whole views", "release")
    progressive_sizes: tuple[int, ...] = knob(
        (), "pixels of whole views in equal shares of the steps; none: the view's size", "ours"
    )
    eval_size: int = knob(0, "pixels at which whole images are evaluated; 0: their own size", "ours", low=0)

    def size_at(self, step: int, total_steps: int) -> int:
        """Side in pixels of the whole views at a step."""
        sizes = self.progressive_sizes or (self.view.size,)
        return sizes[min(step * len(sizes) // total_steps, len(sizes) - 1)]


@dataclass(frozen=True)
class OptimConfig(Config):
    """How long, and how."""

    batch_size: int = knob(256, "images", "release", low=2)
    epochs: float = knob(10.0, "passes over the training images, where steps is 0", "ours")
    steps: int = knob(0, "optimiser steps; 0: from epochs", "ours", low=0)
    optimiser: str = knob("sgd", "muon: Muon for matrices and SGD for the rest", "measured", choices=("sgd", "muon"))
    lr: float = knob(0.36, "SGD rate for 256 images; scaled by batch_size / 256", "measured", above=0)
    muon_lr: float = knob(0.1, "Muon's rate, of any batch: each update has the same size", "measured", above=0)
    muon_weight_decay: float = knob(0.1, "decoupled: each step takes rate x this off the matrices", "measured", low=0)
    momentum: float = knob(0.9, "momentum of SGD (the moving average's is ema)", "release", low=0, below=1)
    nesterov: bool = knob(True, "look-ahead momentum", "measured")
    weight_decay: float = knob(5e-4, "L2 penalty", "measured", low=0)
    decay_bias_and_norm: bool = knob(False, "weight decay on biases and BatchNorm too", "ours; release yes")
    warmup: float = knob(0.05, "share of all steps with a rising rate", "measured", low=0, below=1)
    clip_grad_norm: float = knob(0.0, "largest gradient norm; 0: no limit", "ours; release 1", low=0)
    precision: str = knob("auto", "auto: bf16 where it is native, else fp32", "ours", choices=("auto", "fp32", "bf16"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.steps and not 0 < self.epochs < math.inf:
            raise InputError(f"give epochs > 0 or steps > 0, finite; got epochs {self.epochs}, steps {self.steps}")
        if self.nesterov and not self.momentum:
            raise InputError("nesterov needs momentum > 0; set nesterov=False or momentum=0.9")
        given = [name for name in MUON_ALONE if getattr(self, name) != getattr(OptimConfig, name)]
        if given and self.optimiser != "muon":
            raise InputError(
                f"{', '.join(given)}: of Muon alone, and the optimiser is {self.optimiser!r}; give optimiser='muon'"
            )


MUON_ALONE = ("muon_lr", "muon_weight_decay")  # settings that SGD does not read
SECTIONS = {"data": DataConfig, "views": ViewsConfig, "encoder": EncoderConfig, "optim": OptimConfig}
SHARED = {spec.name for part in SECTIONS.values() for spec in fields(part)} | {"seed"}  # settings that every recipe has


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a run computes; two runs of one recipe on one machine end in the same weights.

    Checked on construction: an impossible combination raises `InputError` that names the setting and what it should be.

    >>> preset("quick", "simclr").replace(temperature=0.5).method.temperature           # doctest: +SKIP
    0.5
    """

    method: MethodConfig = field(default_factory=MNCLGLFConfig)
    data: DataConfig = field(default_factory=DataConfig)
    views: ViewsConfig = field(default_factory=ViewsConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    seed: int = knob(0, "whole number", "ours")

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", plain(self.seed, 0))
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**40:
            raise InputError(f"seed must be a whole number from 0 to {2**40 - 1}; got {self.seed!r}")
        if clash := sorted((SHARED | {"method", "format"}) & self.method.settings()):
            raise InputError(f"{self.method.name} declares {', '.join(clash)}, which every recipe has; give it another name")
        cells, view = self.method.cells, self.views.view
        least = self.encoder.smallest_view * cells
        for size in (view.size, *self.views.progressive_sizes):
            if size < least:
                raise InputError(f"a view of {size} pixels is too small for this network; make it at least {least}")
            if size % cells:
                raise InputError(f"a view of {size} pixels does not divide into a {cells}x{cells} grid")
        self.method.check(self)

    @classmethod
    def of(cls, config: type[MethodConfig], **values: Any) -> Recipe:
        """A recipe of a method by its settings' names; what is not named has its default."""
        parts = {"method": config, **SECTIONS}
        whole = {name: part(**{key: values.pop(key) for key in _names(part) & set(values)}) for name, part in parts.items()}
        seed = {"seed": values.pop("seed")} if "seed" in values else {}
        for name in values:
            raise _unread(config, name)
        return cls(**whole, **seed)

    def replace(self, **changes: Any) -> Recipe:
        """The same recipe with some settings changed, checked again.

        A setting that this recipe does not read raises `InputError`, with the methods that have it or the nearest names.
        """
        kept = {name: value_of(self, name) for name in SHARED | self.method.settings()}
        return Recipe.of(type(self.method), **layered(kept, changes))

    def reads(self, name: str) -> bool:
        """Whether this recipe has a setting of this name."""
        return name in SHARED | self.method.settings()

    def unread(self) -> set[str]:
        """Settings that it has and that have no effect: Muon's under SGD, the small view where there are no small views."""
        idle = set(MUON_ALONE) if self.optim.optimiser != "muon" else set()
        small = self.reads("small_view") and not self.method.reads_small_view()
        return idle | ({"small_view"} if small else set())

    def to_dict(self) -> dict[str, Any]:
        """All settings by name in plain JSON types; `from_dict` is its inverse."""
        found = {"format": FORMAT, "method": self.method.name, **dataclasses.asdict(self.data), "seed": self.seed}
        for section in (self.encoder, self.views, self.method, self.optim):
            found |= dataclasses.asdict(section)
        return found

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Recipe:
        """The recipe of `to_dict`, also as it stands in older records (`legacy`). What is missing has its default."""
        values = upgrade(data)
        config = find_method(values.pop("method", MNCLGLFConfig.name)).Config
        values.pop("format", None)
        views = [spec.name for part in (config, ViewsConfig) for spec in fields(part) if isinstance(spec.default, View)]
        for name, value in values.items():
            if name in views and isinstance(value, dict):
                values[name] = with_parts(View(), value, name)
            else:
                values[name] = tuple(value) if isinstance(value, list) else value
        return cls.of(config, **values)

    def differences(self, other: Recipe) -> list[str]:
        """One 'setting: mine -> other' line for each that differs."""
        mine, theirs = self.to_dict(), other.to_dict()
        names = [*mine, *(name for name in theirs if name not in mine)]
        return [f"{name}: {mine.get(name)} -> {theirs.get(name)}" for name in names if mine.get(name) != theirs.get(name)]

    @property
    def uses_labels(self) -> bool:
        """Whether the loss reads labels."""
        return find_method(self.method.name).uses_labels(self.method)


def layered(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`values` with `changes` on top; who changes to SGD leaves behind what Muon alone reads."""
    if changes.get("optimiser", "muon") != "muon":
        values = {name: value for name, value in values.items() if name not in MUON_ALONE}
    return values | changes


def settings(config: type[MethodConfig]) -> Iterator[dataclasses.Field[Any]]:
    """Every setting of a recipe for this method but the method itself, in the order of `to_dict`."""
    yield from fields(DataConfig)
    yield from (spec for spec in fields(Recipe) if spec.name == "seed")
    for part in (EncoderConfig, ViewsConfig, config, OptimConfig):
        yield from fields(part)


def value_of(recipe: Recipe, name: str) -> Any:
    """A setting's value by its name, whichever section it is in."""
    sections = (recipe.method, *(getattr(recipe, each) for each in SECTIONS))
    return next((getattr(part, name) for part in sections if name in _names(type(part))), recipe.seed)


def _names(part: type[Config]) -> set[str]:
    return {spec.name for spec in fields(part)}


def _unread(config: type[MethodConfig], name: str) -> InputError:
    if name == "method":
        return InputError('the method is chosen first: preset("quick", "simclr"), then its settings')
    if others := methods_with(name):
        return InputError(f"{config.name} has no setting {name!r}; it is one of {', '.join(others)}")
    return unknown("setting", name, [spec.name for spec in settings(config)])


def build_method(recipe: Recipe, num_classes: int) -> Method:
    """The recipe's method with freshly drawn weights: the same seed always draws the same ones.

    `num_classes` is the number of labels, which the supervised reference and MCL's labelled form use. The global random
    state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return find_method(recipe.method.name)(recipe.method, recipe.encoder, recipe.views.view, num_classes)


def check_holdout_unseen(recipe: Recipe, split: str) -> None:
    """Refuse to evaluate on the hold-out a network that was trained on it."""
    if split == "holdout" and not recipe.data.holdout:
        raise InputError("this recipe trains on the hold-out too (holdout=False), which then says nothing; use --split test")


def with_parts(view: View, parts: dict[str, Any], name: str) -> View:
    """The view of a setting with some of its fields changed, as JSON has them: with lists for tuples."""
    known = [spec.name for spec in fields(View)]
    for part in parts:
        if part not in known:
            raise unknown(f"part of {name}", part, known)
    return dataclasses.replace(view, **{key: tuple(v) if isinstance(v, list) else v for key, v in parts.items()})
