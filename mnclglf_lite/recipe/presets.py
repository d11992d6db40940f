"""Presets: settings that go together, for every method.

    quick         two CPU cores, minutes: a slim ResNet, small heads, Muon, a first layer from the data; every method's
                  settings are the best of equally many trials (`benchmarks/experiments/trials.py`)
    standard      one GPU, 32x32: ResNet-18 with the CIFAR stem, 200 epochs, customary temperatures, SGD. With
                  optimiser="muon" the matrices are Muon's; what that does on a GPU is not measured yet
    as_released   MNCLGLF as its authors ran it: images enlarged to 224, ImageNet stem, temperature 1, weights 1 and 6
                  (the last, incomplete batch of an epoch is dropped: 195 steps where they have 196); and Fast-MoCo, whose
                  code theirs came from. No other method has it: see `presets_of`. Their table's other methods were
                  run at 224 pixels too, with settings that are only partly known

Here stands what holds for all methods, by image set ("" for all); what holds for one stands in its file, under `presets`.
The later of these layers wins: all; the method; the image set; the method on that image set. A variant may have a method's
layers of its own (`variant_presets`), which come after the method's.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ..core.errors import InputError, unknown
from ..methods.registry import METHODS, find_method, methods_with
from ..views.named_views import QUICK_VIEW, SMALL_IMAGE_VIEW, TOY_VIEW
from ..views.view import View
from .recipe import Recipe, layered

QUICK: dict[str, dict[str, Any]] = {
    "": {"view": QUICK_VIEW, "optimiser": "muon", "first_layer": "data", "lr": 0.3, "weight_decay": 1e-3},
    "toybox": {"width": 16, "view": TOY_VIEW, "queue": 2048},
}

STANDARD: dict[str, dict[str, Any]] = {
    "": {
        "width": 64,
        "blocks": (2, 2, 2, 2),
        "stem": "cifar",
        "view": SMALL_IMAGE_VIEW,
        "epochs": 200.0,
        "lr": 0.06,
        "nesterov": False,
        "warmup": 0.025,  # 5 epochs of 200, as in the authors' laboratory's table at native size
    },
    # Native 64 pixels; the max-pool stem and the longer queue are those of the same laboratory's table.
    "tinyimagenet": {"stem": "pool", "view": dataclasses.replace(SMALL_IMAGE_VIEW, size=64), "queue": 16384},
}

AS_RELEASED: dict[str, dict[str, Any]] = {
    "": {
        "width": 64,
        "blocks": (2, 2, 2, 2),
        "stem": "imagenet",
        "view": View(size=224, interpolation="bicubic"),
        "eval_size": 224,
        "projector": (2048, 2048, 2048),
        "predictor_hidden": 512,
        "temperature": 1.0,
        "head_norm_start": "uniform",
        "ema": 0.99,
        "epochs": 200.0,
        "lr": 0.1,
        "nesterov": False,
        "weight_decay": 1e-4,
        "decay_bias_and_norm": True,
        "warmup": 0.0,
        "clip_grad_norm": 1.0,
        "predictor_lr": "constant",
        "precision": "fp32",
        "holdout": False,
        "seed": 233,
    }
}

SAME = {"toybox-v1": "toybox"}  # image sets that share another's settings
PRESETS = {"quick": QUICK, "standard": STANDARD, "as_released": AS_RELEASED}


def presets_of(method: str) -> list[str]:
    """The presets that a method has: all for those whose released recipe stands in their file, else not `as_released`."""
    return [name for name in PRESETS if name != "as_released" or name in find_method(method).presets]


def preset(name: str = "quick", method: str = "mnclglf", dataset: str = "toybox", **changes: Any) -> Recipe:
    """The recipe of a preset for one method and image set, with `changes` on top.

    Raises `InputError` for a name that is not known, and for a change of a setting that the method does not have.

    >>> preset("quick", "simclr", "cifar10", steps=100).method.temperature
    0.15
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    if name not in presets_of(method):
        having = " and ".join(other for other in METHODS if name in presets_of(other))
        raise InputError(f"{name} is for {having} alone; for {method} take standard")
    if name == "as_released" and changes.get("optimiser", "sgd") != "sgd":
        raise InputError("as_released is trained by SGD, as its authors did; for Muon choose quick or standard")
    kind, frame = find_method(method), PRESETS[name]
    known = kind.Config.settings()
    owns = [kind.presets.get(name, {})]
    for variant, layers in kind.variant_presets.items():
        if all(changes.get(key) == value for key, value in kind.variants[variant].items()):
            owns.append(layers.get(name, {}))

    def read(layer: dict[str, Any]) -> dict[str, Any]:
        """A frame speaks for all methods, so it names settings that this one may lack; who else does so is told."""
        return {key: value for key, value in layer.items() if key in known or not methods_with(key)}

    values: dict[str, Any] = {"dataset": dataset}
    for part in ("", SAME.get(dataset, dataset)):
        values |= read(frame.get(part, {}))
        for own in owns:
            values |= own.get(part, {})
    return Recipe.of(kind.Config, **layered(values, changes))
