"""Which settings learn most in a minute or five of two cores? Trials of the quick preset, evaluated on validation images.

    python -m benchmarks.trials --data DIR             makes what is missing, one trial a core, hours

`benchmarks/trials.txt` has a line for each trial: a group, the image set, seconds on two cores, the method, and flags of
`mnclglf-lite train`, on top of the quick preset of its time. `data/runs/trials.jsonl` keeps a line for each that was made:
the whole recipe, steps, seconds, kNN accuracy. Seed 0, where a line names no other.

A trial trains with one thread, so that two can run side by side. Its steps are those that two threads make in its seconds,
told from how much longer a step takes than one of a reference (`REFERENCE_SECONDS`): the same on a busy machine as on a
quiet one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import timing
from mnclglf_lite.data.dataset import Splits, load_dataset
from mnclglf_lite.evaluation import evaluate
from mnclglf_lite.recipe.flags import add_recipe_flags, recipe_from
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import Recipe, build_method
from mnclglf_lite.training import train
from mnclglf_lite.training.cost import views_per_image
from mnclglf_lite.training.run import new_run
from mnclglf_lite.training.step import Step
from mnclglf_lite.views.named_views import QUICK_VIEW

PLAN = timing.ROOT / "benchmarks" / "trials.txt"
OUT = timing.ROOT / "data" / "runs" / "trials.jsonl"
# The step that all steps are timed against, and what it takes: measured, two threads, quiet, Intel Xeon with AMX
REFERENCE = {"dataset": "cifar10", "batch_size": 256, "width": 24, "projector": (256, 128), "view": QUICK_VIEW}
REFERENCE_SECONDS = 0.101
TURNS = 12  # of which the first three are not counted (ours)


def plan() -> list[str]:
    """The trials that are asked for, one line each, blanks single."""
    lines = (" ".join(line.split("#")[0].split()) for line in PLAN.read_text().splitlines())
    return [line for line in lines if line]


def kept() -> dict[str, dict[str, Any]]:
    """The trials that were made, by their line."""
    rows = [json.loads(line) for line in OUT.read_text().splitlines()] if OUT.exists() else []
    return {row["trial"]: row for row in rows}


def without_length_and_seed(line: str) -> str:
    """A trial's line, the same for all its seeds."""
    return re.sub(r" --(steps|seed) \S+", "", line)


def image_views(row: dict[str, Any]) -> int:
    """Whole views that a trial showed."""
    recipe = Recipe.from_dict(row["recipe"])
    return round(row["steps"] * recipe.optim.batch_size * views_per_image(recipe, build_method(recipe, 10)))


def recipe_of(line: str) -> tuple[Recipe, float]:
    """A trial's recipe, without its steps, and its seconds."""
    _, dataset, seconds, method, *words = shlex.split(line)
    parser = argparse.ArgumentParser()
    parser.set_defaults(preset="quick", dataset=dataset)
    add_recipe_flags(parser)
    return recipe_from(parser.parse_args(words), method), float(seconds)


def steps_in(seconds: float, recipe: Recipe, splits: Splits) -> int:
    """Steps of so many seconds: a step is timed against one of the reference, turn about."""
    shares = max(1, len(recipe.views.progressive_sizes))  # views may grow: each size is timed
    steps = []
    for each in (recipe, preset("quick", "simclr", **REFERENCE)):
        run = new_run(each.replace(steps=TURNS * shares), len(splits.train), len(splits.train.classes), splits.train.device)
        one, rows = Step(run, splits.train.images, splits.train.labels, "eager"), torch.arange(each.optim.batch_size)
        steps.append(lambda one=one, rows=rows: timing.timed(lambda: one(rows), 1, splits.train.device))
    ratios = [steps[0]() / steps[1]() for _ in range(TURNS * shares)]
    medians = [statistics.median(ratios[TURNS * i + 3 : TURNS * (i + 1)]) for i in range(shares)]
    return max(1, round(seconds / (statistics.mean(medians) * REFERENCE_SECONDS)))


def trial(line: str, data: Path | None) -> dict[str, Any]:
    """Train as a line says and measure on validation images."""
    torch.set_num_threads(1)
    recipe, seconds = recipe_of(line)
    splits = load_dataset(recipe.data.dataset, root=data)
    recipe = recipe if recipe.optim.steps else recipe.replace(steps=steps_in(seconds, recipe, splits))
    run = train.train(
        recipe, splits, engine="eager", device="cpu", log=lambda text: print(text, file=sys.stderr, flush=True)
    )
    found = evaluate.evaluate(run.backbone, splits, "holdout", transforms=("raw", "whitened"), linear=False)
    shares = {kind: found["knn20"][kind]["top1"] for kind in ("raw", "whitened")}
    told = {"trial": line, "steps": run.step, "one_thread_seconds": round(run.seconds, 1), "knn20": shares}
    told |= {"split": "holdout", "bank": found["bank"], "queries": found["queries"]}
    return told | timing.stamp(splits.train.device) | {"recipe": run.recipe.to_dict()}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="where the image sets lie")
    parser.add_argument("--jobs", type=int, default=2, help="trials side by side, one thread each (2)")
    parser.add_argument("--one", metavar="LINE", help="make this trial alone and print its row")
    args = parser.parse_args(argv)
    if args.one:
        print(json.dumps(trial(args.one, args.data)))
        return
    running: dict[str, subprocess.Popen[str]] = {}
    command = [sys.executable, "-m", "benchmarks.trials", *(["--data", str(args.data)] if args.data else []), "--one"]
    try:
        while True:
            for line, process in list(running.items()):
                if process.poll() is not None:
                    said = running.pop(line).communicate()[0]
                    if process.returncode:
                        raise SystemExit(f"the trial {line!r} ended with code {process.returncode}")
                    with OUT.open("a") as file:
                        file.write(said)
                    row = json.loads(said)
                    print(f"{100 * row['knn20']['raw']:5.2f} {100 * row['knn20']['whitened']:5.2f}  {line}", flush=True)
            made = kept()
            missing = [line for line in plan() if line not in made and line not in running]
            for line in missing[: args.jobs - len(running)]:
                running[line] = subprocess.Popen(
                    [*command, line], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                )  # fmt: skip
            if not running:
                return
            time.sleep(0.5)
    finally:
        for process in running.values():
            process.kill()


if __name__ == "__main__":
    timing.program(main, "trials")
