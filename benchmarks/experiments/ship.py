"""What is shipped in data/weights: features and maps of 2,000 test images under every backbone that lies there.

    python -m benchmarks.experiments.ship cifar10 --data DIR
    python -m benchmarks.experiments.ship toybox

    points.npz    features, UMAPs, t-SNEs and nearest neighbours by backbone, labels and numbers of the images; of a network
                  before training the maps alone
    film.npz      for the toy box, where its run was made: UMAPs of 1,000 images all through SimCLR's training

`at_length` trains the networks and writes their weights. Here each backbone is measured again, as `mnclglf-lite evaluate
--weights` would: where one figure is further than 0.1 points from the run's own, nothing more is written and that is told.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import timing
from benchmarks.experiments.maps import accuracy_of
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.core.files import write_atomically
from mnclglf_lite.data.dataset import load_dataset
from mnclglf_lite.evaluation import evaluate, layouts
from mnclglf_lite.evaluation.evaluate import extract_features, recalibrate_batchnorm
from mnclglf_lite.evaluation.knn import nearest_neighbours
from mnclglf_lite.evaluation.layouts import NEIGHBOURS, subsample
from mnclglf_lite.recipe.recipe import Recipe, build_method
from mnclglf_lite.results import export, pretrained

FOLDERS = {"toybox": ("toybox-long",), "cifar10": ("cifar10-long", "flagship")}  # of the records, in data/runs
SEED = 0  # of the runs that are shipped, and of the maps
MOST = 0.001  # as a share of 1: what half precision may change in an accuracy
FILM = "film.npz"
FILM_POINTS = 1000  # images in an animated map (ours)


def apart(found: dict, kept: dict) -> dict[str, float]:
    """How far each top-1 of the exported backbone is from the run's own."""
    far = {
        f"{protocol} {transform}": abs(found[protocol][transform]["top1"] - kept[protocol][transform]["top1"])
        for protocol in evaluate.KNN_PROTOCOLS
        for transform in kept[protocol]
    }
    return far | {"linear": abs(found["linear"]["top1"] - kept["linear"]["top1"])}


def rows_of(dataset: str) -> dict[str, dict[str, Any]]:
    """{name: recipe, and the runs' results} of all comparisons of an image set that are there."""
    paths = [timing.RUNS / folder / "compare.json" for folder in FOLDERS[dataset]]
    return {name: row for path in paths if path.exists() for name, row in json.loads(path.read_text())["rows"].items()}


def maps_of(features: Tensor, labels: Tensor) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Both maps and the nearest neighbours; and how well neighbours agree, in the features and on the maps."""
    near = nearest_neighbours(features, features, NEIGHBOURS, exclude_self=True)[1]
    flat = {"layouts": layouts.umap(features, seed=SEED), "tsne": layouts.tsne(features, seed=SEED)}
    found = {what: places.numpy() for what, places in flat.items()} | {"neighbours": near.numpy().astype(np.uint16)}
    told = {"same_class": float((labels[near] == labels[:, None]).double().mean())}
    return found, told | {f"knn_{what}": accuracy_of(places, labels) for what, places in flat.items()}


def film_of(run: Path) -> dict[str, np.ndarray]:
    """UMAPs (F, N, 2) of a run's snapshots, each started from the one before, and at which steps they were taken (F,)."""
    paths, frames, places = sorted((run / "snapshots").glob("*.npy")), [], None
    for path in paths:
        places = layouts.umap(torch.from_numpy(np.load(path)[:FILM_POINTS]), seed=SEED, start=places)
        frames.append(places.numpy())
    return {"places": np.stack(frames).astype(np.float32), "steps": np.array([int(path.stem) for path in paths])}


def save(path: Path, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, about=np.array(json.dumps(about)), **arrays)
    write_atomically(path, buffer.getvalue())
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB", flush=True)


def main(words: list[str] | None = None) -> None:
    parser = timing.parser(__doc__, data=True)
    parser.add_argument("dataset", choices=FOLDERS)
    args = parser.parse_args(words)
    splits, folder, rows = (
        load_dataset(args.dataset, root=args.data),
        pretrained.folder_of(args.dataset),
        rows_of(args.dataset),
    )
    if not rows:
        raise InputError(f"no record of {args.dataset} in {timing.RUNS}: `at_length {args.dataset}` trains the networks")
    index = subsample(len(splits.test))
    some, kept, runs = splits.test.subset(index), {}, {}
    recipe = Recipe.from_dict(next(reversed(rows.values()))["recipe"])
    network = recalibrate_batchnorm(build_method(recipe, len(some.classes)).backbone, splits.train)
    arrays, untrained = maps_of(extract_features(network, some), some.labels)
    kept |= {f"{what}/untrained": array for what, array in arrays.items()}
    for name, row in rows.items():
        run, path = row["runs"][0], pretrained.weights_path(name, args.dataset)
        backbone = export.load_backbone(path)
        far = apart(evaluate.evaluate(backbone, splits, "test"), run)
        worst = max(far, key=far.get)
        print(f"{name:18s} {path.stat().st_size / 1e6:.2f} MB; furthest: {worst}, {100 * far[worst]:.2f} points", flush=True)
        if far[worst] > MOST:
            raise InputError(f"{path}: {worst} is {100 * far[worst]:.2f} points from the run's; ship it without half")
        features = extract_features(backbone, some)
        arrays, told = maps_of(features, some.labels)
        kept |= {f"features/{name}": features.half().numpy()} | {f"{what}/{name}": array for what, array in arrays.items()}
        runs[name] = {"steps": run["steps"], "train_seconds": run["train_seconds"], "furthest": round(far[worst], 5)} | told
    about = {
        "command": f"python -m benchmarks.experiments.ship {args.dataset}",
        "what": f"{len(index):,} test images: features (half precision), maps, {NEIGHBOURS} nearest neighbours",
        "runs": runs,
        "untrained": untrained,
        "seed": SEED,
        "map": layouts.describe("umap", seed=SEED),
        "classes": some.classes,
        **timing.stamp(torch.device("cpu")),
    }
    places = {"labels": some.labels.numpy().astype(np.uint8), "index": index.numpy().astype(np.int32)}
    save(folder / pretrained.ARCHIVE, about, places | kept)
    run = timing.RUNS / FOLDERS[args.dataset][0] / f"simclr-seed{SEED}"
    if args.dataset == "toybox" and (run / "snapshots").is_dir():
        save(
            folder / FILM,
            about | {"runs": {"simclr": runs["simclr"]}},
            film_of(run) | {"labels": places["labels"][:FILM_POINTS]},
        )


if __name__ == "__main__":
    timing.program(main, "ship")
