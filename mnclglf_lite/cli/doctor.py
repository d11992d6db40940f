"""The doctor: what is installed, what will work and what won't. It must run where nothing else does.

So every look is taken inside `try`, and nothing but the standard library is imported at the top.
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
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OLDEST = {"python": (3, 10), "torch": (2, 11), "torchvision": (0, 26)}  # as in pyproject.toml
# package on the index -> (module, what needs it)
NEEDED = {
    "numpy": ("numpy", "everything"),
    "pillow": ("PIL", "pictures: contact sheets, views, neighbour strips, the map's page"),
    "matplotlib": ("matplotlib", "plots: curves, maps, comparisons"),
    "scikit-learn": ("sklearn", "t-SNE maps"),
    "safetensors": ("safetensors", "export, and opening saved backbones"),
}
OPTIONAL = {
    "jupyterlab": ("jupyterlab", "opening the notebooks (the command line works without)"),
    "ipywidgets": ("ipywidgets", "sliders in the notebooks"),
    "umap-learn": ("umap", "UMAP maps (PCA and t-SNE work without)"),
    "lightly": ("lightly", "comparing our losses with another library's, in the tests only"),
}
IMAGE_SETS = {  # folders inside the data folder -> megabytes to fetch and to keep (see fetch.py)
    "cifar10": (("cifar-10-batches-py", "cifar-10-arrays"), 360),
    "cifar100": (("cifar-100-python",), 360),
    "tinyimagenet": (("tiny-imagenet-200",), 750),
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at. level: "ok", "note" (something is missing, the rest works) or "problem"."""

    level: str
    what: str
    remedy: str = ""
    essential: bool = False  # a problem that stops training itself


def diagnose(root: str | Path | None = None) -> list[Finding]:
    """Everything, in order of importance; `root` is the data folder (None: the usual one). Never raises."""
    found: list[Finding] = []
    for look in (_python, _torch, _torchvision, _device, _packages, _data):
        try:
            found += look(root) if look is _data else look()
        except Exception as error:  # a broken look must not hide the others
            name = look.__name__.strip("_")
            found.append(Finding("note", f"{name}: could not be looked at ({_said(error)})"))
    return found


def report(root: str | Path | None = None) -> tuple[str, int]:
    """The findings as text with a summary, and an exit code: 1 if something essential is broken, else 0."""
    found = diagnose(root)
    lines = []
    for finding in found:
        lines.append(f"{finding.level:>8}  {finding.what}")
        if finding.remedy:
            lines.append(f"{'':>8}  -> {finding.remedy}")
    broken = [finding for finding in found if finding.essential]
    lines.append("")
    if broken:
        lines.append("Training and everything after it will NOT work; first:")
        lines += [f"  {finding.remedy or finding.what}" for finding in broken]
    else:
        lines.append("Will work: the toy box, training, evaluation, the command line.")
        wont = [finding for finding in found if finding.level != "ok" and finding.remedy]
        lines += ["Won't, or not fully (remedies above):"] if wont else ["Nothing is missing."]
        lines += [f"  {finding.what}" for finding in wont]
    return "\n".join(lines), int(bool(broken))


def doctor(root: str | Path | None = None) -> int:
    """Print what is installed, what will work and what won't, with remedies; return the exit code of `report`.

    Args:
        root: the folder where image sets are kept; None: $MNCLGLF_LITE_DATA, or data/.

    >>> mnclglf_lite.doctor()                                                       # doctest: +SKIP
    """
    text, code = report(root)
    print(text)
    return code


def _said(error: BaseException) -> str:
    """The first line of an error, short."""
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text[:140]}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:2])


def _python() -> Iterator[Finding]:
    text = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    if sys.version_info[:2] < OLDEST["python"]:
        yield Finding("problem", text, "install Python 3.10 or newer", essential=True)
    else:
        yield Finding("ok", text)


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:
        yield Finding("problem", f"torch: {_said(error)}", "pip install torch torchvision", essential=True)
        return
    build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU"
    text = f"torch {torch.__version__}, {build}"
    if _numbers(torch.__version__) < OLDEST["torch"]:
        yield Finding("problem", text, "pip install -U 'torch>=2.11' torchvision", essential=True)
    else:
        yield Finding("ok", text)


def _torchvision() -> Iterator[Finding]:
    """Not essential: only readers of published sets and comparisons with torchvision need it."""
    lost = "CIFAR in its published form cannot be read without it; the toy box and image folders can"
    pair = "pip install -U torch torchvision (one command, so that both come from the same index)"
    try:
        version = importlib.metadata.version("torchvision")
    except importlib.metadata.PackageNotFoundError:
        yield Finding("problem", f"torchvision is not installed: {lost}", pair)
        return
    try:
        importlib.import_module("torchvision")
    except Exception as error:  # a RuntimeError, not an ImportError, when its binary part does not fit
        why = ""
        if "torchvision::nms" in str(error):
            why = "; its binary part was built for another torch (often: torch for the CPU, this for CUDA)"
        yield Finding("problem", f"torchvision {version} does not import: {_said(error)}{why}. {lost}", pair)
        return
    wanted = importlib.metadata.requires("torchvision") or []
    wanted = [text for text in wanted if re.match(r"torch\b(?!-)", text)]
    torch = importlib.metadata.version("torch")
    if any(not _fits(torch, text) for text in wanted):
        yield Finding("problem", f"torchvision {version} wants {wanted[0]}, but torch is {torch}", pair)
    elif _numbers(version) < OLDEST["torchvision"]:
        yield Finding("problem", f"torchvision {version} is older than 0.26", pair)
    else:
        yield Finding("ok", f"torchvision {version}, fits torch and imports")


