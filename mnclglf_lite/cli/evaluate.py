"""The command `evaluate`: what a run, or exported weights, are worth under every protocol, beside the baselines."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from ..core.device import pick_device
from ..core.errors import InputError
from ..core.files import save_json
from ..core.text import format_duration, slug
from ..data import toybox
from ..data.dataset import ImageSet, Splits, joined
from ..evaluation import evaluate as measures
from ..evaluation import linear, paper_probe
from ..evaluation.evaluate import extract_features, query_split
from ..recipe.recipe import Recipe, build_method, check_holdout_unseen
from ..results import export
from ..training.first_layer import with_data_start
from ..training.run import load_run


class Measured(NamedTuple):
    """What is measured: of a run, or of what `export` wrote of one."""

    recipe: Recipe
    backbone: nn.Module
    steps: int
    seconds: float  # of training


def evaluate(args: argparse.Namespace, load: Callable[[str], Splits]) -> None:
    """Measure, print and write down. Whatever cannot be asked is refused before any work."""
    network = _measured(args)
    recipe, home = network.recipe, network.recipe.data.dataset
    elsewhere = args.dataset and args.dataset != home  # transfer: the run's own result stays
    if not elsewhere:
        check_holdout_unseen(recipe, args.split)
    name = f"result-{slug(args.dataset)}.json" if elsewhere else "result.json"
    path = args.json or (args.folder / name if args.folder else None)
    if path and not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} for the results (--json); make it first")
    protocol = paper_probe.PaperProtocol(epochs=args.paper) if args.paper else None
    splits = load(args.dataset or home)
    queries, size = query_split(splits, args.split), recipe.views.eval_size or None
    if args.factors and splits.train.factors is None:
        raise InputError(f"{splits.train.name} has no known factors; they are the toy box's: --dataset toybox")
    random = build_method(recipe, len(splits.train.classes)).to(splits.train.device).backbone
    known = splits
    if not recipe.data.holdout and not elsewhere:  # what the network has trained on is the bank
        known = splits._replace(train=joined(splits.train, splits.holdout))
    others = {} if elsewhere else with_data_start(recipe, splits)
    rows = measures.baseline_rows(random, known, args.split, size, others=others)
    label = recipe.method.name + ("" if getattr(recipe.method, "local_gradient", True) else " as released")
    row = rows[label] = measures.evaluate(network.backbone, known, args.split, size=size)
    result = {"recipe": recipe.to_dict(), "step": network.steps, "train_seconds": network.seconds, "rows": rows}
    print(measures.table(rows))
    print(
        f"\n{splits.train.name}, evaluated on {args.split} ({row['queries']:,} images, bank {row['bank']:,}); kNN: cosine, "
        f"weighted, T 0.1; linear: L-BFGS on cached features; percent; seed {recipe.seed}, {network.steps} steps in "
        f"{format_duration(network.seconds)}, {row['hardware']}"
    )
    if args.few_labels or args.factors:
        features = [extract_features(network.backbone, part, size=size) for part in (known.train, queries)]
        if args.few_labels:
            result["few_labels"] = _few_labels(features, known.train, queries)
        if args.factors:
            result["factors"] = _factors(features, splits.train, queries)
    if protocol:
        result["paper_linear"] = _paper_linear(network.backbone, known.train, queries, protocol, recipe.seed, size)
    if path:
        save_json(path, result)
    print(f"\nwritten to {path}" if path else "\nnot written down; --json FILE does that")


def _measured(args: argparse.Namespace) -> Measured:
    if (args.folder is None) == (args.weights is None):
        raise InputError("name the folder of a run, or --weights FILE, one of the two")
    if args.weights is None:
        run = load_run(args.folder, args.device)
        return Measured(run.recipe, run.backbone, run.step, run.seconds)
    told = export.read_metadata(args.weights)
    backbone = export.load_backbone(args.weights).to(pick_device(args.device))
    recipe = export.recipe_of(told, args.weights)
    return Measured(recipe, backbone, int(told["steps"]), float(told.get("train_seconds", 0)))


def _few_labels(features: list[Tensor], train: ImageSet, queries: ImageSet) -> dict[str, list[float]]:
    """Linear accuracy by labels a class: as many as the rarest class has."""
    each = tuple(count for count in linear.LABELS_A_CLASS if count <= int(train.labels.bincount().min()))
    curve = linear.few_label_curve(features[0], train.labels, features[1], queries.labels, len(train.classes), each)
    print("\nlabels a class -> linear top-1 of three draws")
    for count, draws in curve.items():
        print(f"{count:6d}  " + "  ".join(f"{100 * value:.1f}" for value in draws))
    return {str(count): draws for count, draws in curve.items()}


def _factors(features: list[Tensor], train: ImageSet, queries: ImageSet) -> dict[str, Any]:
    """What a linear map reads out of the features. `joined` images have no factors of the hold-out: its rows are cut off."""
    found = linear.factor_probe(features[0][: len(train)], train.factors, features[1], queries.factors, toybox.PERIODS)
    print("\nfactor -> what a linear map reads out of the features")
    for name, value in found.items():
        print(f"{name:>18}  {value['kind']} {value['value']:.2f}  (chance {value['chance']:.2f})")
    return found


def _paper_linear(
    backbone: nn.Module, train: ImageSet, queries: ImageSet, protocol: paper_probe.PaperProtocol, seed: int, size: int | None
) -> dict[str, Any]:
    found = paper_probe.paper_probe(backbone, train, queries, protocol, seed, size)
    last, best = found["last"], found["best_on_test"]
    print(
        f"\nthe paper's linear protocol, {protocol.epochs} epochs: last epoch {100 * last['top1']:.2f} / "
        f"{100 * last['top5']:.2f} (best of all tests {100 * best['top1']:.2f} / {100 * best['top5']:.2f})"
    )
    return found
