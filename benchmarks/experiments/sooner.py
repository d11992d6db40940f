"""Seconds to 55 % kNN on CIFAR-10: SimCLR by this package and by lightly, each with SGD and with Muon.

    python -m benchmarks.experiments.sooner --data DIR --out data/runs/sooner-cpu.json        an hour on two cores

Of each variant runs of different lengths are trained until the shortest is found whose accuracy reaches the target; then the
steps of all variants are timed in turn. Seconds are steps times seconds of a step (more in benchmarks/README.md).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import page, timing
from benchmarks.speed import peers, speed_rows
from mnclglf_lite.core.device import autocast_dtype
from mnclglf_lite.core.files import save_json
from mnclglf_lite.data.dataset import Splits, load_dataset
from mnclglf_lite.evaluation.evaluate import evaluate
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import Recipe, build_method
from mnclglf_lite.training.first_layer import start_from_data
from mnclglf_lite.training.optimiser import make_optimiser
from mnclglf_lite.training.step import set_rates
from mnclglf_lite.training.train import train

TARGET, GRID = 0.55, 50
SGD = {"optimiser": "sgd", "first_layer": "random", "temperature": 0.15, "lr": 1.5, "weight_decay": 5e-4}
VARIANTS = ("ours, Muon", "ours, SGD", "lightly, Muon", "lightly, SGD")
CPU = torch.device("cpu")


def recipe_of(variant: str, steps: int = GRID) -> Recipe:
    """SimCLR's quick recipe, with Muon as it stands, with SGD as the trials left it."""
    return preset("quick", "simclr", "cifar10", steps=steps, **(SGD if variant.endswith("SGD") else {}))


def peer(recipe: Recipe, splits: Splits) -> tuple[peers.PeerStep, Callable[[int, int], None]]:
    """lightly's step from our start, and a call that sets its rates at a step of so many."""
    method = build_method(recipe, len(splits.train.classes))
    if recipe.encoder.first_layer == "data":
        start_from_data(method, splits.train.images, recipe.views.view.size)
    one = peers.PeerStep(recipe, method, "lightly", CPU, autocast_dtype(recipe.optim.precision, CPU), True)
    one.optimiser = make_optimiser(recipe, one.model)
    return one, lambda step, steps: set_rates(one.optimiser, recipe, step, steps)


def accuracy(variant: str, steps: int, splits: Splits, workers: int) -> float:
    """kNN accuracy on validation images after so many steps."""
    recipe = recipe_of(variant, steps)
    if variant.startswith("ours"):
        backbone = train(recipe, splits, device="cpu", engine="eager", log=lambda text: None).backbone
    else:
        one, rate = peer(recipe, splits)
        torch.manual_seed(0)
        made = peers.Images(splits.train.images, peers.lightly_transform(recipe.views.view), "pillow")
        batches, _ = peers.loader(made, recipe.optim.batch_size, workers, True, False)
        for step in range(steps):
            rate(step, steps)
            one(next(batches))
        backbone = one.model[0]
    found = evaluate(backbone, splits, "holdout", transforms=("raw",), linear=False)
    return found["knn20"]["raw"]["top1"]


def shortest(variant: str, guess: int, rows: dict[str, float], measure: Callable[[int], float]) -> int:
    """The shortest length, a multiple of `GRID`, that reaches the target where one `GRID` less does not."""
    steps = guess
    while True:
        for each in (steps, steps - GRID):
            if each > 0 and str(each) not in rows:
                rows[str(each)] = measure(each)
                print(f"{variant}, {each} steps: kNN {100 * rows[str(each)]:.2f} %", flush=True)
        if rows[str(steps)] < TARGET:
            steps += GRID
        elif steps > GRID and rows[str(steps - GRID)] >= TARGET:
            steps -= GRID
        else:
            return steps


