"""A recipe from a file: a run's recipe.json, or a few settings written by hand as JSON or TOML.

preset = "quick"            # what is not named has the preset's value
method = "simclr"
dataset = "cifar10"
temperature = 0.2
view = { size = 24 }
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from ..methods.registry import variant
from ..views.view import View
from .legacy import is_whole
from .presets import preset
from .recipe import Recipe, value_of, with_parts


def read_recipe(path: str | Path) -> Recipe:
    """The recipe that a .json or .toml file describes. Raises `InputError` with the file's name for what it cannot be."""
    path = Path(path)
    try:
        return _from_values(_parsed(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _parsed(path: Path) -> dict[str, Any]:
    if path.suffix not in (".json", ".toml"):
        raise InputError("a recipe is a .json or .toml file, or the folder of a run")
    if not path.is_file():
        raise InputError("there is no such file")
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else importlib.import_module("tomllib").loads(text)
    except ModuleNotFoundError:  # Python 3.10
        raise InputError("TOML needs Python 3.11 or later; write the recipe as JSON") from None
    except ValueError as error:  # also of JSON, of TOML and of what is no text
        raise InputError(f"this is no {path.suffix[1:].upper()} ({error})") from None
    if not isinstance(values, dict):
        raise InputError(f"a recipe is a table of settings; got a {type(values).__name__}")
    return values


def _from_values(values: dict[str, Any]) -> Recipe:
    if is_whole(values):
        return Recipe.from_dict(values)
    name, changes = variant(values.pop("method", "mnclglf"))
    base = preset(values.pop("preset", "quick"), name, values.pop("dataset", "toybox"), **changes)
    for key, value in values.items():
        if isinstance(value, dict) and base.reads(key) and isinstance(view := value_of(base, key), View):
            values[key] = with_parts(view, value, key)
    return base.replace(**values)
