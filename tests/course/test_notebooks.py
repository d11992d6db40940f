"""Notebooks are built from their masters, readable on GitHub, of small cells, and they run offline from clean kernels."""

import ast
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mnclglf_lite.course import checks
from mnclglf_lite.recipe.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks"
MASTERS = sorted((FOLDER / "masters").glob("*.py"))
LEARNERS = sorted(FOLDER.glob("*.ipynb"))
SOLVED = sorted((FOLDER / "solved").glob("*.ipynb"))
LESSONS = [path for path in LEARNERS if re.match(r"0[1-9]", path.stem)]
NAMES = {"ids": lambda path: path.stem}
DONE = {"ids": lambda path: f"{path.parent.name}-{path.stem}"}


def cells(path, kind):
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def builder():
    pytest.importorskip("jupytext")
    sys.path.insert(0, str(FOLDER))
    try:
        import build
    finally:
        sys.path.pop(0)
    return build


def test_every_master_has_its_notebook_and_the_course_is_whole():
    masters = [path.stem for path in MASTERS]
    assert [path.stem for path in LEARNERS] == masters
    assert [name[:2] for name in masters if name[:1] == "0"] == [f"0{i}" for i in range(10)]
    assert [path.stem for path in SOLVED] == [p.stem for p in MASTERS if "#: your turn" in p.read_text()]
    assert [path.stem[:2] for path in LESSONS] == checks.notebooks()


@pytest.mark.parametrize("path", [*LEARNERS, *SOLVED], **DONE)
def test_the_notebook_is_what_its_master_builds(path):
    """Compared without outputs, which only a run can make."""
    built = builder().build(FOLDER / "masters" / f"{path.stem}.py", solved=path in SOLVED)
    kept = json.loads(path.read_text())
    for cell in kept["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    assert json.loads(builder().text(built)) == kept, "run `make notebooks`"


def test_blanks_and_solutions(tmp_path):
    build = builder()
    master = tmp_path / "03_x.py"
    master.write_text(
        "# %% [markdown]\n# # A title\n# ![alt](heroes/03.png)\n\n# %%\ndef f(x):\n    #: your turn: twice x\n"
        "    #: blank y = ...\n    y = 2 * x\n    return y\n    #: end\n\n\n"
        "# %%\n#: your turn: a number\na = 3\n#: end\nprint(a)\n"
    )
    learner, solved = (build.build(master, solved) for solved in (False, True))
    assert learner.cells[2].source == "def f(x):\n    # your turn: twice x\n    y = ..."
    assert learner.cells[3].source == "# your turn: a number\n...\nprint(a)"
    assert solved.cells[2].source == "def f(x):\n    # twice x\n    y = 2 * x\n    return y"
    assert solved.cells[3].source == "# a number\na = 3\nprint(a)"
    assert "](heroes/03.png)" in learner.cells[0].source and "](../heroes/03.png)" in solved.cells[0].source
    learner.cells[2].outputs, learner.cells[3].outputs = ["kept"], ["gone"]
    again = build.build(master)
    learner.cells[3].source = "another"
    build.keep_outputs(again, learner)
    assert again.cells[2].outputs == ["kept"] and again.cells[3].outputs == []


@pytest.mark.parametrize("path", [*LEARNERS, *SOLVED], **DONE)
def test_a_notebook_opens_at_once_and_everywhere(path):
    notebook = json.loads(path.read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert "widgets" not in notebook["metadata"] and path.stat().st_size < 1_000_000
    assert notebook["cells"][0]["source"][0].startswith("# ")
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})
            assert output["output_type"] != "error"
            if "image/png" in output.get("data", {}):  # a sentence for those who cannot see it
                assert len(output["metadata"].get("image/png", {}).get("alt", "")) > 20


@pytest.mark.parametrize("path", LEARNERS, **NAMES)
def test_outputs_are_shown(path):
    notebook = json.loads(path.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code), "run `make notebooks`"
    for cell in code:  # JupyterLab breaks a line of print at the 107th character in a window of 1280 pixels
        for output in cell["outputs"]:
            shown = set(output.get("data", ())) - {"text/plain"}
            text = "".join(output.get("text", "") if not shown else "")
            assert max(map(len, text.splitlines()), default=0) <= 106, text


