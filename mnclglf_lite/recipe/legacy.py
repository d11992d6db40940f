"""Records of older formats, read through one table; their bytes are never rewritten.

format 1 (no "format" key)   every recipe had every setting of every method, under other names
format 2                     a method's settings are its own
format 3                     "toybox" is the toy box's version 2; before, it was what is now "toybox-v1"
"""

from __future__ import annotations

from typing import Any

from ..core.errors import InputError
from ..methods.registry import METHODS

FORMAT = 3
RENAMED = {  # of format 1
    "sgd_momentum": "momentum",
    "momentum": "ema",
    "momentum_end": "ema_end",
    "batch": "batch_size",
    "clip": "clip_grad_norm",
    "decay_all": "decay_bias_and_norm",
    "norm_groups": "bn_splits",
    "shuffle": "shuffle_bn",
    "swap": "neighbour_swap",
    "networks": "num_networks",
    "local_views": "small_views",
    "local_view": "small_view",
    "weak_view": "teacher_view",
    "one_order": "same_order",
    "mutual": "losses",
    "base": "framework",
    "grow": "progressive_sizes",
    "test_size": "eval_size",
    "predictor": "predictor_hidden",
}
RENAMED_IN_VIEWS = {
    "flip": "flip_p",
    "gray": "gray_p",
    "blur": "blur_p",
    "solarize": "solarize_p",
    "filter": "interpolation",
    "region": "source_region",
}


def relative_flops(cost: dict[str, Any]) -> float:
    """A method's relative FLOPs as a record of its cost has them; format 1 called them forward units."""
    return cost["relative_flops"] if "relative_flops" in cost else cost["forward_units"]


def is_whole(data: dict[str, Any]) -> bool:
    """Whether a recipe's dictionary was written by a run, which names every setting; if not, by hand."""
    return "format" in data or "sgd_momentum" in data  # which every recipe of format 1 has


def upgrade(data: dict[str, Any]) -> dict[str, Any]:
    """A recipe's dictionary in today's format. Of format 1, settings that its method never read are left out."""
    if data.get("format", 1) > FORMAT:
        raise InputError(f"this recipe has format {data['format']}; this version reads up to {FORMAT}: update the package")
    found = dict(data) if "format" in data else _from_format_1(data)
    if found.get("dataset") == "toybox" and data.get("format", 1) < 3:
        found["dataset"] = "toybox-v1"
    return found | {"format": FORMAT}


def dataset_of(comparison: dict[str, Any]) -> str:
    """Today's name of the image set of a comparison (compare.json), which its recipes have in their own format."""
    names = {upgrade(entry["recipe"])["dataset"] for entry in comparison["rows"].values()}
    return names.pop() if len(names) == 1 else comparison["dataset"]


def _from_format_1(data: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, dict):
            value = {RENAMED_IN_VIEWS.get(key, key): entry for key, entry in value.items()}
        found[RENAMED.get(name, name)] = value
    method = found.get("method")
    if method in METHODS:
        unread = set().union(*(other.Config.settings() for other in METHODS.values())) - METHODS[method].Config.settings()
        found = {name: value for name, value in found.items() if name not in unread}
    return found
