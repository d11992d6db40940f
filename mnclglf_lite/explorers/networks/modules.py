"""Which modules of a method are its networks, which are built alike, by which doors they are entered, and who follows whom.

Nothing here knows a method by name: lists are opened, and so is whatever holds the backbone together with something else,
since the backbone is the network that is evaluated, and whatever is built like that (its target network).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ...methods.base import Method

FITS = 0.02  # of a target network's way, what a moving average may leave unexplained (ours; rounding leaves far less)


def networks_of(method: Method) -> dict[str, nn.Module]:
    """The networks and memories that a method is made of, by path, in the order in which it made them."""
    backbone = method.backbone
    around = [m for m in method.modules() if m is not backbone and any(part is backbone for part in m.modules())]
    opened = {id(m) for m in method.modules() for other in around if m is not backbone and same_architecture(m, other)}

    def walk(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
        if not path or id(module) in opened or isinstance(module, (nn.ModuleList, nn.ModuleDict)):
            for name, child in module.named_children():
                yield from walk(child, f"{path}.{name}" if path else name)
        else:
            yield path, module

    return dict(walk(method, ""))


def same_architecture(one: nn.Module, other: nn.Module) -> bool:
    """Built alike: of one type, with parameters of the same names and shapes."""
    if one is other:
        return True
    shapes = [[(name, p.shape) for name, p in module.named_parameters()] for module in (one, other)]
    return type(one) is type(other) and shapes[0] == shapes[1]


def short_name(module: nn.Module) -> str:
    """A module in a word or two."""
    if not isinstance(module, (nn.Sequential, nn.Linear)):
        return type(module).__name__
    layers = [m for m in module.modules() if isinstance(m, nn.Linear)]
    plain = (nn.Sequential, nn.Linear, nn.ReLU, nn.modules.batchnorm._BatchNorm)
    if layers and all(isinstance(m, plain) for m in module.modules()):
        return "linear " + " - ".join(str(n) for n in (layers[0].in_features, *(m.out_features for m in layers)))
    first, *more = [type(m).__name__ for m in module.children()] or ["empty"]
    return f"{first} and {len(more)} more" if more else first


def entry_points(module: nn.Module) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The functions by which a module can be entered: `forward`, and its class's own ones (`maps`, `nearest`, `push`)."""
    seen = set()
    for kind in type(module).__mro__:
        if kind is nn.Module:
            return
        for name, function in vars(kind).items():
            if not name.startswith("_") and inspect.isfunction(function) and name not in seen:
                seen.add(name)
                yield name, function


def buffer_of(module: nn.Module) -> Tensor | None:
    """What a memory holds: the largest buffer of a module without parameters; None for all others.

    torch's own layers are none: what a BatchNorm keeps are statistics of what it was given.
    """
    buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point() and buffer.ndim]
    memory = buffers and not type(module).__module__.startswith("torch.") and not any(True for _ in module.parameters())
    return max(buffers, key=Tensor.numel) if memory else None


def weights(module: nn.Module) -> Tensor:
    """All parameters of a network in one row of float64, a copy."""
    parts = [p.detach().double().flatten() for p in module.parameters()]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.double)


def find_ema_source(path: str, before: dict[str, Tensor], modules: dict[str, nn.Module]) -> tuple[str, float] | None:
    """Which other network one has moved towards since `before`, and what share of itself it kept. None where it stood still.

    Its weights w have become m w + (1 - m) o, where o are those of the other: m is found by least squares, and it must fit.
    """
    moved = weights(modules[path]) - before[path]
    if not moved.numel() or not moved.any():
        return None
    for other, module in modules.items():
        if other != path and same_architecture(module, modules[path]):
            way = before[other] - before[path]
            share = float(moved @ way / (way @ way).clamp_min(1e-30))
            if (moved - share * way).norm() <= FITS * moved.norm():
                return other, 1 - share
    return None
