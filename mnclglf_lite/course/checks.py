"""Exercise checks that know the typical mistakes: `check` says what is wrong, and a lesson never stops at a blank.

    nt_xent = check("02.3", nt_xent)      # yours where it is right, else the package's own, and it says which
    hint("02.3")                          # again and again: the idea, the formula, the shapes
    solution("02.3")                      # the source of the reference: code that runs
    progress("02")                        # which of a notebook's exercises pass

An exercise (`exercise.Exercise`) lives in `exercises/eNN.py`, where NN is its notebook. An answer is put to its cases (small
ones worked by hand, then random input), each compared with the reference; then to its properties (invariances, where
gradient must and must not reach); its arguments must come back unchanged. If it errs exactly as a known mistake does, that
mistake is named.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import pkgutil
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..core.errors import unknown
from .exercise import Exercise

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH = 100  # characters of a printed line; JupyterLab breaks longer ones in the middle of a word
TOLERANCE = 1e-5  # relative and absolute: float32 sums in another order differ by less (ours)


@dataclass(frozen=True)
class Outcome:
    """What came of an answer: a result for each trial until one failed, and the failure in words ("" for none)."""

    results: list[Any]
    failure: str
    kind: str = ""  # of the failure: "blank", "raised", "value", "changed" or "rule"


_passed: dict[str, bool] = {}
_hinted: dict[str, int] = {}


def notebooks() -> list[str]:
    """The notebooks that have exercises: "01", "02", ..."""
    from . import exercises as package

    return sorted(module.name[1:] for module in pkgutil.iter_modules(package.__path__))


def exercises(notebook: str) -> dict[str, Exercise]:
    """The exercises of a notebook ("02") by number ("02.3")."""
    if notebook not in notebooks():
        raise unknown("notebook with exercises", notebook, notebooks())
    return importlib.import_module(f".exercises.e{notebook}", __package__).EXERCISES


def find(number: str) -> Exercise:
    """The exercise of a number such as "02.3"."""
    found = exercises(str(number)[:2])
    if number not in found:
        raise unknown("exercise", number, found)
    return found[number]


def check(number: str, answer: Any) -> Any:
    """Say whether an answer is right, and what slipped where it is not. Returns it if it is, else the package's own."""
    exercise = find(number)
    outcome = examine(exercise, answer)
    _passed[number] = not outcome.failure
    if not outcome.failure:
        counts = {"trial": len(exercise.trials), "rule": len(exercise.rules)}
        stood = ", ".join(f"{count} {what}{'s' * (count > 1)}" for what, count in counts.items() if count)
        say(f"{number} ✓ right: {stood}. {where(exercise)}")
        if exercise.draw:
            show(exercise.draw(answer if exercise.value else outcome.results[-1]))
        return answer
    if outcome.kind == "blank" and not is_attempted(answer, outcome):
        say(f"{number} – your turn: {exercise.goal}")
    else:
        say(f"{number} ✗ {explain(exercise, answer, outcome)}")
        picture = drawn_apart(exercise, outcome)
        if picture is not None:
            show(picture)
    say(f"The lesson goes on with the package's own. hint({number!r}) helps, solution({number!r}) shows it.")
    return exercise.reference() if exercise.value else exercise.reference


def is_attempted(answer: Any, outcome: Outcome) -> bool:
    """Whether somebody has worked on a blank: code that uses a name, or gave something back once, is no blank any more."""
    return bool(outcome.results or getattr(getattr(inspect.unwrap(answer), "__code__", None), "co_names", ()))


def explain(exercise: Exercise, answer: Any, outcome: Outcome) -> str:
    """The message for a wrong answer: that of the slip which errs in just the same way, else what was seen."""
    for slip in exercise.slips:
        same = examine(exercise, slip.answer)
        if same.kind == outcome.kind and len(same.results) == len(outcome.results):
            alike = all(difference(a, b) == "" for a, b in zip(same.results, outcome.results, strict=True))
            if alike and (outcome.kind == "value" or same.failure == outcome.failure):
                return slip.says
    return outcome.failure


def examine(exercise: Exercise, answer: Any) -> Outcome:
    """Put an answer to all trials, then to all rules; stops at the first failure."""
    results: list[Any] = []
    if answer is None or answer is Ellipsis:
        return Outcome(results, "nothing is there yet", "blank")
    for trial in exercise.trials:
        given = copy.deepcopy(trial.args)
        try:
            came = trial.put_to(answer, given)
        except Exception as error:  # whatever a learner's code may raise
            return Outcome(results, f"{trial.what}: it raised {type(error).__name__}: {error}", "raised")
        if came is None or came is Ellipsis:
            return Outcome(results, "it gave nothing back: is a `return` missing?", "blank")
        results.append(came)
        expected = trial.wanted(exercise.reference)
        if wrong := difference(came, expected):
            return Outcome(results, f"{trial.what}: {wrong}", "value")
        if wrong := difference(given, trial.args):
            return Outcome(results, f"{trial.what}: it changed what it was given: {wrong}; work on a copy", "changed")
    for rule in exercise.rules:
        try:
            held = rule.holds(answer)
        except Exception as error:
            return Outcome(results, f"{rule.broken} (it raised {type(error).__name__}: {error})", "raised")
        if not held:
            return Outcome(results, rule.broken, "rule")
    return Outcome(results, "")


