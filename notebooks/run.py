"""Run a notebook from a clean kernel to its end: python notebooks/run.py NOTEBOOK EXECUTED_COPY"""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

VIEW = "application/vnd.jupyter.widget-view+json"


def still(notebook: nbformat.NotebookNode) -> None:
    """Take out what only lives beside a kernel: the views of widgets, and their state.

    What JupyterLab, GitHub and nbconvert show is then the picture that an explorer puts beside its view; with the view still
    there, JupyterLab would say that it finds no widget.
    """
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(VIEW, None)


def run(source: Path, target: Path, timeout: int = 900) -> float:
    """Execute in the notebook's own folder, write the copy with outputs, return the seconds it took."""
    notebook = nbformat.read(source, as_version=4)
    client = NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": source.parent}}
    )
    begun = time.perf_counter()
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        client.execute()
    except CellExecutionError as error:
        target = target.with_suffix(".failed.ipynb")
        raise SystemExit(f"{source} stopped at a cell; what ran is in {target}\n{error}") from None
    finally:
        still(notebook)
        nbformat.write(notebook, target)
    return time.perf_counter() - begun


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    print(f"{sys.argv[1]} ran to its end in {run(Path(sys.argv[1]), Path(sys.argv[2])):.0f} s")
