"""A recipe is one frozen object with every knob of a training run, its unit, and where its value comes from.

    paper     the paper's text or figure            release   the authors' code
    measured  found by our own runs                 ours      a choice without a source

Three presets, each for every method:

    quick         two CPU cores, minutes: a slim ResNet, small heads, rates for short runs
    standard      one GPU, 32x32: ResNet-18 with the CIFAR stem, 200 epochs, customary temperatures
    as_released   MNCLGLF as its authors ran it: pictures enlarged to 224, ImageNet stem, temperature 1, weights 1 and 6
                  (the last, incomplete batch of an epoch is dropped: 195 steps of theirs 196). Other methods get the same
                  frame, which is MNCLGLF's and not their own authors'
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field, fields
from typing import Any

from ..core.errors import InputError, unknown
from ..views.view import View

LEAST_SIDE = {"cifar": 4, "pool": 4, "imagenet": 8, "patch": 4}  # pixels (ours): smaller maps vanish
METHODS = [  # a list, since `methods.add` appends a learner's own
    "supervised", "simclr", "moco", "simsiam", "byol", "nnclr", "fastmoco", "mnclglf", "mcl", "cgh", "glnet",
]  # fmt: skip
# Names for a method with one thing changed, wherever methods are compared: name -> (method, changes to its recipe)
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "moco-oneway": ("moco", {"symmetric": False}),
    "mnclglf-released": ("mnclglf", {"local_gradient": False}),
    "mnclglf-crops": ("mnclglf", {"local": "crops"}),
    "mcl-one": ("mcl", {"networks": 1}),
    "mcl-labels": ("mcl", {"with_labels": True}),
    "ressl": ("cgh", {"context": "ressl"}),
    "cgh-same": ("cgh", {"context": "same"}),
    "glnet-before": ("glnet", {"flip_patches": "before"}),
}
VIEWS = ("view", "local_view", "weak_view")  # the fields that are views
MUTUAL = ("vcl", "icl", "soft_vcl", "soft_icl")
WITH_QUEUE = ("moco", "nnclr", "mnclglf", "mcl", "cgh")


def knob(default: Any, unit: str, source: str, choices: tuple[str, ...] = ()) -> Any:
    """A field that knows its unit and its source; the command line's help is made from these."""
    return field(default=default, metadata={"unit": unit, "source": source, "choices": choices})


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a run computes; two runs of one recipe on one machine end in the same weights.

    Checked on construction: an impossible combination raises `InputError` that names the field and what it should be.
    """

    method: str = knob("mnclglf", "name", "ours", METHODS)
    dataset: str = knob("toybox", "name", "ours")
    seed: int = knob(0, "whole number", "ours")
    holdout: bool = knob(True, "keep a tenth of train apart for choices", "ours")

    # networks
    width: int = knob(24, "channels of the first stage", "measured")
    blocks: tuple[int, ...] = knob((1, 1, 1), "basic blocks a stage", "measured")
    stem: str = knob("patch", "name", "measured", ("cifar", "pool", "imagenet", "patch"))
    projector: tuple[int, ...] = knob((256, 128), "layer widths, the last is the embedding size", "measured")
    projector_last_norm: bool = knob(True, "BatchNorm after the last layer too", "release")
    predictor: int = knob(128, "hidden width (simsiam, byol, nnclr, fastmoco, mnclglf, glnet)", "ours")
    networks: int = knob(2, "sets of weights: online and twins (mnclglf), or networks taught together (mcl)", "release")
    norm_groups: int = knob(1, "parts of the batch that each have BatchNorm statistics (moco, mcl, cgh)", "ours")

    # views
    view: View = knob(View(), "whole views", "release")
    grow: tuple[int, ...] = knob((), "pixels of whole views in equal shares of the steps; none: the view's size", "ours")
    test_size: int = knob(0, "pixels at which whole pictures are measured; 0: their own size", "ours")
    local_views: int = knob(0, "further small views, multi-crop (simclr, byol, mnclglf)", "ours; SwAV 6, DINO 8")
    weak_view: View = knob(
        View(jitter_p=0.0, gray=0.0, blur=0.0), "the teacher's views (cgh)", "release: crop and flip alone"
    )
    flip_patches: str = knob("after", "mirrored after the cut, or before it (glnet)", "release", ("after", "before"))
    one_order: bool = knob(True, "both views' montages shuffled alike (glnet)", "release")
    local: str = knob("grid", "what the local targets see (mnclglf)", "release", ("grid", "crops"))
    grid: int = knob(2, "cells a side; grid x grid local views (mnclglf)", "release")
    combine: int = knob(2, "patches averaged into one local embedding (mnclglf)", "release")
    local_view: View = knob(
        View(size=16, scale=(0.05, 0.4)), "small views: local_views, or where local is 'crops'", "ours, after DINO's scales"
    )

    # loss
    temperature: float = knob(0.2, "divides cosine similarities", "measured")
    local_weight: float = knob(1.0, "weight of L_GL (mnclglf)", "release")
    global_weight: float = knob(6.0, "weight of L_GG (mnclglf)", "release")
    local_gradient: bool = knob(True, "True: as drawn, False: as released (mnclglf)", "paper")
    swap: bool = knob(True, "momentum keys swapped for nearest neighbours (mnclglf)", "paper")
    queue: int = knob(4096, "embeddings (moco, nnclr, mnclglf, mcl, cgh)", "ours; MNCLGLF's release 16,384")
    momentum: float = knob(0.99, "of the moving average, at the start", "release")
    momentum_end: float = knob(0.0, "of the moving average, at the end, half a cosine; 0: constant (byol, glnet)", "paper")
    symmetric: bool = knob(True, "each view is the query once (moco)", "ours; paper one-way")
    shuffle: bool = knob(True, "keys computed in another order, so that BatchNorm tells nothing (moco, mcl, cgh)", "paper")
    mutual: tuple[str, ...] = knob(MUTUAL, "losses that are on (mcl)", "release")
    soft_temperature: float = knob(3.0, "of the two soft losses, which its square multiplies (mcl)", "release")
    with_labels: bool = knob(False, "the supervised form (mcl)", "release")
    context: str = knob(
        "cross",
        "who teaches whom: cross is CGH, ressl and same its controls (cgh)",
        "release; controls ours",
        ("cross", "same", "ressl"),
    )
    teacher_temperature: float = knob(0.04, "of the teacher's global distribution (cgh)", "release")
    hyper_temperatures: tuple[float, ...] = knob((0.08, 0.08), "hypercolumn: teacher's, student's (cgh)", "release")
    ramp: float = knob(0.025, "share of the steps over which InfoNCE gives way (cgh)", "release: 5 epochs of 200")
    location_weight: float = knob(0.117, "weight of the location loss (glnet)", "release, as a share of the mean-form loss")
    base: str = knob(
        "moco_v3", "what the montages train: a twin and predictor, or SimCLR (glnet)", "paper", ("moco_v3", "simclr")
    )

    # optimisation
    batch: int = knob(256, "pictures", "release")
    epochs: float = knob(10.0, "passes over the training pictures, where steps is 0", "ours")
    steps: int = knob(0, "optimiser steps; 0: from epochs", "ours")
    lr: float = knob(0.36, "SGD rate for 256 pictures; scaled by batch / 256", "measured")
    sgd_momentum: float = knob(0.9, "share", "release")
    nesterov: bool = knob(True, "look-ahead momentum", "measured")
    weight_decay: float = knob(5e-4, "L2", "measured")
    decay_all: bool = knob(False, "weight decay on biases and BatchNorm too", "ours; release yes")
    warmup: float = knob(0.05, "share of all steps with a rising rate", "measured")
    clip: float = knob(0.0, "largest gradient norm; 0: no limit", "ours; release 1")
    predictor_lr: str = knob("cosine", "schedule of the predictor's rate", "ours; release constant", ("cosine", "constant"))
    precision: str = knob("auto", "auto: bf16 where it is native, else fp32", "ours", ("auto", "fp32", "bf16"))

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown("method", self.method, METHODS)
        for spec in fields(self):
            choices, value = spec.metadata["choices"], getattr(self, spec.name)
            if choices and value not in choices:
                raise unknown(spec.name, value, choices)
        at_least = dict.fromkeys(("networks", "norm_groups", "grid", "combine", "queue", "width", "predictor"), 1)
        for name, least in {**at_least, "local_views": 0, "steps": 0, "test_size": 0, "batch": 2}.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}; got {getattr(self, name)}")
        for name in ("temperature", "lr", "soft_temperature", "teacher_temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be positive and finite; got {getattr(self, name)}")
        for name in ("projector", "blocks"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise InputError(f"{name} takes whole numbers of at least 1; got {getattr(self, name)}")
        if not 0 <= self.seed < 2**40:
            raise InputError(f"seed must be a whole number from 0 to {2**40 - 1}; got {self.seed}")
        for name in ("momentum", "sgd_momentum", "warmup", "ramp"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must lie in [0, 1); got {getattr(self, name)}")
        if not 0 <= self.momentum_end <= 1:
            raise InputError(f"momentum_end must lie in [0, 1]; got {self.momentum_end}")
        if len(self.hyper_temperatures) != 2 or not min(self.hyper_temperatures) > 0:
            raise InputError(f"hyper_temperatures takes two positive numbers; got {self.hyper_temperatures}")
        for name in self.mutual:
            if name not in MUTUAL:
                raise unknown("mutual loss", name, MUTUAL)
        for name in ("weight_decay", "clip", "local_weight", "global_weight", "location_weight"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must not be negative; got {getattr(self, name)}")
        if not self.steps and not 0 < self.epochs < math.inf:
            raise InputError(f"give epochs > 0 or steps > 0, finite; got epochs {self.epochs}, steps {self.steps}")
        if self.nesterov and not self.sgd_momentum:
            raise InputError("nesterov needs sgd_momentum > 0; set nesterov=False or sgd_momentum=0.9")
        cells = self.grid if (self.method, self.local) in (("mnclglf", "grid"), ("fastmoco", "grid")) else 1
        for size in (self.view.size, *self.grow):
            if size < LEAST_SIDE[self.stem] * cells:
                least = LEAST_SIDE[self.stem] * cells
                raise InputError(f"a view of {size} pixels is too small for this network; make it at least {least}")
            if size % cells:
                raise InputError(f"a view of {size} pixels does not divide into a {cells}x{cells} grid")
        if self.grow and self.method in ("glnet", "cgh"):
            raise InputError(f"grow changes the size of `view` alone, and {self.method} has other views that go with it")
        crops = (self.method, self.local) == ("mnclglf", "crops")
        for name, used in (("local_view", self.local_views or crops), ("weak_view", self.method == "cgh")):
            small, least = getattr(self, name).size, LEAST_SIDE[self.stem]
            if used and small < least:
                raise InputError(f"a {name} of {small} pixels is too small; make it at least {least}")
        if self.batch % self.norm_groups:
            raise InputError(f"a batch of {self.batch} does not divide into {self.norm_groups} norm_groups")
        if self.method in WITH_QUEUE and self.queue % self.batch:
            near = max(1, round(self.queue / self.batch)) * self.batch
            raise InputError(
                f"the queue ({self.queue}) must be a multiple of the batch ({self.batch}); the nearest is {near}"
            )
        if self.method in ("mnclglf", "fastmoco") and self.combine > self.grid**2:
            raise InputError(f"cannot combine {self.combine} of {self.grid**2} patches; make grid larger or combine smaller")

    def replace(self, **changes: Any) -> Recipe:
        """The same recipe with some fields changed, checked again. Unknown names raise, with the nearest ones named."""
        names = [spec.name for spec in fields(self)]
        for name in changes:
            if name not in names:
                raise unknown("recipe field", name, names)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` is its inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Recipe:
        names = [spec.name for spec in fields(cls)]
        for name in data:
            if name not in names:
                raise unknown("recipe field", name, names)
        return cls(**{name: _untuple(name, value) for name, value in data.items()})

    def differences(self, other: Recipe) -> list[str]:
        """One 'field: mine -> other' line for each field that differs."""
        mine, theirs = self.to_dict(), other.to_dict()
        return [f"{name}: {mine[name]} -> {theirs[name]}" for name in mine if mine[name] != theirs[name]]


def size_at(recipe: Recipe, step: int, total_steps: int) -> int:
    """Side in pixels of the whole views at a step: `grow` in equal shares of the steps, or the view's own."""
    if not recipe.grow:
        return recipe.view.size
    return recipe.grow[min(step * len(recipe.grow) // total_steps, len(recipe.grow) - 1)]


def _untuple(name: str, value: Any) -> Any:
    """JSON knows lists and dicts where a recipe has tuples and views."""
    if name in VIEWS and isinstance(value, dict):
        return View(**{key: tuple(v) if isinstance(v, list) else v for key, v in value.items()})
    return tuple(value) if isinstance(value, list) else value


# Blur is off and grey rarer than in the release: at 32 pixels both cost accuracy and time (SimCLR's CIFAR recipes agree).
SMALL_VIEW = View(gray=0.1, blur=0.0)
# The supervised reference's and, but for the crop, a weak teacher's: no colour changes.
PLAIN_VIEW = View(scale=(0.4, 1.0), jitter_p=0.0, gray=0.0, blur=0.0)
# Views of 24 pixels cost 0.56 of 32; in minutes the steps gained are worth more than the pixels (measured).
QUICK_VIEW = View(size=24, gray=0.1, blur=0.0)
WEAK_VIEW = View(size=24, jitter_p=0.0, gray=0.0, blur=0.0)
# A toy's colour says nothing, so views may change it wildly; crops keep most of the toy (measured).
TOY_VIEW = View(scale=(0.4, 1.0), jitter=(0.8, 0.8, 0.8, 0.5), gray=0.5, blur=0.0)

# Keys: "" for all, a method, an image set, or method@set; later ones win. Rates and temperatures are those of short runs.
QUICK: dict[str, dict[str, Any]] = {
    "": {"view": QUICK_VIEW},
    "simclr": {"temperature": 0.2, "lr": 0.36},
    "mnclglf": {"temperature": 0.1, "lr": 0.9, "batch": 128, "global_weight": 1.0, "momentum": 0.8},
    # chosen on CIFAR-10's hold-out among 0.18, 0.36 and 0.9, four temperatures each: benchmarks/results.md, ablation/choose
    "mnclglf@cifar10": {"lr": 0.36},
    "supervised": {"lr": 0.2, "view": View(size=24, scale=(0.4, 1.0), gray=0.1, blur=0.0)},
    # Small batches: in a run of minutes the number of steps counts for more than what each of them sees (measured). A twin
    # must be quick there: momentum 0.99 remembers a hundred steps.
    "moco": {"temperature": 0.1, "lr": 0.36, "batch": 64, "momentum": 0.95},
    "simsiam": {"projector": (256, 256), "lr": 1.8, "batch": 32, "weight_decay": 1e-4},
    "byol": {"projector_last_norm": False, "lr": 1.8, "batch": 64, "momentum": 0.9, "momentum_end": 1.0},
    "nnclr": {"temperature": 0.1, "lr": 0.72, "batch": 128, "queue": 2048},
    "fastmoco": {"temperature": 0.1, "lr": 0.9, "batch": 64, "momentum": 0.8},
    "mcl": {"temperature": 0.1, "lr": 0.18, "batch": 32, "momentum": 0.98},
    "cgh": {"temperature": 0.1, "lr": 0.36, "batch": 128, "momentum": 0.9, "ramp": 0.3, "weak_view": WEAK_VIEW},
    "glnet": {"temperature": 0.3, "lr": 0.72, "batch": 128, "momentum": 0.9},
    "toybox": {"width": 16, "view": TOY_VIEW, "queue": 2048},
    "supervised@toybox": {"batch": 128},
    # Without negatives the strong crops of the others leave too little in common to begin with (measured).
    "simsiam@toybox": {"view": dataclasses.replace(TOY_VIEW, scale=(0.6, 1.0))},
    "cgh@toybox": {"weak_view": PLAIN_VIEW},
}

STANDARD: dict[str, dict[str, Any]] = {
    "": {
        "width": 64,
        "blocks": (2, 2, 2, 2),
        "stem": "cifar",
        "view": SMALL_VIEW,
        "epochs": 200.0,
        "lr": 0.06,
        "nesterov": False,
        "warmup": 0.025,  # 5 epochs of 200, as in the authors' laboratory's table at native size
    },
    "simclr": {"projector": (512, 128), "projector_last_norm": False},
    # Eight parts of the batch with BatchNorm statistics of their own: MoCo's authors' CIFAR-10 notebook.
    "moco": {"projector": (512, 128), "projector_last_norm": False, "norm_groups": 8},
    "simsiam": {"projector": (2048, 2048, 2048), "predictor": 512, "predictor_lr": "constant"},
    "byol": {"projector": (1024, 256), "projector_last_norm": False, "predictor": 1024, "momentum_end": 1.0},
    "nnclr": {"projector": (2048, 2048, 256), "predictor": 4096},
    "fastmoco": {"projector": (2048, 2048, 2048), "predictor": 512},
    "mnclglf": {"projector": (2048, 2048, 2048), "predictor": 512, "queue": 16384},
    "mcl": {"projector": (128,), "projector_last_norm": False, "temperature": 0.1, "norm_groups": 8},
    "cgh": {"projector": (2048, 128), "projector_last_norm": False, "temperature": 0.1, "norm_groups": 8},
    "glnet": {"projector": (2048, 256), "predictor": 2048, "temperature": 0.3, "momentum_end": 1.0},
    "supervised": {"lr": 0.1, "view": PLAIN_VIEW},
    # Native 64 pixels; the max-pool stem and the longer queue are those of the same laboratory's table.
    "tinyimagenet": {"stem": "pool", "view": dataclasses.replace(SMALL_VIEW, size=64), "queue": 16384},
    "cgh@tinyimagenet": {"weak_view": dataclasses.replace(Recipe.weak_view, size=64)},
    "supervised@tinyimagenet": {"view": dataclasses.replace(PLAIN_VIEW, size=64)},
}

AS_RELEASED: dict[str, dict[str, Any]] = {
    "": {
        "width": 64,
        "blocks": (2, 2, 2, 2),
        "stem": "imagenet",
        "view": View(size=224, filter="bicubic"),
        "test_size": 224,
        "projector": (2048, 2048, 2048),
        "predictor": 512,
        "temperature": 1.0,
        "queue": 16384,
        "momentum": 0.99,
        "epochs": 200.0,
        "lr": 0.1,
        "nesterov": False,
        "weight_decay": 1e-4,
        "decay_all": True,
        "warmup": 0.0,
        "clip": 1.0,
        "predictor_lr": "constant",
        "local_gradient": False,
        "precision": "fp32",
        "holdout": False,
        "seed": 233,
    },
    "cgh": {"weak_view": dataclasses.replace(Recipe.weak_view, size=224)},
}

PRESETS = {"quick": QUICK, "standard": STANDARD, "as_released": AS_RELEASED}


def preset(name: str = "quick", method: str = "mnclglf", dataset: str = "toybox", **changes: Any) -> Recipe:
    """The recipe of a preset for one method and image set, with `changes` on top.

    >>> preset("quick", "simclr", "cifar10", steps=100).temperature
    0.2
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    values: dict[str, Any] = {}
    for key in ("", method, dataset, f"{method}@{dataset}"):
        values |= PRESETS[name].get(key, {})
    values |= {"method": method, "dataset": dataset, **changes}
    return Recipe().replace(**values)


def variant(name: str) -> tuple[str, dict[str, Any]]:
    """What a name stands for wherever methods are compared: the method, and the changes to its recipe.

    >>> variant("mnclglf-released")
    ('mnclglf', {'local_gradient': False})
    """
    if name not in METHODS and name not in VARIANTS:
        raise unknown("method", name, (*METHODS, *VARIANTS))
    return VARIANTS.get(name, (name, {}))


def check_holdout_unseen(recipe: Recipe, on: str) -> None:
    """Refuse to ask the hold-out of a network that was trained on it."""
    if on == "holdout" and not recipe.holdout:
        raise InputError("this recipe trains on the hold-out too (holdout=False), which then says nothing; use --on test")
