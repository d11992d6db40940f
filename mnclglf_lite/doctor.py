"""What is installed, what will work here, and what won't: run it first, and paste it into any question.

Only Python's own library is imported up here: a doctor must not fall ill with the patient.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from . import __version__

# package: (module, lowest version as in pyproject.toml, what works with it)
BASE = {
    "torch": ("torch", "2.11", "training and evaluation on the toy box and on image folders"),
    "torchvision": ("torchvision", "0.26", "reading CIFAR in its published form"),
    "numpy": ("numpy", "1.26", "image sets"),
    "pillow": ("PIL", "10.0", "pictures of views and neighbours"),
    "matplotlib": ("matplotlib", "3.8", "maps and curves"),
    "scikit-learn": ("sklearn", "1.4", "t-SNE maps"),
    "safetensors": ("safetensors", "0.4.3", "exported backbones"),
}
CORE = ("torch", "numpy")
# these are only looked up: importing umap-learn compiles for seconds, jupyterlab is started by itself
EXTRAS = {
    "jupyterlab": ("jupyterlab", "4.2", "the notebooks"),
    "ipywidgets": ("ipywidgets", "8.1", "sliders in the notebooks"),
    "umap-learn": ("umap", "0.5.7", "UMAP maps (without: PCA and t-SNE)"),
    "lightly": ("lightly", "1.5", "tests against lightly's losses"),
}
# CIFAR's archive and files, while one is unpacked to the other, are 360 MB; TinyImageNet's 750 MB
FULL_SIZE = "training the full-size recipes"
ENOUGH = 1_000_000_000  # bytes free


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    status: str  # "ok", "note" (something optional won't work) or "problem" (the installation is broken)
    what: str
    remedy: str = ""  # what to do; empty where all is well
    ability: str = ""  # what works only if this is ok
    core: bool = False  # without it nothing else works


def diagnose(root: str | Path | None = None) -> list[Finding]:
    """Look at everything; never raises. root: the data folder (default: `data.data_root()`)."""
    lowest = (3, 10)
    ok = sys.version_info >= lowest
    found = [
        Finding(
            "ok" if ok else "problem",
            f"mnclglf_lite {__version__}, Python {platform.python_version()}, {platform.platform()}",
            "" if ok else "install Python 3.10 or later",
            core=True,
        )
    ]
    found += [_imported(package) for package in BASE]
    found += [*_pair(), *_device()]
    found += [_looked_up(package) for package in EXTRAS]
    return found + list(_places(root))


def report(root: str | Path | None = None) -> tuple[str, int]:
    """The findings as text, and the exit code: 1 if there is a problem, else 0."""
    found = diagnose(root)
    lines = []
    for finding in found:
        mark = "PROBLEM" if finding.status == "problem" else finding.status
        lines.append(f"{mark:<8}{finding.what}")
        if finding.remedy:
            lines.append(f"{'':8}-> {finding.remedy}")
    alive = all(f.status == "ok" for f in found if f.core)
    for head, works in (("will work", True), ("won't work as it is", False)):
        lot = [f.ability for f in found if f.ability and (f.status == "ok" and alive) == works]
        lines += ["", f"{head}:", *(f"  {ability}" for ability in lot or ["(nothing)"])]
    return "\n".join(lines), int(any(f.status == "problem" for f in found))


def version_of(package: str, module: ModuleType | None = None) -> str | None:
    """The installed version, None where there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return getattr(module, "__version__", None)


def numbers(version: str) -> tuple[int, ...]:
    """'2.15.0+cpu' as (2, 15, 0), to be compared."""
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[+a-z]", version)[0]))


