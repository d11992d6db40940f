"""Notebooks are built from their masters, readable on GitHub, of small cells, and they run offline."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(path, kind):
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def test_every_master_has_its_notebook():
    masters = {path.stem for path in (ROOT / "notebooks" / "masters").glob("*.py")}
    assert masters == {path.stem for path in NOTEBOOKS} and masters


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_notebook_is_what_its_master_builds(path):
    pytest.importorskip("jupytext")
    sys.path.insert(0, str(ROOT / "notebooks"))
    try:
        import build
    finally:
        sys.path.pop(0)
    assert build.build(ROOT / "notebooks" / "masters" / f"{path.stem}.py") == path.read_text(), "run `make notebooks`"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_opens_at_once_and_everywhere(path):
    notebook = json.loads(path.read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert "widgets" not in notebook["metadata"] and path.stat().st_size < 1_000_000
    assert notebook["cells"][0]["source"][0].startswith("# ")
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"] and cell["execution_count"] is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_cells_are_small_and_say_nothing_of_this_machine(path):
    lines = sorted(len(source.splitlines()) for source in cells(path, "code"))
    assert lines[-1] <= 25 and lines[len(lines) // 2] <= 8
    for source in cells(path, "code"):
        ast.parse(source)
        assert "http" not in source and "/home" not in source and "chdir" not in source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs_to_its_end_from_a_clean_kernel_without_a_network(path, tmp_path):
    """Sockets other than the kernel's own loopback are refused. Training is cut to a second; `make quickstart` runs all."""
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("nbclient")
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(
        "import os, socket\n"
        "real = socket.socket.connect\n"
        "def connect(self, address):\n"
        "    if self.family != socket.AF_UNIX and address[0] not in ('127.0.0.1', '::1', 'localhost'):\n"
        "        raise OSError(f'offline test: no connection to {address}')\n"
        "    return real(self, address)\n"
        "socket.socket.connect = connect\n"
        "if os.environ.get('NOTEBOOK_TEST_MINUTES'):\n"
        "    import mnclglf_lite.profile as p\n"
        "    minutes = float(os.environ['NOTEBOOK_TEST_MINUTES'])\n"
        "    p.PROFILES = {'quick': p.Profile('quick', 'quick', {'simclr': minutes, 'mnclglf': minutes}, 200)}\n"
    )
    target = tmp_path / "executed.ipynb"
    path_of_packages = os.pathsep.join([str(guard), str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {
        **os.environ,
        "PYTHONPATH": path_of_packages,
        "NOTEBOOK_TEST_MINUTES": "0.02",
        "MNCLGLF_LITE_PROFILE": "quick",
    }
    copy = tmp_path / path.name  # run in a folder of its own: pictures land there
    copy.write_text(path.read_text())
    done = subprocess.run(
        [sys.executable, str(ROOT / "notebooks" / "run.py"), str(copy), str(target)],
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    notebook = nbformat.read(target, as_version=4)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    assert path.stem == "explorers" or sorted(p.name for p in (tmp_path / "pictures").glob("*.png")) == [
        "neighbours.png", "pca.png", "toys.png", "umap.png", "views.png",
    ]  # fmt: skip