def _fits(version: str, requirement: str) -> bool:
    """Whether "torch==2.11.0" or "torch (>=2.14.0)" allows the version; what is not understood is allowed."""
    clause = re.search(r"(==|>=)\s*([\d.]+)", requirement)
    if clause is None:
        return True
    have, asked = (tuple(map(int, re.findall(r"\d+", v.split("+")[0])[:3])) for v in (version, clause[2]))
    return have == asked if clause[1] == "==" else have >= asked


def _device() -> Iterator[Finding]:
    import torch

    threads = f"{torch.get_num_threads()} threads on {os.cpu_count()} cores"
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(i)
            bf16 = "native bf16" if (facts.major, facts.minor) >= (8, 0) else "no native bf16: fp32 is used"
            text = f"cuda:{i} {facts.name}, {facts.total_memory / 2**30:.0f} GiB"
            text += f", capability {facts.major}.{facts.minor}"
            try:
                torch.ones(8, device=f"cuda:{i}").sum().item()
                yield Finding("ok", f"{text}, {bf16}")
            except RuntimeError as error:
                yield Finding(
                    "problem", f"{text}: does not compute ({_said(error)})",
                    "install a torch build for this GPU (see pytorch.org), or run with --device cpu",
                )  # fmt: skip
    elif torch.backends.mps.is_available():
        yield Finding("ok", "mps: the GPU of this Mac; fp32")
    elif shutil.which("nvidia-smi"):
        remedy = "the driver is too old for this build: update it, or take a torch built for an older CUDA"
        if not torch.version.cuda:
            remedy = "torch is built for the CPU: install a CUDA build of torch and torchvision together"
        yield Finding("note", "an NVIDIA driver is here, but torch cannot use a GPU", remedy)
    else:
        yield Finding("ok", "no GPU: the quick preset is made for this, the standard one would take days")
    yield Finding("ok", f"CPU: {threads}, training in {_cpu_precision()}")


def _cpu_precision() -> str:
    import torch

    from mnclglf_lite.core.device import autocast_dtype

    native = autocast_dtype("auto", torch.device("cpu")) is not None
    return "bf16, which this processor computes natively" if native else "fp32: this processor has no native bf16"


def _packages() -> Iterator[Finding]:
    for package, (module, use) in NEEDED.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                importlib.import_module(module)
            yield Finding("ok", f"{package} {importlib.metadata.version(package)}")
        except Exception as error:
            stops = package == "numpy"
            text = f"{package} does not import ({_said(error)}): needed for {use}"
            yield Finding("problem", text, f"pip install -U --force-reinstall {package}", essential=stops)
    for package, (module, use) in OPTIONAL.items():  # not imported: umap alone would take seconds
        try:
            yield Finding("ok", f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            remedy = f"pip install {package}"
            if package == "umap-learn" and importlib.util.find_spec(module):
                remedy = "what is installed is another package named umap: pip uninstall umap; " + remedy
            yield Finding("note", f"{package} is not installed: needed for {use}", remedy)


def _data(root: str | Path | None) -> Iterator[Finding]:
    if root is None:
        from mnclglf_lite.data.dataset import data_root

        root = data_root()
    root = Path(root).expanduser().absolute()
    there = next(folder for folder in (root, *root.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free / 1e6
    yield Finding("ok", "toybox: drawn when asked for, nothing to fetch")
    for name, (folders, megabytes) in IMAGE_SETS.items():
        if any((root / folder).is_dir() for folder in folders):
            yield Finding("ok", f"{name}: found in {root} (checksums are compared when it is read)")
        else:
            remedy = f"mnclglf-lite fetch {name} ({megabytes} MB of disk)"
            yield Finding("note", f"{name}: not in {root}", remedy)
    for name, folder in (("data folder", there), ("working folder", Path.cwd())):
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
                file.flush()
            yield Finding("ok", f"{name}: {folder} can be written to")
        except OSError as error:
            data = name == "data folder"
            remedy = "set MNCLGLF_LITE_DATA to another" if data else "give commands an --out elsewhere"
            yield Finding("problem", f"{name}: {folder} cannot be written to ({error.strerror})", remedy)
    text = f"{free / 1000:.1f} GB free on the disk of {there}"
    if free > 1000:  # the largest set takes 750 MB
        yield Finding("ok", text)
    else:
        yield Finding("note", text, "free some space, or set MNCLGLF_LITE_DATA to another disk")


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # run as a file: the package, in place of the folder of this file
    sys.exit(doctor())