def said(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _imported(package: str) -> Finding:
    """A base package, really imported: a broken one looks well to pip."""
    name, lowest, ability = BASE[package]
    try:
        module = importlib.import_module(name)
    except Exception as error:  # a broken install raises anything: OSError, RuntimeError, AttributeError
        core = package in CORE
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            return Finding("problem", f"{package} is not installed", f"pip install {package}", ability, core)
        text = f"{package} {version_of(package) or ''}".strip()
        remedy = f"pip install --force-reinstall {package}"
        if package == "torchvision":
            remedy = (
                "its binary part belongs to another torch (CPU and CUDA builds don't mix): install both "
                "again, from one place: pip install --force-reinstall torch torchvision"
            )
        return Finding("problem", f"{text} is installed but fails ({said(error)})", remedy, ability, core)
    return _judged(package, version_of(package, module), lowest, ability, "problem")


def _looked_up(package: str) -> Finding:
    name, lowest, ability = EXTRAS[package]
    try:
        there = importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        there = False
    if not there:
        return Finding("note", f"{package} is not installed", f"pip install {package}", ability)
    return _judged(package, version_of(package), lowest, ability, "note")


def _judged(package: str, version: str | None, lowest: str, ability: str, bad: str) -> Finding:
    if version and numbers(version) < numbers(lowest):
        text = f"{package} {version} is older than {lowest}"
        return Finding(bad, text, f"pip install --upgrade '{package}>={lowest}'", ability)
    return Finding("ok", f"{package} {version or '(version unknown)'}", ability=ability)


def _pair() -> Iterator[Finding]:
    """Is torch the one that torchvision says it was built for? Its own metadata know."""
    torch, vision = version_of("torch"), version_of("torchvision")
    if not torch or not vision:
        return
    try:
        asks = importlib.metadata.requires("torchvision") or []
    except importlib.metadata.PackageNotFoundError:
        return
    for match in (re.match(r"torch\s*\(?\s*(==|>=)\s*([\w.+]+)", line) for line in asks):
        if not match:
            continue
        sign, lowest = match.groups()
        have, need = numbers(torch), numbers(lowest)
        if have < need or (sign == "==" and have != need):
            yield Finding(
                "problem",
                f"torchvision {vision} asks for torch {sign} {lowest}, but torch is {torch}",
                "install the pair together: pip install --upgrade torch torchvision",
            )
        else:
            yield Finding("ok", f"torchvision {vision} and torch {torch} are a pair (asks {sign} {lowest})")


def _device() -> Iterator[Finding]:
    try:
        import torch

        if torch.cuda.is_available():
            for i in range(torch.cuda.device_count()):
                gpu = torch.cuda.get_device_properties(i)
                memory = f"{gpu.total_memory / 2**30:.0f} GiB, compute capability {gpu.major}.{gpu.minor}"
                yield Finding("ok", f"cuda:{i}: {gpu.name}, {memory}", ability=FULL_SIZE)
        elif shutil.which("nvidia-smi"):
            built = torch.version.cuda or "no CUDA"
            yield Finding(
                "note",
                f"there seems to be an NVIDIA GPU, but torch (built for {built}) cannot use it",
                "install the build of torch that fits the driver: pytorch.org, 'Get started'",
                FULL_SIZE,
            )
        if torch.backends.mps.is_available():
            yield Finding("ok", "mps: Apple GPU")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        threads = torch.get_num_threads()
        yield Finding("ok", f"cpu: {threads} threads on {cores} cores", ability="training the quick recipes")
    except Exception as error:  # torch's own finding says what to do
        yield Finding("note", f"devices could not be looked at ({said(error)})")


def _places(root: str | Path | None) -> Iterator[Finding]:
    """The data folder: the sets in it, room, and whether one may write there and here."""
    try:
        from . import data, read_cifar, read_pictures

        root = data.data_root() if root is None else Path(root).expanduser()
        looks = {  # name: (folders it may be in, what checks them)
            "cifar10": (
                ("cifar-10-batches-py", read_cifar.CIFAR10_ARRAYS),
                lambda: read_cifar.find_cifar(root, "cifar10"),
            ),
            "cifar100": (("cifar-100-python",), lambda: read_cifar.find_cifar(root, "cifar100")),
            "tinyimagenet": (
                (read_pictures.TINY_FOLDER,),
                lambda: read_pictures.find_tinyimagenet(root),
            ),
        }
    except Exception as error:
        remedy = "mend what is marked as a problem above"
        yield Finding("problem", f"this package itself cannot be imported ({said(error)})", remedy, core=True)
        return
    for name, (folders, look) in looks.items():
        ability = f"experiments on {name}"
        try:
            there = any((root / folder).is_dir() for folder in folders) and look()
        except Exception as error:
            remedy = f"see there; or move it away and: mnclglf-lite fetch {name}"
            yield Finding("note", f"{name} in {root} cannot be used: {error}", remedy, ability)
        else:
            status, word, get = (
                ("ok", "found", "") if there else ("note", "not", f"mnclglf-lite fetch {name}")
            )
            yield Finding(status, f"{name}: {word} in {root}", get, ability)
    near = next((place for place in (root, *root.absolute().parents) if place.is_dir()), Path.cwd())
    free = shutil.disk_usage(near).free
    more = "" if free >= ENOUGH else "make room: fetching an image set takes up to 1 GB for a while"
    yield Finding("note" if more else "ok", f"{free / 1e9:.1f} GB free for {root}", more)
    for place, ability in ((near, "fetching image sets"), (Path.cwd(), "keeping runs in this folder")):
        if not writable(place):
            yield Finding(
                "note", f"{place} may not be written to", "choose another folder (--data, --out)", ability
            )


def writable(folder: Path) -> bool:
    """Whether a file can be made in a folder; tried, since permissions alone don't tell."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
