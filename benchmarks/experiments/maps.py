"""Do the classes stand apart on the map? kNN accuracy on the two UMAP coordinates of 1,000 test images, by run.

    python -m benchmarks.experiments.maps data/runs/toybox         every run below that has its checkpoint: DIR/maps.json

Each image is classified by its 10 nearest others on the map, one vote each (scikit-learn, leave one out). Beside it, kNN
accuracy (k 20, T 0.1, raw, bank: the training part) on validation images, which `compare --split test` does not tell.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean

import torch
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from benchmarks import timing
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.core.files import save_json
from mnclglf_lite.data.dataset import load_dataset
from mnclglf_lite.evaluation import layouts
from mnclglf_lite.evaluation.evaluate import evaluate, extract_features
from mnclglf_lite.training.run import load_run

POINTS, NEIGHBOURS, SEED = 1000, 10, 0  # ours


def accuracy_of(places: Tensor, labels: Tensor) -> float:
    """Accuracy of classifying each row of `places` (N, D) by its NEIGHBOURS nearest others, one vote each."""
    rule = KNeighborsClassifier(NEIGHBOURS)
    return float(cross_val_score(rule, places.numpy(), labels.numpy(), cv=LeaveOneOut()).mean())


def on_the_map(folder: Path, data: Path | None) -> dict[str, float]:
    """Accuracy on the map and in the features themselves, by the same rule; and kNN 20 on validation images."""
    run = load_run(folder, "cpu")
    splits = load_dataset(run.recipe.data.dataset, root=data)
    test = splits.test.subset(torch.arange(POINTS))
    size = run.recipe.views.eval_size or None
    features = extract_features(run.backbone, test, size=size)
    places = {"map": layouts.umap(features, seed=SEED), "features": torch.nn.functional.normalize(features)}
    found = {name: accuracy_of(x, test.labels) for name, x in places.items()}
    whole = evaluate(run.backbone, splits, "holdout", transforms=("raw",), linear=False, size=size)
    return found | {"validation": whole["knn20"]["raw"]["top1"]}


def main(argv: list[str] | None = None) -> None:
    parser = timing.parser(__doc__, data=True)
    parser.add_argument("folder", type=Path, help="of runs")
    args = parser.parse_args(argv)
    path, rows = args.folder / "maps.json", {}
    checkpoints = sorted(args.folder.glob("*/checkpoint.pt"))
    if not checkpoints:
        raise InputError(
            f"no run with its checkpoint lies in {args.folder}; `mnclglf-lite compare --out {args.folder}` makes some"
        )
    for each in checkpoints:
        rows[each.parent.name] = row = on_the_map(each.parent, args.data)
        print(
            f"{each.parent.name}: {100 * row['map']:.1f} % on the map, {100 * row['features']:.1f} % in the features; "
            f"validation {100 * row['validation']:.1f} %",
            flush=True,
        )
    means: dict[str, dict[str, list[float]]] = {}
    for name, row in rows.items():
        for what, value in row.items():
            means.setdefault(what, {}).setdefault(name.rsplit("-seed", 1)[0], []).append(value)
    said = {"split": "test", "points": POINTS, "neighbours": NEIGHBOURS, "map_seed": SEED} | timing.stamp(
        torch.device("cpu")
    )
    shown = {what: {name: mean(found) for name, found in each.items()} for what, each in means.items()}
    save_json(path, said | {"means": shown, "rows": rows})
    print(json.dumps({name: round(100 * value, 1) for name, value in shown["map"].items()}))


if __name__ == "__main__":
    timing.program(main, "maps")
