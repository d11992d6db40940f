"""A lesson from top to bottom in a real browser; `python tests/walk_course.py OUT` walks all of them."""

import pytest
from browser import needs_browser
from walk_course import answers, walk

from mnclglf_lite import checks


@pytest.mark.parametrize("number", checks.notebooks())
def test_every_mistake_can_still_be_typed(number):
    for exercise, (_, right, wrong) in answers(number).items():
        assert right != wrong, exercise


@needs_browser()
def test_a_lesson_with_every_exercise_once_wrong_and_once_right(browser, lab):
    walk(browser, lab, "02")
