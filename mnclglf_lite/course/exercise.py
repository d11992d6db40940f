"""What an exercise is: a reference, the cases and properties that an answer must meet, known mistakes, and three hints.

`checks` puts answers to it; `exercises/eNN.py` holds those of notebook NN.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Case:
    """A call that an answer must get right. `expected` is worked by hand; where it is None, the reference is asked.

    Where arguments cannot be copied, or an answer is judged by what it does to them (networks, graphs), `args` is () and
    `call` makes them, asks the answer, and gives back what is to be compared; None says that nothing was done.
    """

    what: str  # in words, such as "two pictures, worked out in the text"
    args: tuple[Any, ...]
    expected: Any = None
    call: Callable[[Any], Any] | None = None

    def put_to(self, answer: Any, args: tuple[Any, ...]) -> Any:
        return self.call(answer) if self.call else answer(*args)

    def wanted(self, reference: Any) -> Any:
        return self.expected if self.expected is not None else self.put_to(reference, copy.deepcopy(self.args))


@dataclass(frozen=True)
class Property:
    """What must hold of an answer beside its values, such as "no gradient reaches the target"."""

    broken: str  # said where it does not hold
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class KnownMistake:
    """A typical wrong answer, and what to say to it."""

    answer: Any
    says: str


@dataclass(frozen=True)
class Exercise:
    """What is asked, and all that is known about answers to it.

    An answer is a function; or, where `value` is true, a value that has to keep the rules, and the reference makes one.
    """

    goal: str
    reference: Any
    trials: Sequence[Case]
    slips: Sequence[KnownMistake]
    hints: tuple[str, str, str]  # the idea, the formula, the shapes
    difficulty: int  # 1 to 3
    minutes: int
    rules: Sequence[Property] = ()
    home: str = ""  # where the package keeps it; for a reference of the package itself: found by itself
    draw: Callable[[Any], Image] | None = None  # a picture of the last trial's result, or of the value
    value: bool = False


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Random numbers, always the same."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rows(n: int, d: int, seed: int) -> Tensor:
    """Random embeddings (N, D) of different lengths, so that a missing normalisation shows."""
    return noise(n, d, seed=seed) * torch.arange(1, n + 1)[:, None]
