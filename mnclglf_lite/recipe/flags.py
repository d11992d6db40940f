"""Command-line flags made from recipes: one for each setting that the chosen methods read, with unit, default and source.

told = choose(["--method", "simclr", "--preset", "standard"])   # what decides which flags there are
add_recipe_flags(parser, presets_for(told))                     # in groups: data, views, encoder, simclr's own, optimiser
recipe_from(parser.parse_args())                                # the preset with the given flags on top
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ..core.errors import InputError
from ..core.text import number
from ..methods.knobs import MethodConfig
from ..methods.registry import METHODS, find_method, methods_with, variant
from ..models.encoder import EncoderConfig
from ..views.view import View
from .presets import preset, presets_of
from .recipe import DataConfig, OptimConfig, Recipe, ViewsConfig, settings, value_of

PLAIN = {"method", "dataset"}  # named by the commands themselves
COMMON = {"seed", "width", "batch_size", "epochs", "steps", "optimiser", "lr", "view_size"}  # what help shows of any method
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


def flag_of(name: str) -> str:
    """A setting's flag: '--batch-size' for batch_size."""
    return "--" + name.replace("_", "-")


# ---- which flags there are


def choose(
    words: Sequence[str], parser: Callable[..., argparse.ArgumentParser] = argparse.ArgumentParser
) -> argparse.Namespace:
    """What decides which flags there are and what their defaults are, out of a command's words."""
    first = parser(add_help=False, allow_abbrev=False)
    for name in ("method", "methods", "preset", "dataset", "recipe"):
        first.add_argument(f"--{name}")
    return first.parse_known_args(list(words))[0]


def presets_for(told: argparse.Namespace, names: Sequence[str] = ()) -> dict[str, Recipe]:
    """The recipe of the chosen preset for each method or variant of it, by name; by default for the one method chosen."""
    found = {}
    for name in names or [told.method or "mnclglf"]:
        method, changes = variant(name)
        found[name] = preset(told.preset or "quick", method, told.dataset or "toybox", **changes)
    return found


def add_recipe_flags(parser: argparse.ArgumentParser, bases: Mapping[str, Recipe], without: Sequence[str] = ()) -> None:
    """One flag for each setting that a recipe of `bases` reads, and `--view-...` for the fields of its views, in groups.

    The help shows the recipes' values as defaults. What was given is read by `recipe_from`.
    """
    parser.set_defaults(bases=dict(bases), **dict.fromkeys(without))
    title = f"{next(iter(bases))}'s own" if len(bases) == 1 else "methods' own"
    sections = {
        "data": [*dataclasses.fields(DataConfig), *(spec for spec in dataclasses.fields(Recipe) if spec.name == "seed")],
        "views": dataclasses.fields(ViewsConfig),
        "encoder": dataclasses.fields(EncoderConfig),
        title: [spec for name, spec in all_settings().items() if methods_with(name)],
        "optimiser": dataclasses.fields(OptimConfig),
    }
    for title, specs in sections.items():
        group = parser.add_argument_group(title)
        for spec in specs:
            reading = {name: value_of(base, spec.name) for name, base in bases.items() if base.reads(spec.name)}
            if not reading or spec.name in PLAIN or spec.name in without:
                continue
            of = f"{', '.join(reading)}: " * (len(reading) < len(bases))
            named = {spec.name: (spec.default, spec.metadata["unit"], reading, spec.metadata["source"])}
            if isinstance(spec.default, View):
                named = {
                    f"{spec.name}_{inner}": (
                        getattr(spec.default, inner),
                        unit,
                        {k: getattr(v, inner) for k, v in reading.items()},
                        "",
                    )
                    for inner, unit in VIEW_UNITS.items()
                }
            for flag, (default, unit, values, source) in named.items():
                text = f"{of}{unit} (default: {_each(values)})" + f" [{source}]" * bool(source)
                action = group.add_argument(
                    flag_of(flag), help=text.replace("%", "%%"), **_kind(default, spec.metadata["choices"])
                )
                action.setting = spec.name


def hide_flags(parser: argparse.ArgumentParser, recipes: Sequence[Recipe], only: Collection[str] = ()) -> None:
    """Leave out of the help what has no effect in any of the recipes, and where `only` is given, settings of other names."""
    idle = set.intersection(*(recipe.unread() for recipe in recipes))
    for action in parser._actions:
        setting = getattr(action, "setting", None)
        if setting and (setting in idle or (only and action.dest not in only)):
            action.help = argparse.SUPPRESS


