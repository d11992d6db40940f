"""What learners type: every solved exercise with one thing changed is answered by name, and a lesson holds in a browser.

`python tests/walk_course.py OUT` walks all lessons in a browser.
"""

import pytest
from browser import needs_browser
from walk_course import MISTAKES, answers, imports, walk

from mnclglf_lite.course import checks


@pytest.mark.parametrize("number", checks.notebooks())
def test_every_mistake_is_answered_by_name_and_every_solution_is_right(number, capsys):
    """The cells as they are typed: the lesson's imports, then each exercise, wrong and right."""
    space = {}
    exec(imports(number), space)
    for exercise, (_, right, wrong) in answers(number).items():
        exec(wrong, space)
        said = " ".join(capsys.readouterr().out.split())
        assert f"{exercise} ✗" in said and MISTAKES[exercise][2] in said
        exec(right, space)
        assert f"{exercise} ✓ right" in capsys.readouterr().out


@needs_browser()
def test_a_lesson_with_every_exercise_once_wrong_and_once_right(browser, lab):
    walk(browser, lab, "02")
