"""Names in prose: every path that a text gives leads somewhere, and every package says what is in its files."""

import ast
import pkgutil
import re
from pathlib import Path

import pytest

from mnclglf_lite.course import checks

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mnclglf_lite"
PAGES = [
    ROOT / "README.md",
    ROOT / "notebooks" / "README.md",
    ROOT / "data" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
    *sorted((ROOT / "notebooks" / "masters").glob("*.py")),
]
PACKAGES = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)
EXAMPLES = {"mnclglf_lite/methods/align_uniform.py"}  # a file that the reader is to write


def there(name):
    """Whether a dotted name is a module, or an attribute of one."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def gone(text):
    """Names in a text that lead nowhere: dotted ones, what is imported from a module, and paths of files."""
    names = set(re.findall(r"(?<![\w/-])mnclglf_lite(?:\.\w+)+", text))
    for module, imported in re.findall(r"from (mnclglf_lite[\w.]*) import ([\w, ]+)", text):
        names |= {f"{module}.{name.split(' as ')[0].strip()}" for name in imported.split(",")}
    paths = set(re.findall(r"(?<![\w/-])mnclglf_lite(?:/\w+)*/\w+\.\w+", text)) - EXAMPLES
    return sorted(name for name in names if not there(name)) + sorted(path for path in paths if not (ROOT / path).exists())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.name}")
def test_names_in_pages_lead_somewhere(page):
    assert gone(page.read_text(encoding="utf-8")) == []


def test_the_glossarys_last_column_can_be_imported():
    rows = re.findall(
        r"^\| .* \| ([^|]+) \|$", (ROOT / "notebooks" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    names = [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    assert len(names) > 30 and [name for name in names if not there(f"mnclglf_lite.{name}")] == []


@pytest.mark.parametrize("notebook", checks.notebooks())
def test_homes_of_exercises_lead_somewhere(notebook):
    homes = [one.home for one in checks.exercises(notebook).values() if one.home]
    assert all(home.startswith("mnclglf_lite.") for home in homes)
    assert [name for home in homes for name in gone(home)] == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.relative_to(PACKAGE).as_posix())
def test_a_package_says_what_is_in_its_files(package):
    """The table in its docstring: one line for each file or folder, none for what is not there."""
    words = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8")))
    listed = re.findall(r"^ *(\w+(?:\.\w+|/))  +\S", words, re.MULTILINE)
    files = {path.name for path in package.iterdir() if path.is_file() and path.suffix == ".py"} - {"__init__.py"}
    rest = {path.name for path in package.iterdir() if path.is_file() and path.suffix not in (".py", ".pyc")}
    folders = {f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").exists()}
    assert len(listed) == len(set(listed)), "a file is listed twice"
    assert files | folders <= set(listed), f"not listed: {sorted((files | folders) - set(listed))}"
    assert set(listed) <= files | folders | rest, f"not there: {sorted(set(listed) - files - folders - rest)}"


def test_the_tests_above_can_fail():
    assert gone("`mnclglf_lite.models.momentum.update_ema` in mnclglf_lite/models/momentum.py") == []
    assert gone("`mnclglf_lite.memory.follow`") == ["mnclglf_lite.memory.follow"]
    assert gone("from mnclglf_lite.losses import nt_xent, unit") == ["mnclglf_lite.losses.unit"]
    assert gone("in mnclglf_lite/memory.py") == ["mnclglf_lite/memory.py"]
