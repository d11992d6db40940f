"""Every method by name. A twelfth is one file and one line in `LINES`; `register_method` adds one of your own.

METHODS    name -> class, of the package and registered; read-only
VARIANTS   name -> (method, settings that differ), wherever methods are compared; read-only
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import Field, fields
from types import MappingProxyType
from typing import Any, TypeVar

from ..core.errors import InputError, unknown
from .base import Method

LINES = (  # file.Class, in the order of every table and menu
    "supervised.Supervised",
    "simclr.SimCLR",
    "moco.MoCo",
    "simsiam.SimSiam",
    "byol.BYOL",
    "nnclr.NNCLR",
    "fastmoco.FastMoCo",
    "mnclglf.MNCLGLF",
    "mcl.MCL",
    "cgh.CGH",
    "glnet.GLNet",
)


def _load(line: str) -> type[Method]:
    file, name = line.split(".")
    return getattr(importlib.import_module(f".{file}", __package__), name)


BUILT_IN = tuple(map(_load, LINES))  # the package's own, without what a learner has registered
_methods: dict[str, type[Method]] = {method.Config.name: method for method in BUILT_IN}
_variants: dict[str, tuple[str, dict[str, Any]]] = {
    variant: (method.Config.name, changes) for method in BUILT_IN for variant, changes in method.variants.items()
}
METHODS: Mapping[str, type[Method]] = MappingProxyType(_methods)
VARIANTS: Mapping[str, tuple[str, dict[str, Any]]] = MappingProxyType(_variants)
Kind = TypeVar("Kind", bound=type[Method])


def find_method(name: str) -> type[Method]:
    """The class of a method; `InputError` with the nearest names for one that is not known."""
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]


def variant(name: str) -> tuple[str, dict[str, Any]]:
    """What a name stands for wherever methods are compared: the method, and the settings that differ.

    >>> variant("mnclglf-released")
    ('mnclglf', {'local_gradient': False})
    """
    if name not in METHODS and name not in VARIANTS:
        raise unknown("method", name, (*METHODS, *VARIANTS))
    return VARIANTS.get(name, (name, {}))


def methods_with(setting: str) -> list[str]:
    """The methods that have a setting, in the registry's order."""
    return [name for name, method in METHODS.items() if setting in method.Config.settings()]


def register_method(method: Kind) -> Kind:
    """Make a method of your own known by its `Config.name`, until this process ends; also a class decorator.

    Recipes, training, evaluation, comparisons and the explorers then take it like any other. The same name may be registered
    anew, since a notebook's cell is run often; the package's own names are taken.

    >>> @register_method                                                            # doctest: +SKIP
    ... class AlignUniform(Method): ...
    """
    name = method.Config.name
    if not name:
        raise InputError(f'{method.__name__} needs a Config with a name of its own: class Config(...): name = "my-method"')
    declared = [spec for spec in fields(method.Config) if "unit" not in spec.metadata]
    if declared or any(isinstance(value, Field) for value in vars(method.Config).values()):
        raise InputError(
            f"{name}: declare each setting of its Config with knob(...), decorate the Config with @dataclass(frozen=True), "
            "and write its name without a type"
        )
    taken = {other.Config.name for other in BUILT_IN} | {v for v, (of, _) in _variants.items() if of != name}
    for each in (name, *method.variants):
        if each in taken or (each != name and each in _methods):
            raise InputError(f"{each!r} is a name that is taken; give your method another one")
    for each in [each for each, (of, _) in _variants.items() if of == name]:
        del _variants[each]
    _methods[name] = method
    _variants.update({each: (name, dict(changes)) for each, changes in method.variants.items()})
    return method
