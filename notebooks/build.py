"""Build the notebooks from their masters: notebooks/masters/NN_name.py (percent script) -> notebooks/NN_name.ipynb.

A master is what people review and lint; the notebook is what learners open. Cell ids are counted, so that building twice
gives the same bytes. Notebooks are committed without outputs and without widget state, with a kernelspec (JupyterLab asks a
blocking question where it is missing).
"""

import sys
from pathlib import Path

import jupytext
import nbformat

HERE = Path(__file__).parent


def build(master: Path) -> str:
    """The notebook's JSON text."""
    notebook = jupytext.read(master, fmt="py:percent")
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{master.stem.replace('_', '-')}-{number:02d}"
        cell.metadata = {}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def main() -> None:
    for master in sorted((HERE / "masters").glob("*.py")):
        target = HERE / f"{master.stem}.ipynb"
        target.write_text(build(master))
        print(f"built {target}")


if __name__ == "__main__":
    sys.exit(main())
