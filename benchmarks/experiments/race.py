"""The race: how many seconds of training, without labels, from scratch, to 90 % kNN and to linear 90.18 % on CIFAR-10?

    python -m benchmarks.experiments.race --batch-size 512 --epochs 500 --folder runs/race --out data/runs/race.json

The rule keeps test images out of every choice (benchmarks/README.md): settings are chosen with `--no-test`; the test set is
evaluated once a measure; `--whole` is the last run, which trains on all 50,000 images. An interrupt is obeyed between two
steps; the same command goes on from the checkpoint in --folder, and the clock with it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks import timing
from mnclglf_lite.core.device import describe_device, pick_device
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.core.files import save_json
from mnclglf_lite.data import dataset
from mnclglf_lite.data.dataset import batch_order, load_dataset
from mnclglf_lite.evaluation.evaluate import extract_features
from mnclglf_lite.evaluation.knn import KNN_PLAIN, knn
from mnclglf_lite.evaluation.linear import LinearProtocol, linear_probe
from mnclglf_lite.recipe.flags import add_recipe_flags, choose, presets_for, recipe_from
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.training import checkpoint
from mnclglf_lite.training.interrupt import stop_between_steps
from mnclglf_lite.training.prepare import check_recipe, open_run
from mnclglf_lite.training.recorder import CHECKPOINT_SECONDS
from mnclglf_lite.training.run import Meter, Run
from mnclglf_lite.training.step import Step

TARGETS = {"knn": 0.9, "linear": 0.9018}  # shares of the queries: the public race's, MNCLGLF's README's
EVERY = 10  # epochs between two looks at the hold-out (ours)
BATCH = 512  # that of the standing entry
STANDING = {"who": "dkobak/simclr-cifar10", "seconds": 99 * 60, "knn": 0.903, "hardware": "A100", "epochs": 500}


def accuracies(run: Run, bank: dataset.ImageSet, queries: dataset.ImageSet, measures: Iterable[str]) -> dict[str, float]:
    """Share of the queries that each measure names: ten neighbours with one vote each, a linear classifier."""
    known, found = (
        extract_features(run.backbone, part, size=run.recipe.views.eval_size or None) for part in (bank, queries)
    )
    given, classes = (known, bank.labels, found, queries.labels), len(bank.classes)
    read = {"knn": lambda: knn(*given, KNN_PLAIN, classes), "linear": lambda: linear_probe(*given, classes)}
    return {measure: read[measure]()["top1"] for measure in measures}


def race(
    recipe: Recipe, splits: dataset.Splits, folder: Path, *, targets: dict[str, float] = TARGETS, every: int = EVERY,
    ask_test: bool = True, device: torch.device, engine: str = "auto",
) -> dict[str, Any]:  # fmt: skip
    """Run, or go on with, one attempt that lives in `folder`; returns what `race.json` there says.

    `recipe.data.holdout` False is the last run: all images are trained on, and nothing is evaluated on the way.
    """
    path, everything = folder / "race.json", dataset.joined(splits.train, splits.holdout)
    kept = json.loads(path.read_text()) if path.exists() else {}
    if kept and (kept["targets"], kept["every"], kept["asks_test"]) != (targets, every, ask_test):
        raise InputError(f"the attempt in {folder} was begun with other targets, every or no-test; give another --folder")
    if kept.get("complete"):
        check_recipe(folder, Recipe.from_dict(kept["recipe"]), recipe)
        return kept
    images = splits.train if recipe.data.holdout else everything
    run = open_run(recipe, splits._replace(train=images), folder, True, device)
    curve = [row for row in kept.get("curve", []) if row["step"] <= run.step]
    marks = {name: mark for name, mark in kept.get("marks", {}).items() if mark["step"] <= run.step}
    spent = kept.get("evaluation_seconds", 0.0)  # on measuring
    batch = recipe.optim.batch_size
    per_epoch = len(images) // batch
    going = f"{run.total_steps} steps, {per_epoch} an epoch, from step {run.step}"
    print(f"{recipe.method.name}: {going}; {describe_device(device)}")
    run.method.train()
    one = Step(run, images.images, images.labels, engine)
    counted_at = saved_at = time.perf_counter()
    shuffled = -1

    def count_time() -> None:
        nonlocal counted_at
        timing.wait(device)
        now = time.perf_counter()
        run.seconds, counted_at = run.seconds + now - counted_at, now

    def save() -> None:
        nonlocal saved_at
        run.check_finite()
        checkpoint.save(folder / "checkpoint.pt", run.state())
        saved_at = time.perf_counter()

    def mark(measures: list[str], reached: bool) -> None:
        """Stop the clock of some measures, and ask the test set by them."""
        said = accuracies(run, everything, splits.test, measures) if ask_test and measures else {}
        for name in measures:
            marks[name] = {"reached_on_holdout": reached, "step": run.step, "epoch": round(run.step / per_epoch, 2)}
            marks[name] |= {"seconds": round(run.seconds, 2)}
            if name in said:
                marks[name] |= {"test": said[name], "holds": said[name] >= targets[name]}

    def result(**more: Any) -> dict[str, Any]:
        found = {"what": "seconds of training to each target", "standing": STANDING, "recipe": recipe.to_dict()}
        found |= {"targets": targets, "marks": marks, "every": every}
        found |= {"asks_test": ask_test, "whole": not recipe.data.holdout}
        found |= {"protocols": {"knn": asdict(KNN_PLAIN), "linear": asdict(LinearProtocol())}}
        found |= {"dataset": splits.train.name, "bank": len(everything)}
        found |= {"queries": len(splits.test), "step": run.step, "epoch": round(run.step / per_epoch, 2)}
        found |= {"seconds": round(run.seconds, 2), "evaluation_seconds": round(spent, 2), "engine": one.engine}
        found |= {"images_per_second": round(run.step * batch / max(run.seconds, 1e-9), 1)}
        found |= {"curve": curve, "complete": False, **timing.stamp(device), **more}
        save_json(path, found)
        return json.loads(path.read_text())  # plain JSON types, as a later call would return it

    with stop_between_steps() as interrupted:
        while not run.finished and len(marks) < len(targets) and not interrupted():
            (epoch, position), reached = divmod(run.step, per_epoch), []
            if epoch != shuffled:
                order, shuffled = batch_order(recipe.seed, epoch, len(images)).to(device), epoch
            run.meter.add(one(order[position * batch : (position + 1) * batch]), run.step)
            if run.step % (per_epoch * every) == 0 or run.finished:
                count_time()
                run.check_finite()
                row = {"epoch": round(run.step / per_epoch, 2), "step": run.step, "seconds": round(run.seconds, 2)}
                row |= run.meter.means()
                if recipe.data.holdout:
                    open_yet = [name for name in targets if name not in marks]
                    row["holdout"] = shares = accuracies(run, splits.train, splits.holdout, open_yet)
                    reached = [name for name in open_yet if shares[name] >= targets[name]]
                    mark(reached, True)
                curve.append(row)
                run.meter = Meter(device)
                shown = "".join(f", {name} {100 * share:.2f} %" for name, share in row.get("holdout", {}).items())
                print(f"epoch {row['epoch']:g}: loss {row['loss']:.3f}{shown}, {run.seconds:.1f} s of training", flush=True)
                timing.wait(device)
                now = time.perf_counter()
                spent, counted_at = spent + now - counted_at, now
            if reached or time.perf_counter() - saved_at > CHECKPOINT_SECONDS:  # what test has said must not be lost
                count_time()
                save()
                result()
                counted_at = time.perf_counter()
    over = len(marks) == len(targets)
    if not over:
        count_time()
    save()
    if not run.finished and not over:
        print(f"stopped at step {run.step} of {run.total_steps}; the same command goes on from there")
        return result()
    begun = time.perf_counter()
    mark([name for name in targets if name not in marks], False)
    spent += time.perf_counter() - begun
    return result(complete=True)


def main(argv: list[str] | None = None) -> int:
    parser = timing.parser(__doc__, data=True, device=True)
    told = choose(sys.argv[1:] if argv is None else argv)
    for name, value in (("method", "simclr"), ("preset", "standard"), ("dataset", "cifar10")):
        parser.add_argument(f"--{name}", default=value, help=f"(default: {value})")
        setattr(told, name, getattr(told, name) or value)
    parser.add_argument("--engine", default="auto", help="how a step is run (default: auto)")
    for name, share in TARGETS.items():
        parser.add_argument(f"--{name}", type=float, default=share, help=f"target: share of the queries (default: {share})")
    parser.add_argument("--every", type=int, default=EVERY, help=f"epochs between two looks (default: {EVERY})")
    parser.add_argument("--whole", action="store_true", help="the last run: train on all 50,000 (default: off)")
    parser.add_argument("--no-test", action="store_true", help="leave the test set unasked: for trials (default: off)")
    parser.add_argument("--folder", type=Path, default=Path("runs/race"), help="of the run (default: runs/race)")
    parser.add_argument("--out", metavar="FILE", help="the result's JSON file too (default: FOLDER/race.json alone)")
    add_recipe_flags(parser, presets_for(told), without=("holdout",))
    parser.set_defaults(batch_size=BATCH)
    args = parser.parse_args(argv)
    targets = {name: getattr(args, name) for name in TARGETS}
    if not all(0 < share <= 1 for share in targets.values()) or args.every < 1:
        raise InputError(f"targets are shares in (0, 1], every at least 1 epoch; got {targets} and {args.every}")
    if args.whole and args.no_test:
        raise InputError("--whole evaluates on the test set alone, which --no-test forbids: give one of the two")
    recipe = recipe_from(args, holdout=not args.whole)
    device = pick_device(args.device)
    splits = load_dataset(recipe.data.dataset, root=args.data, device=device)
    found = race(
        recipe, splits, args.folder, targets=targets, every=args.every, ask_test=not args.no_test, device=device,
        engine=args.engine,
    )  # fmt: skip
    if args.out:
        timing.save(args.out, found)
    if not found["complete"]:
        return 130  # the customary code of an interrupted program
    for name, row in found["marks"].items():
        said = f", test {100 * row['test']:.2f} %" if "test" in row else ""
        print(f"{name}: {'reached' if row['reached_on_holdout'] else 'the end'} after {row['seconds']:.0f} s of training "
              f"({row['epoch']:g} epochs){said}; {found['hardware']}")  # fmt: skip
    return 0


if __name__ == "__main__":
    timing.program(main, "race")
