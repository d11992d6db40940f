"""Build the notebooks from their masters, each of which makes two:

    notebooks/masters/NN_name.py  ->  notebooks/NN_name.ipynb          for learners: blanks to fill, outputs shown
                                      notebooks/solved/NN_name.ipynb   the same with the blanks filled

    python notebooks/build.py            sources of all; outputs are kept where no code above them has changed
    python notebooks/build.py --run 02   runs the learner's 02 from a clean kernel, offline or not, and keeps its outputs

A master is a percent script: what people review and lint, and what can run from top to bottom. What a learner is to write
stands between two marks, and becomes a blank:

    def pairs(p):
        #: your turn: all unordered pairs of p patches
        return list(itertools.combinations(range(p), 2))
        #: end

A line `#: blank TEXT` between the marks puts TEXT into the learner's notebook, such as a first line that is given away;
without one the blank is `...`. Cell ids are counted, so that building twice gives the same bytes. There is a kernelspec
(JupyterLab asks a blocking question where it is missing) and never any widget state.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import jupytext
import nbformat

HERE = Path(__file__).parent
# Where the project is published, for Colab alone, which opens notebooks by their address there. The one place that says it.
REPOSITORY = "https://github.com/mnclglf-lite/mnclglf_lite"
COLAB = REPOSITORY.replace("github.com", "colab.research.google.com/github")
REGION = re.compile(r"^(?P<indent> *)#: your turn:? *(?P<text>.*)\n(?P<body>(?:.*\n)*?) *#: end *$", re.MULTILINE)
BLANK = re.compile(r"^ *#: blank (.*)$", re.MULTILINE)


def blanked(source: str) -> str:
    """A cell as learners get it."""

    def blank(found: re.Match[str]) -> str:
        indent, given = found["indent"], BLANK.findall(found["body"] + "\n")
        lines = [f"{indent}# your turn: {found['text']}", *(indent + line for line in given or ["..."])]
        return "\n".join(lines)

    return REGION.sub(blank, source)


def filled(source: str) -> str:
    """The same cell with its solution, marks taken out."""

    def fill(found: re.Match[str]) -> str:
        body = "".join(line + "\n" for line in found["body"].splitlines() if not BLANK.match(line))
        return f"{found['indent']}# {found['text']}\n{body.rstrip()}"

    return REGION.sub(fill, source)


def for_colab() -> nbformat.NotebookNode:
    """A cell that installs the package where the notebook runs on Colab, and does nothing anywhere else."""
    return nbformat.v4.new_code_cell(
        "# On Colab this installs the package; anywhere else it does nothing. It may run twice.\n"
        "import importlib.util, sys\n\n"
        'if "google.colab" in sys.modules and importlib.util.find_spec("mnclglf_lite") is None:\n'
        f"    get_ipython().system(\"git clone -q --depth 1 {REPOSITORY} && pip install -q -e './mnclglf_lite[notebooks,umap]'\")\n"
        '    sys.path.insert(0, "mnclglf_lite")  # this kernel has started before\n'
        "    from google.colab import output\n\n"
        "    output.enable_custom_widget_manager()  # what anywidget needs there"
    )


def build(master: Path, solved: bool = False) -> nbformat.NotebookNode:
    """The notebook of a master, without outputs."""
    notebook = jupytext.read(master, fmt="py:percent")
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    folder = "notebooks/solved" if solved else "notebooks"
    link = f"[![Open in Colab]({'../' * solved}heroes/colab.svg)]({COLAB}/blob/main/{folder}/{master.stem}.ipynb)"
    notebook.cells[0].source = notebook.cells[0].source.replace("\n", f"\n\n{link}\n", 1)
    notebook.cells.insert(1, for_colab())
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{master.stem.replace('_', '-')}-{number:02d}"
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.source = (filled if solved else blanked)(cell.source)
    if solved:  # it lies a folder deeper
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = cell.source.replace("](heroes/", "](../heroes/").replace("](README.md)", "](../README.md)")
        notebook.cells[0].source += "\n\n*This is the solved notebook: every exercise is filled in.*"
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return notebook


def text(notebook: nbformat.NotebookNode) -> str:
    return nbformat.writes(notebook) + "\n"


def keep_outputs(new: nbformat.NotebookNode, old: nbformat.NotebookNode) -> None:
    """Outputs of the old build, down to the first code cell that is not the same any more."""
    now, before = ([cell for cell in n.cells if cell.cell_type == "code"] for n in (new, old))
    for cell, was in zip(now, before, strict=False):
        if cell.source != was.source:
            return
        cell.outputs, cell.execution_count = was.outputs, was.execution_count


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", metavar="NN", nargs="*", help="run these (all, if none is named) and keep their outputs")
    args = parser.parse_args(words)
    (HERE / "solved").mkdir(exist_ok=True)
    for master in sorted((HERE / "masters").glob("*.py")):
        target = HERE / f"{master.stem}.ipynb"
        notebook = build(master)
        if target.exists():
            keep_outputs(notebook, nbformat.read(target, as_version=4))
        target.write_text(text(notebook))
        if REGION.search(master.read_text()):
            (HERE / "solved" / target.name).write_text(text(build(master, solved=True)))
        print(f"built {target.relative_to(HERE.parent)}")
        if args.run is not None and (not args.run or master.stem[:2] in args.run):
            from run import run

            print(f"ran it in {run(target, target):.0f} s")
            keep_outputs(notebook, nbformat.read(target, as_version=4))  # and not what a kernel writes of itself
            target.write_text(text(notebook))


if __name__ == "__main__":
    sys.exit(main())
