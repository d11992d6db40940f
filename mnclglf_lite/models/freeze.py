"""Networks that do not train: gradients off for good (a target network), or eval mode for a while (evaluation)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from torch import Tensor, nn


def freeze(module: nn.Module) -> nn.Module:
    """The same module with gradients off for good: for a target network, which moves by averaging alone."""
    return module.requires_grad_(False)


Encoder = Callable[[Tensor], Tensor]


@contextlib.contextmanager
def eval_mode(encoder: Encoder) -> Iterator[None]:
    """Eval mode inside, every submodule's own mode again outside."""
    modules = list(encoder.modules()) if isinstance(encoder, nn.Module) else []
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
