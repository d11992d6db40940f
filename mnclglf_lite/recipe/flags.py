"""Command-line flags made from the recipe: every knob has one, with its unit, its source and each preset's value."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from ..views.view import View
from .recipe import PRESETS, VIEWS, Recipe, preset

PLAIN = {"method", "dataset"}  # named by the commands themselves
VIEW_UNITS = {
    "size": "side, pixels",
    "scale": "lowest and highest share of the picture's area",
    "ratio": "lowest and highest width / height",
    "flip": "probability of a mirrored view",
    "jitter": "strengths of brightness, contrast, saturation, hue",
    "jitter_p": "probability of the jitter",
    "gray": "probability of no colour",
    "blur": "probability of a blur",
    "blur_sigma": "lowest and highest width of the blur, pixels",
    "solarize": "probability of inverted light parts",
    "filter": "bilinear or bicubic",
    "region": "part of the picture that crops come from: top, left, height, width as shares",
}


def _of_presets(name: str, inner: str | None = None) -> str:
    """'32, standard 64': quick's value for MNCLGLF first, then each preset that differs."""
    values = {}
    for key in PRESETS:
        value = getattr(preset(key), name)
        values[key] = getattr(value, inner) if inner else value
    quick = values.pop("quick")
    return ", ".join([str(quick), *(f"{key} {value}" for key, value in values.items() if value != quick)])


def _add(parser: argparse._ArgumentGroup, flag: str, default: Any, text: str, choices: tuple[str, ...] = ()) -> None:
    if isinstance(default, bool):
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
    elif isinstance(default, tuple):
        kind = type(default[0]) if default else int
        parser.add_argument(flag, nargs="+", type=kind, default=None, metavar=kind.__name__.upper(), help=text)
    else:
        kind = type(default)
        extra = {"choices": choices} if choices else {"metavar": kind.__name__.upper()}
        parser.add_argument(flag, type=kind, default=None, help=text, **extra)


def add_recipe_flags(parser: argparse.ArgumentParser, without: tuple[str, ...] = ()) -> None:
    """One flag for each field of `Recipe`, and `--view-...`, `--local-view-...`, `--weak-view-...` for its views'."""
    parser.set_defaults(**dict.fromkeys(without))
    group = parser.add_argument_group(
        "recipe (default: what the preset says; shown are quick's values for mnclglf on the toy box)"
    )
    for spec in dataclasses.fields(Recipe):
        flag = "--" + spec.name.replace("_", "-")
        if spec.name in PLAIN or spec.name in without:
            continue
        if spec.name in VIEWS:
            for inner in dataclasses.fields(View):
                text = f"{spec.metadata['unit']}: {VIEW_UNITS[inner.name]} ({_of_presets(spec.name, inner.name)})"
                _add(group, f"{flag}-{inner.name.replace('_', '-')}", inner.default, text)
            continue
        text = f"{spec.metadata['unit']} ({_of_presets(spec.name)}) [{spec.metadata['source']}]"
        _add(group, flag, spec.default, text.replace("%", "%%"), spec.metadata["choices"])


def recipe_from(args: argparse.Namespace, method: str, **changes: Any) -> Recipe:
    """The preset's recipe with the given flags on top."""
    recipe = preset(args.preset, method, args.dataset)
    for spec in dataclasses.fields(Recipe):
        if spec.name in VIEWS:
            given = {f.name: getattr(args, f"{spec.name}_{f.name}") for f in dataclasses.fields(View)}
            given = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items() if v is not None}
            if given:
                changes[spec.name] = dataclasses.replace(getattr(recipe, spec.name), **given)
        elif spec.name not in PLAIN and getattr(args, spec.name) is not None:
            value = getattr(args, spec.name)
            changes.setdefault(spec.name, tuple(value) if isinstance(value, list) else value)
    return recipe.replace(**changes)


def words(recipe: Recipe) -> list[str]:
    """The words after `mnclglf-lite train` that make this recipe: where it differs from the nearest preset."""
    bases = {key: preset(key, recipe.method, recipe.dataset) for key in PRESETS}
    nearest = min(bases, key=lambda key: len(bases[key].differences(recipe)))
    found = ["--method", recipe.method, "--dataset", recipe.dataset]
    found += ["--preset", nearest] if nearest != "quick" else []
    for spec in dataclasses.fields(Recipe):
        mine, base = getattr(recipe, spec.name), getattr(bases[nearest], spec.name)
        flag = spec.name.replace("_", "-")
        if spec.name in VIEWS:
            for inner in dataclasses.fields(View):
                values = getattr(mine, inner.name), getattr(base, inner.name)
                found += _words(f"{flag}-{inner.name.replace('_', '-')}", *values)
        elif spec.name not in PLAIN:
            found += _words(flag, mine, base)
    return found


def _words(flag: str, value: Any, base: Any) -> list[str]:
    if value == base:
        return []
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", *map(str, value if isinstance(value, tuple) else [value])]
