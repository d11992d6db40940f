"""The package as a whole: what it is installed with, what its names hide, and what importing it costs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mnclglf_lite"
ELSEWHERE = {"torch": "pytorch", "playwright": "playwright-python"}  # conda-forge's names, where they differ


def read_pyproject():
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        tomllib = pytest.importorskip("tomli")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def split(requirement):
    """'torch>=2.11' or 'python >=3.10,<3.14' as (name, bounds)."""
    name, bounds = re.fullmatch(r"([\w.-]+(?:\[[\w,]+\])?)\s*(.*)", requirement.strip()).groups()
    return name, bounds.replace(" ", "")


def read_environment():
    """environment.yml: (channels, {name: bounds}, what pip gets). Knows plain lists only."""
    lists, current = {}, None
    for line in (ROOT / "environment.yml").read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].rstrip()
        if head := re.fullmatch(r"(?:\s*-\s+)?(\w+):(.*)", line):
            current = lists.setdefault(head[1], [head[2].strip()] if head[2].strip() else [])
        elif item := re.fullmatch(r"\s*- (.+)", line):
            current.append(item[1])
        else:
            assert not line, f"unexpected line {line!r}"
    return lists["channels"], dict(map(split, lists["dependencies"])), lists["pip"]


def files():
    """All files of the repository: tracked, or new and not ignored."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    if done.returncode:
        pytest.skip("this is no git checkout")
    return [path for name in done.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


def modules():
    """Every module of the package: name below it ('methods.base', a package's own 'methods.__init__') -> syntax tree."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    assert len(found) > 100
    return found


def folders():
    """Every folder with code, the package's own first."""
    return sorted({path.parent for path in PACKAGE.rglob("*.py")})


def python(*words, **more):
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- installing ---


def test_environment_and_pyproject_are_in_step():
    project = read_pyproject()["project"]
    channels, conda, pip = read_environment()
    assert channels == ["conda-forge"] and pip == ["-e ."]
    wanted = list(project["dependencies"])
    for name, extra in project["optional-dependencies"].items():
        if name == "all":
            assert extra == ["mnclglf-lite[notebooks,umap,dev]"]
        else:
            wanted += extra
    wanted = {ELSEWHERE.get(name, name): bounds for name, bounds in map(split, wanted)}
    assert {name: bounds for name, bounds in conda.items() if name not in ("python", "pip")} == wanted
    assert conda["pip"] == "" and conda["python"].split(",")[0] == project["requires-python"]
    assert all(bounds.startswith(">=") for bounds in wanted.values())


def test_version_licence_and_citation_agree():
    from mnclglf_lite import __version__

    project = read_pyproject()
    assert project["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "mnclglf_lite.core.version.__version__"
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in citation and "2306.15930" in citation
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert licence.startswith("MIT License") and "the mnclglf_lite authors" in licence and "\nlicense: MIT\n" in citation


def test_files_that_are_no_code_are_installed_too():
    rest = {path for path in files() if PACKAGE in path.parents and path.suffix != ".py"}
    installed = set()
    for package, patterns in read_pyproject()["tool"]["setuptools"]["package-data"].items():
        for pattern in patterns:
            installed |= set(ROOT.joinpath(*package.split(".")).glob(pattern))
    assert PACKAGE / "explorers" / "embedding" / "page.html" in rest
    assert rest <= installed, f"{rest - installed} is not in package-data"


def test_doctor_asks_for_the_same_packages_and_versions():
    """The doctor cannot read pyproject.toml once installed, so it has lists of its own."""
    from mnclglf_lite.cli import doctor

    project = read_pyproject()["project"]
    wanted = dict(map(split, project["dependencies"]))
    assert (set(doctor.OLDEST) - {"python"}) | set(doctor.NEEDED) == set(wanted)
    for package, oldest in doctor.OLDEST.items():
        bounds = project["requires-python"] if package == "python" else wanted[package]
        assert bounds == ">=" + ".".join(map(str, oldest)), package
    extras = {split(line)[0] for lines in project["optional-dependencies"].values() for line in lines}
    assert set(doctor.OPTIONAL) <= extras


# --- names ---


def test_no_module_has_the_name_of_one_of_pythons():
    names = {path.stem for path in PACKAGE.rglob("*.py")} | {path.name for path in folders()}
    assert {"doctor", "explorers", "resnet"} <= names and not names & sys.stdlib_module_names


def test_python_started_in_any_folder_still_finds_torch():
    """Python looks first where it was started. All folders at once: nothing that torch and torchvision import is ours."""
    code = (
        "import sys\n"
        f"sys.path[:0] = {[str(path) for path in folders()]}\n"
        "import torch, torchvision\n"
        "files = {name: getattr(module, '__file__', None) or '' for name, module in sys.modules.items()}\n"
        f"print(*(name for name, file in files.items() if file.startswith({str(PACKAGE)!r})))"
    )
    pytest.importorskip("torchvision")
    assert len(folders()) > 20 and python("-c", code).split() == []
    # the same path finds what is ours: the question can be answered otherwise
    assert python("-c", code.replace("torch, torchvision", "doctor")).split() == ["doctor"]


def test_the_doctor_run_as_a_file_finds_torchvision_in_order(tmp_path):
    """Its own folder then stands first on the path."""
    pytest.importorskip("torchvision")
    said = python(PACKAGE / "cli" / "doctor.py", cwd=tmp_path)
    assert re.search(r"^ *ok +torchvision", said, re.MULTILINE) and not re.search(r"problem +torchvision", said), said


# --- importing ---

WITH_WIDGETS = re.compile(r"explorers\.(shell|\w+\.widget)|course\.predict|__main__")  # and the program itself
HEAVY = "jupyter jupyterlab IPython ipywidgets umap numba matplotlib sklearn scipy torchvision PIL".split()
HEAVY += ["safetensors", "lightly"]


def test_importing_a_module_loads_nothing_heavy():
    names = [name for name in modules() if not WITH_WIDGETS.fullmatch(name)]
    lines = "\n".join(f"import mnclglf_lite.{name}".removesuffix(".__init__") for name in names if name != "__init__")
    code = f"import sys\nimport mnclglf_lite\n{lines}\nprint(*sorted(m for m in {HEAVY} if m in sys.modules))"
    assert python("-c", code, cwd=ROOT).split() == []


def test_the_test_above_can_fail():
    pytest.importorskip("PIL")
    code = f"import sys, PIL\nprint(*sorted(m for m in {HEAVY} if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["PIL"]


def test_only_fetching_reaches_into_the_net():
    network = {"urllib.request", "http.client", "socket", "ssl", "ftplib", "requests", "httpx", "aiohttp"}
    doors = {"data.fetch", "data.download", "data.npm_mirror"}
    reached = set()
    for name, tree in modules().items():
        for node in ast.walk(tree):
            whole = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                whole = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            if network & set(whole):
                reached.add(name)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and name not in doors:
                assert not re.search(r"(https?|ftp)://\w", node.value), f"{name}, line {node.lineno}: an address"
    assert reached and reached <= doors
    pages = [path for path in files() if PACKAGE in path.parents and path.suffix != ".py"]
    assert {".js", ".css", ".html"} <= {path.suffix for path in pages}
    for path in pages:  # open offline: a namespace is a name, nothing is loaded from it
        addresses = re.findall(r"https?://[^\s\"'`)]+", path.read_text(encoding="utf-8"))
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, path.name


# Of these the small helpers are named and typed, and say no more.
SHORT = re.compile(
    r"cli\.main|course\.(exercises\.e\d+|method_traits)|data\.(download|image_folders)|drawing\.canvas|"
    r"explorers\.(loss\.matrices|memory_queue\.replay)"
)


def test_every_public_function_and_class_has_a_docstring():
    bare, seen = [], 0
    for name, tree in modules().items():
        assert ast.get_docstring(tree), name
        for node in tree.body:
            public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
            if public and not SHORT.fullmatch(name):
                seen += 1
                if not ast.get_docstring(node):
                    bare.append(f"{name}.{node.name}")
    assert seen > 400 and not bare, bare


# --- the repository ---


def test_the_repository_stays_small():
    sizes = {path: path.stat().st_size for path in files()}
    weights = ROOT / "data" / "weights"  # the one place for what is large: parts of 15 MB
    most = {path: 15_000_000 if weights in path.parents else 1_000_000 for path in sizes}
    most[ROOT / "docs" / "forming.gif"] = 3_000_000  # the README's animated map
    big = [f"{path.relative_to(ROOT)}: {size / 1e6:.1f} MB" for path, size in sizes.items() if size > most[path]]
    assert not big, big
    assert sum(sizes.values()) < 30_000_000
