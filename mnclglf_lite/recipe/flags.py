"""Command-line flags made from the recipe: every setting has one, with its unit, its source and each preset's value."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from ..methods.knobs import MethodConfig
from ..methods.registry import METHODS, find_method, methods_with
from ..views.view import View
from .presets import preset, presets_of
from .recipe import Recipe, settings, value_of

PLAIN = {"method", "dataset"}  # named by the commands themselves
VIEW_UNITS = {
    "size": "side, pixels",
    "scale": "lowest and highest share of the image's area",
    "ratio": "lowest and highest width / height",
    "flip_p": "probability of a mirrored view",
    "jitter": "strengths of brightness, contrast, saturation, hue",
    "jitter_p": "probability of the jitter",
    "gray_p": "probability of no colour",
    "blur_p": "probability of a blur",
    "blur_sigma": "lowest and highest width of the blur, pixels",
    "solarize_p": "probability of inverted light parts",
    "invert_p": "probability of the negative image",
    "interpolation": "bilinear or bicubic",
    "source_region": "part of the image that crops come from: top, left, height, width as shares",
}


def all_settings() -> dict[str, dataclasses.Field[Any]]:
    """Every setting that any method has, by name: those that all read, then methods' own."""
    found = {spec.name: spec for method in METHODS.values() for spec in settings(method.Config)}
    shared = {spec.name for spec in settings(MethodConfig)}
    own = {name: spec for name, spec in found.items() if name not in shared}
    return {name: spec for name, spec in found.items() if name in shared} | own


def _values(bases: dict[str, Recipe], name: str, inner: str | None = None) -> str:
    """'32, standard 64': quick's value first, then that of each preset that differs. `bases`: a recipe for each preset."""
    values = {}
    for key, base in bases.items():
        value = value_of(base, name)
        values[key] = getattr(value, inner) if inner else value
    quick = values.pop("quick")
    return ", ".join([str(quick), *(f"{key} {value}" for key, value in values.items() if value != quick)])


def _add(parser: argparse._ArgumentGroup, flag: str, default: Any, text: str, choices: tuple[str, ...] = ()) -> None:
    text = text.replace("%", "%%")
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
    """One flag for each setting of any method, and `--view-...`, `--small-view-...`, `--teacher-view-...` for the views'."""
    parser.set_defaults(**dict.fromkeys(without))
    group = parser.add_argument_group("recipe (default: what the preset says; shown are quick's values on the toy box)")
    shown: dict[str, dict[str, Recipe]] = {}  # by method, by preset
    for name, spec in all_settings().items():
        if name in PLAIN or name in without:
            continue
        flag, unit, having = "--" + name.replace("_", "-"), spec.metadata["unit"], methods_with(name)
        method = "mnclglf" if "mnclglf" in having or not having else having[0]  # whose values the help shows
        if method not in shown:
            shown[method] = {key: preset(key, method) for key in presets_of(method)}
        of = f" ({', '.join(having)})" if having else ""
        if isinstance(spec.default, View):
            for inner in dataclasses.fields(View):
                text = f"{unit}{of}: {VIEW_UNITS[inner.name]} ({_values(shown[method], name, inner.name)})"
                _add(group, f"{flag}-{inner.name.replace('_', '-')}", inner.default, text)
        else:
            text = f"{unit}{of} ({_values(shown[method], name)}) [{spec.metadata['source']}]"
            _add(group, flag, spec.default, text, spec.metadata["choices"])


def _of_variants(method: str) -> set[str]:
    """The settings that a method's variants change: a preset may depend on them."""
    return set().union(*find_method(method).variants.values())


def recipe_from(args: argparse.Namespace, method: str, others: tuple[str, ...] = (), **changes: Any) -> Recipe:
    """The preset's recipe with the given flags on top.

    A flag that the method does not read raises `InputError`, unless one of the `others` (of a comparison) reads it.
    """
    told = {name: getattr(args, name, None) for name in _of_variants(method)}
    recipe = preset(args.preset, method, args.dataset, **{k: v for k, v in told.items() if v is not None} | changes)
    for name, spec in all_settings().items():
        value = getattr(args, name, None)
        if isinstance(spec.default, View):
            given = {f.name: getattr(args, f"{name}_{f.name}") for f in dataclasses.fields(View)}
            given = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items() if v is not None}
            base = value_of(recipe, name) if recipe.reads(name) else spec.default
            value = dataclasses.replace(base, **given) if given else None
        if name in PLAIN or value is None:
            continue
        if recipe.reads(name) or not set(others) & set(methods_with(name)):
            changes.setdefault(name, tuple(value) if isinstance(value, list) else value)
    return recipe.replace(**changes)


def words(recipe: Recipe) -> list[str]:
    """The words after `mnclglf-lite train` that make this recipe: where it differs from the nearest preset."""
    method, dataset = recipe.method.name, recipe.data.dataset
    chosen = {name: value_of(recipe, name) for name in _of_variants(method)}
    bases = {key: preset(key, method, dataset, **chosen) for key in presets_of(method)}
    nearest = min(bases, key=lambda key: len(bases[key].differences(recipe)))
    found = ["--method", method, "--dataset", dataset]
    found += ["--preset", nearest] if nearest != "quick" else []
    plain = preset(nearest, method, dataset)
    for name in all_settings():
        if name in PLAIN or not recipe.reads(name):
            continue
        mine, flag = value_of(recipe, name), name.replace("_", "-")
        base = value_of(plain if name in chosen else bases[nearest], name)
        if isinstance(mine, View):
            for inner in dataclasses.fields(View):
                values = getattr(mine, inner.name), getattr(base, inner.name)
                found += _words(f"{flag}-{inner.name.replace('_', '-')}", *values)
        else:
            found += _words(flag, mine, base)
    return found


def _words(flag: str, value: Any, base: Any) -> list[str]:
    if value == base:
        return []
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", *map(str, value if isinstance(value, tuple) else [value])]