def _each(values: Mapping[str, Any]) -> str:
    """'0.2', or where methods differ, 'simclr 0.2, byol 0.1'."""
    shown = {name: written(value) for name, value in values.items()}
    if len(set(shown.values())) == 1:
        return next(iter(shown.values()))
    return ", ".join(f"{name} {value}" for name, value in shown.items())


def written(value: Any) -> str:
    """A setting's value in words: '256 128', 'on', 'none'."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(written, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _kind(default: Any, choices: Sequence[str]) -> dict[str, Any]:
    """How argparse is to read a value of a default's kind; choices are checked by the setting, which names the nearest."""
    if isinstance(default, bool):
        return {"default": None, "action": argparse.BooleanOptionalAction}
    first = (*default, 8)[0] if isinstance(default, tuple) else default  # of an empty one: whole numbers
    name = "{" + ",".join(choices) + "}" if choices else type(first).__name__.upper()
    read = str if isinstance(first, str) else number(type(first), first or 2)
    return {"default": None, "type": read, "metavar": name} | ({"nargs": "+"} if isinstance(default, tuple) else {})


# ---- what the flags say


def recipe_from(args: argparse.Namespace, name: str = "", **changes: Any) -> Recipe:
    """The recipe under `name` of `add_recipe_flags` (by default its only one) with the given flags and `changes` on top.

    Of several recipes, a flag holds for those that read it. Raises `InputError` for a flag of no effect.
    """
    name = name or next(iter(args.bases))
    base, given = args.bases[name], {}
    for spec in settings(type(base.method)):
        if spec.name in PLAIN:
            continue
        if isinstance(spec.default, View):
            parts = {f.name: getattr(args, f"{spec.name}_{f.name}", None) for f in dataclasses.fields(View)}
            given[spec.name] = {key: _tuple(value) for key, value in parts.items() if value is not None}
        else:
            given[spec.name] = _tuple(getattr(args, spec.name, None))
    given = {key: value for key, value in given.items() if value not in (None, {})} | changes
    told = {key: given[key] for key in _of_variants(base.method.name) if key in given}
    if told and not getattr(args, "recipe", None):  # a preset may depend on them
        base = preset(args.preset or "quick", base.method.name, base.data.dataset, **variant(name)[1] | told)
    if getattr(args, "dataset", None):
        given["dataset"] = args.dataset
    views = {key: value for key, value in given.items() if isinstance(value, dict)}
    asked = base.replace(**given | {key: dataclasses.replace(value_of(base, key), **parts) for key, parts in views.items()})
    if idle := sorted(asked.unread() & set(views)):
        flags = " ".join(flag_of(f"{idle[0]}_{key}") for key in views[idle[0]])
        raise InputError(f"{flags} has no effect where there are no small views; give --small-views too")
    return asked


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def recipe_of_words(words: Sequence[str]) -> Recipe:
    """The recipe that the words after `mnclglf-lite train` make; the inverse of `words_of`."""
    told, parser = choose(words), argparse.ArgumentParser(allow_abbrev=False)
    for name in ("method", "preset", "dataset"):
        parser.add_argument(f"--{name}")
    add_recipe_flags(parser, presets_for(told))
    return recipe_from(parser.parse_args(list(words)))


def _of_variants(method: str) -> set[str]:
    """The settings that a method's variants change: a preset may depend on them."""
    return set().union(*find_method(method).variants.values())


def words_of(recipe: Recipe) -> list[str]:
    """The words after `mnclglf-lite train` that make this recipe: where it differs from the nearest preset."""
    method, dataset = recipe.method.name, recipe.data.dataset
    chosen = {name: value_of(recipe, name) for name in _of_variants(method)}
    bases = {key: preset(key, method, dataset, **chosen) for key in presets_of(method)}
    nearest = min(bases, key=lambda key: len(bases[key].differences(recipe)))
    found = ["--method", method, "--dataset", dataset]
    found += ["--preset", nearest] if nearest != "quick" else []
    plain = preset(nearest, method, dataset)
    for spec in settings(type(recipe.method)):
        name = spec.name
        if name in PLAIN | recipe.unread():
            continue
        mine = value_of(recipe, name)
        base = value_of(plain if name in chosen else bases[nearest], name)
        if isinstance(mine, View):
            for inner in dataclasses.fields(View):
                found += _words(f"{name}_{inner.name}", getattr(mine, inner.name), getattr(base, inner.name))
        else:
            found += _words(name, mine, base)
    return found


def _words(name: str, value: Any, base: Any) -> list[str]:
    if value == base:
        return []
    if isinstance(value, bool):
        return [flag_of(name if value else f"no_{name}")]
    return [flag_of(name), *map(str, value if isinstance(value, tuple) else [value])]
