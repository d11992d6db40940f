"""What is shipped in data/weights/cifar10-slim, out of the runs in data/runs/cifar10-slim and CIFAR-10.

    python -m benchmarks.experiments.ship --data DIR

    NAME.safetensors    the run's backbone in half precision
    points.npz          of all runs: features, labels, numbers and UMAPs of 2,000 test images

Every exported backbone is measured again as `mnclglf-lite evaluate --weights` would; where one figure is further than 0.1
points from the run's own, nothing more is written and the difference is told. Needs the runs' checkpoint.pt, so the machine
they were trained on: `python -m benchmarks.experiments.ablation family` makes them.
"""

from __future__ import annotations

import io
import json

import numpy as np
import torch

from benchmarks import timing
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.core.files import write_atomically
from mnclglf_lite.data.dataset import load_dataset
from mnclglf_lite.evaluation import evaluate, layouts
from mnclglf_lite.evaluation.evaluate import extract_features
from mnclglf_lite.evaluation.layouts import subsample
from mnclglf_lite.results import export, pretrained
from mnclglf_lite.training.run import load_run

RUNS = timing.RUNS / "cifar10-slim"
SEED = 0  # of the runs that are shipped, and of the UMAPs
MOST = 0.001  # as a share of 1: what half precision may change in an accuracy


def apart(found: dict, kept: dict) -> dict[str, float]:
    """How far each top-1 of the exported backbone is from the run's own."""
    far = {
        f"{protocol} {transform}": abs(found[protocol][transform]["top1"] - kept[protocol][transform]["top1"])
        for protocol in evaluate.KNN_PROTOCOLS
        for transform in kept[protocol]
    }
    return far | {"linear": abs(found["linear"]["top1"] - kept["linear"]["top1"])}


def main(words: list[str] | None = None) -> None:
    parser = timing.parser(__doc__, data=True)
    args = parser.parse_args(words)
    splits = load_dataset("cifar10", root=args.data)
    index = subsample(len(splits.test))
    some, kept, runs = splits.test.subset(index), {}, {}
    rows = json.loads((RUNS / "compare.json").read_text())["rows"]
    folders = [RUNS / f"{name}-seed{SEED}" for name in rows]
    lacking = [folder.name for folder in folders if not (folder / "checkpoint.pt").exists()]
    if lacking:
        raise InputError(f"no checkpoint of {', '.join(lacking)} in {RUNS}: `ablation family` trains them")
    pretrained.FOLDER.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        name, run = folder.name.removesuffix(f"-seed{SEED}"), load_run(folder, "cpu")
        path = export.export_run(run, pretrained.FOLDER / f"{name}.safetensors", half=True)
        backbone = export.load_backbone(path)
        far = apart(evaluate.evaluate(backbone, splits, "test"), rows[name]["runs"][0])
        worst = max(far, key=far.get)
        print(f"{name:18s} {path.stat().st_size / 1e6:.2f} MB; furthest: {worst}, {100 * far[worst]:.2f} points", flush=True)
        if far[worst] > MOST:
            raise InputError(f"{path}: {worst} is {100 * far[worst]:.2f} points from the run's; ship it without half")
        found = extract_features(backbone, some)
        kept[f"features/{name}"] = found.half().numpy()
        kept[f"layouts/{name}"] = layouts.umap(found, seed=SEED).numpy()
        runs[name] = {"steps": run.step, "train_seconds": round(run.seconds, 1), "furthest": round(far[worst], 5)}
    about = {
        "command": "python -m benchmarks.experiments.ship",
        "what": f"features (half precision) and UMAPs of {len(index):,} test images of CIFAR-10",
        "runs": runs,
        "seed": SEED,
        "map": layouts.describe("umap", seed=SEED),
        "classes": splits.test.classes,
        **timing.stamp(torch.device("cpu")),
    }
    arrays = {"labels": some.labels.numpy().astype(np.uint8), "index": index.numpy().astype(np.int32)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, about=np.array(json.dumps(about)), **arrays, **kept)
    write_atomically(pretrained.FOLDER / pretrained.ARCHIVE, buffer.getvalue())
    print(f"{pretrained.ARCHIVE}: {len(buffer.getvalue()) / 1e6:.2f} MB, {len(runs)} methods")


if __name__ == "__main__":
    timing.program(main, "ship")
