"""The paper's table again: what its authors print, and what our own kept runs say, side by side and never mixed.

Three blocks of columns, each under a protocol of its own, which the lines below the table name:

    printed        the README of MNCLGLF's code: ResNet-18, images enlarged to 224 pixels, linear, the best test
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
    "CIFAR-10", "printed", "/ SimCLR", "GPU: linear", "kNN", "/ SimCLR", "minutes", "CPU: linear", "kNN", "/ SimCLR", "s"
]  # fmt: skip


def on_gpu(folder: Path) -> dict[str, dict[str, Any]]:
    """What the GPU script's complete runs measured on the test set: linear, kNN (k 200), and seconds of training."""
    found = {}
    for name in ROWS:
        path = folder / "gpu" / f"{name}.json"
        record = json.loads(path.read_text()) if path.exists() else {"state": "open"}
        if record["state"] == "complete" and not record["pretend"]:
            test = record["test"]
            found[name] = {"linear": test["linear"]["top1"], "knn": test["knn"]["raw"]["top1"]}
            found[name] |= {"seconds": record["train_seconds"], "seed": record["recipe"]["seed"]}
            found[name] |= {"epochs": f"{record['epochs']:.0f}", "hardware": record["hardware"]}
    return found


def on_cpu(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The slim network's rows, from a comparison's record: means over their seeds."""
    read = {
        "linear": lambda run: run["linear"]["top1"],
        "knn": lambda run: run["knn"]["raw"]["top1"],
        "seconds": lambda run: run["train_seconds"],
    }
    rows = result.get("rows", {})
    return {name: {key: mean(map(of, row["runs"])) for key, of in read.items()} for name, row in rows.items()}


def table(folder: Path = KEPT, markdown: bool = False) -> str:
    """The table and, below it, the protocols of its three blocks."""
    path = folder / "cifar10-slim" / "compare.json"
    result = json.loads(path.read_text()) if path.exists() else {}
    printed = {name: {"linear": top1 / 100} for name, ((top1, _), *_) in PAPER.items()}
    gpu, cpu = on_gpu(folder), on_cpu(result)
    lines = []
    for name, title in ROWS.items():
        line = [title, cell(printed, name, "linear", 2), over_simclr(printed, name)]
        line += [cell(gpu, name, "linear", 2), cell(gpu, name, "knn"), over_simclr(gpu, name)]
        line += [cell(gpu, name, "seconds", 1, 1 / 60), cell(cpu, name, "linear"), cell(cpu, name, "knn")]
        lines.append([*line, over_simclr(cpu, name), cell(cpu, name, "seconds", 0, 1)])
    return "\n\n".join([format_table(HEAD, lines, markdown), *notes(result, gpu)])


def cell(block: dict[str, dict[str, Any]], name: str, key: str, digits: int = 1, scale: float = 100) -> str:
    """A number of a block, a share in percent; a dash where it has not been run."""
    return f"{scale * block[name][key]:.{digits}f}" if name in block else "-"


def over_simclr(block: dict[str, dict[str, Any]], name: str) -> str:
    """Linear accuracy over SimCLR's of the same block; a dash where one of them has not been run."""
    return f"{block[name]['linear'] / block['simclr']['linear']:.3f}" if {name, "simclr"} <= block.keys() else "-"


def notes(result: dict[str, Any], gpu: dict[str, dict[str, Any]]) -> list[str]:
    """What the numbers of each block are."""
    said = [
        "*printed*: README of the code of Li, Long, Li 2023 (arXiv 2306.15930): ResNet-18, 224 pixels, ImageNet stem, "
        "linear top-1 of 90 epochs of crops, the best test; one number each; drawn or released is not said."
    ]
    if gpu:
        keys = ("epochs", "seed", "hardware")
        each = {key: ", ".join(dict.fromkeys(str(row[key]) for row in gpu.values())) for key in keys}
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
            f"kNN k 200, evaluated on {result['on']}; seeds {', '.join(str(run['seed']) for run in runs)}; "
            f"{runs[0]['hardware']}. MNCLGLF's temperature and learning rate are the best of twelve on the hold-out, those "
            "of the others of a handful of trials: no ranking."
        )
    return said
