"""Learn contrastive self-supervised learning by doing it: global and local views, several networks, one frame.

    images --> views --> networks --> loss --> measure --> look

    import mnclglf_lite as ml

    splits = ml.load_dataset("toybox")                         # images as uint8 tensors: train, holdout, test
    recipe = ml.preset("quick", "simclr", "toybox")            # every setting of a run
    run = ml.train(recipe, splits, out="runs/simclr")          # stop it whenever you like; resume=True goes on
    result = ml.evaluate(run.backbone, splits)                 # kNN, linear probe, collapse measures
    run = ml.load_run("runs/simclr")                           # later

    load_dataset        the toy box, CIFAR-10, CIFAR-100, TinyImageNet, or a folder of images
    preset, Recipe      settings that go together; all settings of a run
    train, load_run     the training loop; a run from its folder
    evaluate, compare   one encoder under every protocol; several methods and seeds side by side
    Method              what every method promises; `register_method` adds one of your own
    doctor              what is installed, what will work and what won't

These names are loaded when they are first used and need torch, torchvision and numpy alone. Notebooks and the eight
explorers are in `course` and `explorers`; the other packages are listed in the README's map.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .core.version import __version__

if TYPE_CHECKING:
    from .cli.doctor import doctor
    from .data.dataset import load_dataset
    from .evaluation.evaluate import evaluate
    from .methods.base import Method
    from .methods.registry import register_method
    from .recipe.presets import preset
    from .recipe.recipe import Recipe
    from .results.compare import compare
    from .training.run import load_run
    from .training.train import train


__all__ = [
    "Method", "Recipe", "compare", "doctor", "evaluate", "load_dataset", "load_run", "preset", "register_method", "train",
    "__version__",
]  # fmt: skip
_HOMES = {
    "Method": "methods.base", "Recipe": "recipe.recipe", "compare": "results.compare", "doctor": "cli.doctor",
    "evaluate": "evaluation.evaluate", "load_dataset": "data.dataset", "load_run": "training.run",
    "preset": "recipe.presets", "register_method": "methods.registry", "train": "training.train",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value  # the next time without asking
    return value


def __dir__() -> list[str]:
    return list(__all__)
