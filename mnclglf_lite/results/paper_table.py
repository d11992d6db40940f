"""The paper's table again: what its authors print, and what our own kept runs say, side by side and never mixed.

Three blocks of columns, each under a protocol of its own, which the lines below the table name:

    printed        the README of MNCLGLF's code: ResNet-18, pictures enlarged to 224 pixels, linear, the best test
    ours, GPU      ResNet-18 at 32 pixels, `standard` preset, as many minutes each, by `benchmarks/gpu/first_light.py`:
                   data/runs/gpu/NAME.json; trained on 45,000 images, measured on the test set at the end
    ours, CPU      the slim network, a run a core, as many whole views for each: data/runs/cifar10-slim/

Within a block the ratio to SimCLR can be compared with that of another block; accuracies cannot. "-" has not been run.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

from ..core.text import format_table
from ..methods.registry import BUILT_IN
from .published import PAPER
from .records import KEPT

# name of a kept run: its row. The printed table does not say which form of MNCLGLF it shows.
ROWS: dict[str, str] = {}
for _method in BUILT_IN:
    ROWS[_method.Config.name] = _method.title
    if _method.Config.name == "mnclglf":
        ROWS["mnclglf-released"] = "MNCLGLF as released"
HEAD = [
    "CIFAR-10",
    "printed",
    "/ SimCLR",
    "GPU: linear",
    "kNN",
    "/ SimCLR",
    "minutes",
    "CPU: linear",
    "kNN",
    "/ SimCLR",
    "s",
]


def on_gpu(folder: Path) -> dict[str, dict[str, Any]]:
    """What the GPU script's complete runs measured on the test set: linear, kNN (k 200), and seconds of training."""
    found = {}
    for name in ROWS:
        path = folder / "gpu" / f"{name}.json"
        record = json.loads(path.read_text()) if path.exists() else {"state": "open"}
        if record["state"] == "complete" and not record["pretend"]:
            found[name] = {
                "linear": record["test"]["linear"]["top1"],
                "knn": record["test"]["knn"]["raw"]["top1"],
                "seconds": record["train_seconds"],
                "seed": record["recipe"]["seed"],
                "epochs": f"{record['epochs']:.0f}",
                "hardware": record["hardware"],
            }
    return found


def on_cpu(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The slim network's rows, from a comparison's record: means over their seeds."""
    return {
        name: {
            "linear": mean(run["linear"]["top1"] for run in row["runs"]),
            "knn": mean(run["knn"]["raw"]["top1"] for run in row["runs"]),
            "seconds": mean(run["train_seconds"] for run in row["runs"]),
        }
        for name, row in result.get("rows", {}).items()
    }


def table(folder: Path = KEPT, markdown: bool = False) -> str:
    """The table and, below it, the protocols of its three blocks."""
    path = folder / "cifar10-slim" / "compare.json"
    result = json.loads(path.read_text()) if path.exists() else {}
    gpu, cpu = on_gpu(folder), on_cpu(result)
    printed = {name: top1 / 100 for name, ((top1, _), *_) in PAPER.items()}

    def share(value: float | None, digits: int = 1) -> str:
        return "-" if value is None else f"{100 * value:.{digits}f}"

    def ratio(value: float | None, base: float | None) -> str:
        return "-" if value is None or base is None else f"{value / base:.3f}"

    bases = [printed["simclr"], gpu.get("simclr", {}).get("linear"), cpu.get("simclr", {}).get("linear")]
    lines = []
    for name, title in ROWS.items():
        theirs, large, small = printed.get(name), gpu.get(name, {}), cpu.get(name, {})
        linear = [theirs, large.get("linear"), small.get("linear")]
        over = [ratio(value, base) for value, base in zip(linear, bases, strict=True)]
        minutes, seconds = (f"{large['seconds'] / 60:.1f}" if large else "-"), (f"{small['seconds']:.0f}" if small else "-")
        lines.append([
            title, share(theirs, 2), over[0],
            share(linear[1], 2), share(large.get("knn")), over[1], minutes,
            share(linear[2]), share(small.get("knn")), over[2], seconds,
        ])  # fmt: skip
    return "\n\n".join([format_table(HEAD, lines, markdown), *notes(result, gpu)])


def notes(result: dict[str, Any], gpu: dict[str, dict[str, Any]]) -> list[str]:
    """What the numbers of each block are."""
    said = [
        "*printed*: README of the code of Li, Long, Li 2023 (arXiv 2306.15930): ResNet-18, 224 pixels, ImageNet stem, "
        "linear top-1 of 90 epochs of crops, the best test; one number each; drawn or released is not said."
    ]
    if gpu:
        each = {
            key: ", ".join(dict.fromkeys(str(row[key]) for row in gpu.values())) for key in ("epochs", "seed", "hardware")
        }
        said.append(
            f"*GPU*: ResNet-18, 32 pixels, CIFAR stem, {each['epochs']} epochs in this order, trained on 45,000 images, "
            f"linear by L-BFGS on features, kNN k 200, measured on the test set; seed {each['seed']}; {each['hardware']}."
        )
    else:
        said.append("*GPU*: not run yet; `python -m benchmarks.gpu.first_light` fills it (see benchmarks/gpu/README.md).")
    if result:
        runs = next(iter(result["rows"].values()))["runs"]
        said.append(
            f"*CPU*: the slim network, {result['budget']['image_views']:,} whole views each, linear by L-BFGS on features, "
            f"kNN k 200, asked on {result['on']}; seeds {', '.join(str(run['seed']) for run in runs)}; "
            f"{runs[0]['hardware']}. MNCLGLF's temperature and rate are the best of twelve on the hold-out, those of the "
            "others of a handful of trials: no ranking."
        )
    return said
