"""Every exercise passes its reference, and fails its blank and each listed slip, that slip's own words included."""

import contextlib
import importlib
import re

import pytest
import torch

import mnclglf_lite
from mnclglf_lite import losses
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.course import checks

ALL = {number: one for notebook in checks.notebooks() for number, one in checks.exercises(notebook).items()}


def whole(said):
    """What was printed, without its line breaks."""
    return " ".join(said.split())


SLIPS = [(number, i) for number, one in ALL.items() for i in range(len(one.slips))]


@pytest.mark.parametrize("number", ALL)
def test_the_reference_is_right_and_comes_back(number, capsys):
    one = ALL[number]
    answer = one.reference() if one.value else one.reference
    assert checks.check(number, answer) is answer
    assert capsys.readouterr().out.startswith(f"{number} ✓ right")


@pytest.mark.parametrize(
    "blank", [None, ..., lambda *_: None, lambda *_: ...], ids=["None", "...", "gives None", "gives ..."]
)
@pytest.mark.parametrize("number", ALL)
def test_a_blank_falls_back_on_the_package_and_says_so(number, blank, capsys):
    one = ALL[number]
    if one.value and callable(blank):
        pytest.skip("this exercise asks for a value")
    back = checks.check(number, blank)
    assert back is one.reference or (one.value and checks.examine(one, back).failure == "")
    said = capsys.readouterr().out
    assert "your turn" in said and "package's own" in said


@pytest.mark.parametrize("number, i", SLIPS)
def test_each_slip_is_known_by_name(number, i, capsys):
    one = ALL[number]
    assert checks.check(number, one.slips[i].answer) is not one.slips[i].answer
    assert f"{number} ✗ {one.slips[i].says}" in whole(capsys.readouterr().out)


@pytest.mark.parametrize("number", ALL)
def test_an_exercise_is_whole(number):
    one = ALL[number]
    assert 3 <= len(one.slips) <= 10 and len({slip.says for slip in one.slips}) == len(one.slips)
    assert len(one.hints) == 3 and 1 <= one.difficulty <= 3 and 1 <= one.minutes <= 15
    assert one.trials or one.value


def test_hints_come_one_after_another_and_the_last_stays(capsys):
    checks._hinted.clear()
    for _ in range(4):
        checks.hint("02.3")
    assert re.findall(r"02\.3, hint (\d) of 3: \w", capsys.readouterr().out) == ["1", "2", "3", "3"]


def test_what_an_exercise_calls_its_home_is_there():
    for one in ALL.values():
        parts = re.match(r"mnclglf_lite\.(\w+(?:\.\w+)*)", one.home or "mnclglf_lite.losses")[1].split(".")
        found = mnclglf_lite
        for depth, part in enumerate(parts, 1):
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(".".join(["mnclglf_lite", *parts[:depth]]))
            found = getattr(found, part)


@pytest.mark.parametrize(("number", "name"), [("02.2", "info_nce"), ("02.3", "nt_xent")])
def test_a_reference_of_its_own_equals_what_the_package_keeps(number, name):
    a, b = torch.randn(2, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(ALL[number].reference(a, b, 0.3), getattr(losses, name)(a, b, 0.3), rtol=1e-12, atol=0)


def test_the_solution_is_code_that_runs(capsys):
    checks.solution("02.3")
    space = {}
    exec("import torch\nimport torch.nn.functional as F\nfrom torch import Tensor\n" + capsys.readouterr().out, space)
    a, b = torch.randn(4, 3), torch.randn(4, 3)
    assert torch.allclose(space["nt_xent"](a, b, 0.5), ALL["02.3"].reference(a, b, 0.5))


def test_what_is_printed_fits_into_a_notebook(capsys):
    checks.say("a " * 120 + "end\n    indented stays")
    lines = capsys.readouterr().out.splitlines()
    assert (
        max(map(len, lines)) <= checks.WIDTH
        and lines[-1] == "    indented stays"
        and whole(" ".join(lines)).count("a ") == 120
    )


def test_progress_counts(capsys):
    checks._passed.clear()
    checks.check("02.1", ALL["02.1"].reference)
    capsys.readouterr()
    checks.progress("02")
    assert capsys.readouterr().out.startswith(f"1 of {len(checks.exercises('02'))} checks pass:  02.1 ✓   02.2 ·")


def test_what_an_answer_does_to_its_arguments_and_what_it_raises(capsys):
    def spoils(a, b):
        out = ALL["02.1"].reference(a, b)
        a.zero_()
        return out

    checks.check("02.1", spoils)
    assert "it changed what it was given" in capsys.readouterr().out
    checks.check("02.1", lambda a: a)
    assert "it raised TypeError" in capsys.readouterr().out
    checks.check("02.1", lambda a, b: 0.99 * ALL["02.1"].reference(a, b))
    assert "got 0.495 at [0, 0], expected 0.5" in capsys.readouterr().out

    def forgets(a, b):
        ALL["02.1"].reference(a, b)

    checks.check("02.1", forgets)
    assert "is a `return` missing?" in capsys.readouterr().out
    checks.check("02.1", lambda a, b: ...)
    assert "missing" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "came, expected, words",
    [
        (torch.zeros(2, 3), torch.zeros(3, 2), "got shape (2, 3), expected (3, 2)"),
        (torch.zeros(2).long(), torch.zeros(2), "got torch.int64, expected torch.float32"),
        (3, torch.zeros(2), "got an int, expected a tensor of shape (2,)"),
        (torch.zeros(3), (1.0, 2.0), "got a tensor of shape (3,), expected a tuple of 2 values"),
        ([1, 2], [1, 3], "value 1: got 2, expected 3"),
        ({"a": 1}, {"b": 1}, "got ['a'], expected ['b']"),
        (True, False, "got True, expected False"),
        (torch.tensor([1.0, float("nan")]), torch.tensor([1.0, 2.0]), "got nan at [1], expected 2"),
        (0.5, torch.tensor(0.5), ""),
        ((1.0, torch.ones(1)), (1.0, torch.ones(1)), ""),
        (torch.ones(1), [torch.ones(2), torch.ones(2)], "got a tensor of shape (1,), expected a list of 2 values"),
        (torch.ones(()), {"loss": torch.ones(())}, "got a tensor of shape (), expected a dict of 1 value"),
    ],
)
def test_differences_in_words(came, expected, words):
    assert checks.difference(came, expected) == words


def test_unknown_numbers():
    with pytest.raises(InputError, match="unknown notebook"):
        checks.check("77.1", None)
    with pytest.raises(InputError, match="unknown exercise"):
        checks.hint("02.9")
