"""Tensors in nested tuples, lists and dictionaries: all of them, or the same nest with each one changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor


def leaves(tree: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and dictionaries."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for part in tree:
            yield from leaves(part)
    elif isinstance(tree, dict):
        yield from leaves(list(tree.values()))


def mapped(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nest with every tensor changed."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):  # a named tuple takes its parts one by one
        return type(tree)(*(mapped(part, change) for part in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(mapped(part, change) for part in tree)
    return {key: mapped(part, change) for key, part in tree.items()} if isinstance(tree, dict) else tree