def paces(splits: Splits, turns: int) -> dict[str, list[float]]:
    """Seconds of a step of every variant, timed in turn."""
    with tempfile.TemporaryDirectory() as folder:
        kept = {"images": splits.train.images, "labels": splits.train.labels, "classes": len(splits.train.classes)}
        torch.save(kept, path := f"{folder}/images.pt")
        rows = {}
        for variant in VARIANTS:
            recipe = recipe_of(variant)
            spec = {"device": "cpu", "recipe": recipe.to_dict(), "threads": None, "trial_seconds": 2.0, "images": path}
            spec |= {"engine": "eager", "compile": False, "workers": None}
            rows[variant] = row = speed_rows.BUILD["ours" if variant.startswith("ours") else "lightly-tuned"](spec)
            if variant.startswith("lightly"):
                row.one.optimiser = make_optimiser(recipe, row.one.model)
        found: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
        for _ in range(turns):
            for variant, row in rows.items():
                found[variant].append(speed_rows.pace(row, 6.0))
    return found


def table(found: dict[str, Any]) -> str:
    """SimCLR's seconds to the target, by whose code and which optimiser, and what they are."""
    lines = [
        [name, f"{steps:,}", f"{1000 * median(found['step_seconds'][name]):.0f}", f"{found['seconds'][name]:.0f}"]
        + [f"{found['ratios'][name]:.1f}"]
        for name, steps in found["steps"].items()
    ]
    recipe = found["recipes"]["ours, Muon"]
    head = [f"SimCLR, slim net, {recipe['view']['size']} pixels", "steps", "ms a step", "seconds", "times as long"]
    return (
        f"{page.table(head, lines)}\n\nThe shortest run, in steps of {found['grid']}, that reaches "
        f"{100 * found['target']:.0f} % kNN on CIFAR-10's validation images (k 20, T 0.1, raw, bank: the training "
        f"part), seed {recipe['seed']}; {found['hardware']}; torch {found['versions']['torch']}"
    )


def in_short(found: dict[str, Any]) -> str:
    """For the README."""
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in found["seconds"].items())
    return f"Seconds of training to {100 * found['target']:.0f} % kNN on CIFAR-10's validation images: {seconds}."


def render(found: dict[str, Any], name: str) -> str:
    command = f"python -m {__name__} --data DIR --out data/runs/{name}"
    return page.section(f"Seconds to {100 * found['target']:.0f} % kNN on CIFAR-10", command, table(found))


def main(argv: list[str] | None = None) -> None:
    parser = timing.parser(__doc__, data=True)
    parser.add_argument("--out", type=Path, default=timing.RUNS / "sooner-cpu.json", help="the record")
    parser.add_argument("--workers", type=int, default=2, help="lightly's loader processes while accuracy is measured (2)")
    parser.add_argument("--guess", type=int, nargs=2, default=(400, 800), help="steps to begin with: Muon, SGD (400 800)")
    parser.add_argument("--only", choices=VARIANTS, help="find this variant's steps alone, and no paces")
    args = parser.parse_args(argv)
    splits = load_dataset("cifar10", root=args.data)
    found = json.loads(args.out.read_text()) if args.out.exists() else {"lengths": {}, "steps": {}}
    for variant in [args.only] if args.only else VARIANTS:
        rows = found["lengths"].setdefault(variant, {})

        def measure(steps: int, variant: str = variant, rows: dict[str, float] = rows) -> float:
            rows[str(steps)] = accuracy(variant, steps, splits, args.workers)
            save_json(args.out, found)
            return rows[str(steps)]

        found["steps"][variant] = shortest(variant, args.guess[variant.endswith("SGD")], rows, measure)
        save_json(args.out, found)
    if args.only:
        return
    times = paces(splits, 5)
    seconds = {variant: found["steps"][variant] * median(times[variant]) for variant in VARIANTS}
    found |= {"what": "seconds to the target", "target": TARGET, "grid": GRID, "split": "holdout", "protocol": "knn20"}
    found |= {"recipes": {variant: recipe_of(variant).to_dict() for variant in VARIANTS}, "step_seconds": times}
    found |= {"seconds": seconds, "ratios": {name: value / seconds["ours, Muon"] for name, value in seconds.items()}}
    save_json(args.out, found | timing.stamp(CPU))
    for variant in VARIANTS:
        said = f"{found['steps'][variant]} steps of {1000 * median(times[variant]):.0f} ms = {seconds[variant]:.0f} s"
        print(f"{variant}: {said}, {found['ratios'][variant]:.1f} times as long as ours with Muon")


if __name__ == "__main__":
    timing.program(main, "sooner")