@pytest.mark.parametrize("path", [*LEARNERS, *SOLVED], **DONE)
def test_cells_are_small_and_say_nothing_of_this_machine(path):
    code = cells(path, "code")
    lines = sorted(len(source.splitlines()) for source in code)
    assert lines[-1] <= 25 and lines[len(lines) // 2] <= 8
    for source in code[1:]:  # the first is Colab's alone
        ast.parse(source)
        assert "http" not in source and "/home" not in source and "chdir" not in source and "num_workers" not in source
        assert max(map(len, source.splitlines())) <= 145  # a sentence that is printed may be long


@pytest.mark.parametrize("path", LESSONS, **NAMES)
def test_a_lesson_has_what_every_lesson_has(path):
    number, notebook = path.stem[:2], json.loads(path.read_text())
    text, code = "\n".join(cells(path, "markdown")), "\n".join(cells(path, "code"))
    assert 25 <= len(notebook["cells"]) <= 46  # Colab's cell comes on top
    first = "".join(notebook["cells"][0]["source"])
    assert first.count("\n* **") == 3 and "*You need:*" in first and f"](heroes/{number}.png)" in first
    assert re.search(r"!\[[^\]]{40,}\]\(heroes", first), "the hero's alt text says what there is to see"
    assert (FOLDER / "heroes" / f"{number}.png").stat().st_size < 100_000
    assert len(re.findall(r"= Predict\(", code)) == 2 == len(re.findall(r"\.reveal\(", code))
    asked = list(checks.exercises(number))
    assert 3 <= len(asked) <= 5
    for exercise in asked:
        one = checks.find(exercise)
        words = ("", "easy", "medium", "hard")[one.difficulty]
        assert re.search(rf"\*\*Exercise {exercise}\*\* \({words}, {one.minutes} minutes?", text), exercise
        assert re.search(rf'^(\w+) = check\("{exercise}", \1\)', code, re.MULTILINE), exercise
    assert f'progress("{number}")' in code and "questions to take along" in text
    following = f"](0{int(number) + 1}_" if number < "09" else "](README.md)"
    assert following in "".join(notebook["cells"][-1]["source"])


@pytest.mark.parametrize("path", LESSONS, **NAMES)
def test_prose_comes_before_code(path):
    """Between two code cells stands a sentence, but where a guess is shown and where an exercise is used at once."""
    kinds = [cell["cell_type"] for cell in json.loads(path.read_text())["cells"]]
    bare = sum(a == b == "code" for a, b in zip(kinds[2:], kinds[3:], strict=False))
    assert bare <= 0.4 * kinds.count("code")


@pytest.mark.parametrize("path", [*LEARNERS, *SOLVED, *FOLDER.glob("*.md")], ids=lambda p: f"{p.parent.name}-{p.name}")
def test_links_lead_somewhere(path):
    text = path.read_text() if path.suffix == ".md" else "\n".join(cells(path, "markdown"))
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if not link.startswith("http"):
            assert (path.parent / link).exists(), link


def test_the_glossary_is_in_order_and_names_what_there_is():
    rows = re.findall(r"^\| ([^|]+) \|.*\| ([^|]+) \|$", (FOLDER / "glossary.md").read_text(), re.MULTILINE)[2:]
    words = [word for word, _ in rows]
    assert words == sorted(words, key=str.lower) and len(words) > 30
    for _, where in rows:
        for name in re.findall(r"`([\w.]+)`", where):
            if re.fullmatch(r"recipe\.\w+", name):
                assert name.removeprefix("recipe.") in dir(Recipe), name
            else:
                pkgutil.resolve_name(f"mnclglf_lite.{name}")  # raises where there is no such thing


GUARD = """
import socket
real = socket.socket.connect
def connect(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ('127.0.0.1', '::1', 'localhost'):
        raise OSError(f'offline test: no connection to {address}')
    return real(self, address)
socket.socket.connect = connect
"""


def run_offline(path, tmp_path):
    """Run a copy of a notebook in a folder of its own, sockets but loopback refused; its outputs."""
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("nbclient")
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(GUARD)
    packages = os.pathsep.join([str(guard), str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": packages, "MNCLGLF_LITE_PROFILE": "quick"}
    copy, target = tmp_path / path.name, tmp_path / "executed.ipynb"
    copy.write_text(path.read_text())
    words = [sys.executable, str(FOLDER / "run.py"), str(copy), str(target)]
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    notebook = nbformat.read(target, as_version=4)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    return notebook


@pytest.mark.parametrize("path", [*LEARNERS, *SOLVED], **DONE)
def test_it_runs_to_its_end_from_a_clean_kernel_without_a_network(path, tmp_path):
    """As it is, nothing cut; `python -m benchmarks.speed.notebooks` says how long each takes."""
    notebook = run_offline(path, tmp_path)
    printed = "".join(o.text for cell in notebook.cells for o in cell.get("outputs", ()) if o.output_type == "stream")
    number = path.stem[:2]
    if number in checks.notebooks():
        asked = list(checks.exercises(number))
        for exercise in asked:
            assert f"{exercise} {'✓ right' if path in SOLVED else '– your turn'}" in printed
        assert f"{len(asked) * (path in SOLVED)} of {len(asked)} checks pass" in printed
    if number == "00":
        assert sorted(p.name for p in (tmp_path / "pictures").glob("*.png")) == [
            "neighbours.png", "pca.png", "toys.png", "umap.png", "views.png",
        ]  # fmt: skip
