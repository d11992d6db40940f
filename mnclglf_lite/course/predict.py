"""Predict first: a question that is answered before the result is shown. A guess, right or wrong, makes the result stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets

from ..core.errors import unknown
from .checks import fitted, say


class Predict(ipywidgets.VBox):
    """A question with answers to choose from; nothing is marked until `reveal`.

    >>> guess = Predict("Which way does it go?", ["up", "down"])
    >>> guess.reveal("down", "it is heavy")
    You made no guess. The answer: down. Why: it is heavy
    """

    def __init__(self, question: str, answers: Sequence[str]):
        self.question, self.answers = question, tuple(answers)
        # no answer is chosen beforehand: the first one would be everybody's guess
        self.buttons = ipywidgets.RadioButtons(options=self.answers, value=None, layout={"width": "auto"})
        head = ipywidgets.HTML(value=f"<b>Predict first.</b> {question}")
        super().__init__([head, self.buttons])

    @property
    def guess(self) -> str | None:
        """What was chosen, or None."""
        return self.buttons.value

    def reveal(self, truth: str, why: str) -> None:
        """Hold the guess against what came out, and say why."""
        if truth not in self.answers:
            raise unknown("answer", truth, self.answers)
        if self.guess is None:
            say(f"You made no guess. The answer: {truth}. Why: {why}")
        elif self.guess == truth:
            say(f"You said: {truth}. So it is. Why: {why}")
        else:
            say(f"You said: {self.guess}. The answer: {truth}. Why: {why}")

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs)
        return {
            **bundle,
            "text/plain": fitted("Predict first. " + self.question) + "\n" + "\n".join(f"  ( ) {a}" for a in self.answers),
        }
