"""Predict first: nothing is chosen beforehand, and what is revealed depends on the guess."""

import pytest

from mnclglf_lite.core.errors import InputError

pytest.importorskip("ipywidgets")

from mnclglf_lite.course.predict import Predict


@pytest.fixture
def guess():
    return Predict("Which way does an apple go, " + "on and on, " * 12 + "once it is let go?", ["up", "down"])


@pytest.mark.parametrize(
    "chosen, said",
    [
        (None, "You made no guess. The answer: down. Why: it is heavy"),
        ("down", "You said: down. So it is. Why: it is heavy"),
        ("up", "You said: up. The answer: down. Why: it is heavy"),
    ],
)
def test_what_is_revealed(guess, chosen, said, capsys):
    guess.buttons.value = chosen
    guess.reveal("down", "it is heavy")
    assert capsys.readouterr().out == said + "\n"


def test_no_answer_is_chosen_beforehand(guess):
    assert guess.guess is None


def test_the_right_answer_is_one_of_those_offered(guess):
    with pytest.raises(InputError, match="unknown answer"):
        guess.reveal("sideways", "wind")


def test_the_question_stands_in_the_file_for_those_without_widgets(guess):
    lines = guess._repr_mimebundle_()["text/plain"].splitlines()
    assert max(map(len, lines)) <= 100 and lines[-2:] == ["  ( ) up", "  ( ) down"]
    assert " ".join(lines[:-2]).startswith("Predict first. Which way")