def difference(came: Any, expected: Any) -> str:
    """How two results differ, in words; "" where they agree."""
    if isinstance(came, Tensor) and isinstance(expected, (tuple, list, Mapping, str)):
        return f"got a tensor of shape {tuple(came.shape)}, expected {type_name(expected)}"
    if isinstance(expected, Tensor) or isinstance(came, Tensor):
        return tensor_difference(came, expected)
    if isinstance(expected, (bool, str)) or expected is None:
        return "" if came == expected else f"got {came!r}, expected {expected!r}"
    if isinstance(expected, (int, float)):
        near = isinstance(came, (int, float)) and abs(came - expected) <= TOLERANCE * (1 + abs(expected))
        return "" if near else f"got {came!r}, expected {expected:.6g}"
    if isinstance(expected, Mapping):
        if not isinstance(came, Mapping) or set(came) != set(expected):
            return f"got {sorted(came) if isinstance(came, Mapping) else type(came).__name__}, expected {sorted(expected)}"
        parts = {key: difference(came[key], expected[key]) for key in expected}
        return next((f"{key}: {wrong}" for key, wrong in parts.items() if wrong), "")
    if isinstance(expected, (tuple, list)):
        if not isinstance(came, (tuple, list)) or len(came) != len(expected):
            size = len(came) if isinstance(came, (tuple, list)) else type(came).__name__
            return f"got {size}, expected {len(expected)} values"
        parts = [difference(a, b) for a, b in zip(came, expected, strict=True)]
        return next((f"value {i}: {wrong}" for i, wrong in enumerate(parts) if wrong), "")
    return "" if came == expected else f"got {came!r}, expected {expected!r}"


def type_name(value: Any) -> str:
    """What kind of thing it is: "an int", "a tuple of 2 values"."""
    name = type(value).__name__
    size = f" of {len(value)} value{'s' * (len(value) != 1)}" if isinstance(value, (tuple, list, Mapping)) else ""
    return f"{'an' if name[0] in 'aeiou' or name == 'ndarray' else 'a'} {name}{size}"


def tensor_difference(came: Any, expected: Any) -> str:
    """As `difference`, where one of the two is a tensor: kind, shape, then the value that is farthest off."""
    if not isinstance(expected, Tensor):  # a number was worked by hand
        expected = torch.as_tensor(expected)
    if not isinstance(came, Tensor):
        if expected.ndim or not isinstance(came, (int, float)):
            return f"got {type_name(came)}, expected a tensor of shape {tuple(expected.shape)}"
        came = torch.as_tensor(came)
    came, expected = came.detach(), expected.detach()
    if came.shape != expected.shape:
        return f"got shape {tuple(came.shape)}, expected {tuple(expected.shape)}"
    if came.is_floating_point() != expected.is_floating_point():
        return f"got {came.dtype}, expected {expected.dtype}"
    if torch.allclose(came.double(), expected.double(), rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
        return ""
    off = (came.double() - expected.double()).abs().nan_to_num(nan=torch.inf)
    at = tuple(int(i) for i in torch.unravel_index(off.argmax(), off.shape))
    place = f" at {list(at)}" if at else ""
    return f"got {float(came[at]):.6g}{place}, expected {float(expected[at]):.6g}"


def drawn_apart(exercise: Exercise, outcome: Outcome) -> Image | None:
    """Expected and given side by side, where both are tables of numbers (up to two dimensions) of one shape."""
    if outcome.kind != "value":
        return None
    trial = exercise.trials[len(outcome.results) - 1]
    expected = trial.wanted(exercise.reference)
    came = outcome.results[-1]
    if not isinstance(expected, Tensor) or not isinstance(came, Tensor) or came.shape != expected.shape or came.ndim != 2:
        return None
    from ..drawing.heatmap import side_by_side

    return side_by_side(expected.detach(), came.detach(), ("expected", "yours"))


def where(exercise: Exercise) -> str:
    """Where the package keeps what was built."""
    reference = exercise.reference
    home = exercise.home or f"{getattr(reference, '__module__', '')}.{getattr(reference, '__qualname__', '')}"
    return f"The package keeps it in {home}." if "exercises" not in home else ""


def hint(number: str) -> None:
    """The next of three hints: the idea, the formula, the shapes."""
    exercise, step = find(number), _hinted.get(number, 0)
    _hinted[number] = min(step + 1, 2)
    say(f"{number}, hint {step + 1} of 3: {exercise.hints[step]}")


def solution(number: str) -> None:
    """The source of the reference: the very code that checks and lessons run."""
    print(textwrap.dedent(inspect.getsource(find(number).reference)).rstrip())


def progress(notebook: str) -> None:
    """A line that says which exercises of a notebook pass."""
    marks = [f"{number} {'✓' if _passed.get(number) else '·'}" for number in exercises(notebook)]
    count = sum(_passed.get(number, False) for number in exercises(notebook))
    print(f"{count} of {len(marks)} checks pass:  " + "   ".join(marks))


def fitted(text: str) -> str:
    """A text, its own lines kept, in lines that fit into a notebook."""
    return "\n".join(textwrap.fill(one, WIDTH, break_long_words=False, break_on_hyphens=False) for one in text.splitlines())


def say(text: str) -> None:
    """Print a text in lines that fit into a notebook."""
    print(fitted(text))


def show(picture: Image) -> None:
    """A picture below the cell; outside of IPython nothing."""
    if "IPython" in sys.modules:
        from IPython.display import display

        display(picture)
