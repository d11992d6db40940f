"""Which settings learn most in a minute or five of two cores? Trials of the quick preset, evaluated on validation images.

    python -m benchmarks.experiments.trials --data DIR             makes what is missing, one trial a core, hours

`trials.txt` beside this file has a line for each trial: a group, the image set, seconds on two cores, the method, and flags
of `mnclglf-lite train`, on top of the quick preset of its time. `data/runs/trials.jsonl` keeps a line for each trial that
was made: the whole recipe, steps, seconds, kNN accuracy. Seed 0, where a line names no other.

A trial trains with one thread, so that two can run side by side. Its steps are those that two threads make in its seconds,
told from how much longer a step takes than one of a reference (`REFERENCE_SECONDS`): the same on a busy machine as on a
quiet one.
"""

from __future__ import annotations

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

from benchmarks import page, timing
from mnclglf_lite.data.dataset import Splits, load_dataset
from mnclglf_lite.evaluation import evaluate
from mnclglf_lite.recipe.flags import recipe_of_words
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import Recipe, build_method
from mnclglf_lite.results import compare
from mnclglf_lite.training import train
from mnclglf_lite.training.cost import views_per_image
from mnclglf_lite.training.run import new_run
from mnclglf_lite.training.step import Step
from mnclglf_lite.views.named_views import QUICK_VIEW

PLAN = Path(__file__).with_name("trials.txt")
OUT = timing.RUNS / "trials.jsonl"
# The step that all steps are timed against, and what it takes: measured, two threads, quiet, Intel Xeon with AMX
REFERENCE = {"dataset": "cifar10", "batch_size": 256, "width": 24, "projector": (256, 128), "view": QUICK_VIEW}
REFERENCE_SECONDS = 0.101
TURNS = 12  # of which the first three are not counted (ours)


def plan() -> list[str]:
    """The planned trials, one line each, blanks single."""
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
    return recipe_of_words(["--method", method, "--dataset", dataset, *words]), float(seconds)


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


def knn_of(row: dict[str, Any]) -> float:
    return row["knn20"]["raw"]


def render(rows: list[dict[str, Any]]) -> str:
    """MNCLGLF's parts beside SimCLR (trials of the group `parts`); then what a minute or five can learn: all others."""
    parts = [row for row in rows if row["trial"].startswith("parts ")]
    return "\n".join([*([render_parts(parts)] if parts else []), render_minutes([row for row in rows if row not in parts])])


def render_parts(rows: list[dict[str, Any]]) -> str:
    """MNCLGLF with a part changed, beside SimCLR, at equal image views."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(without_length_and_seed(row["trial"]), []).append(row)
    lines = []
    for seeds in sorted(groups.values(), key=lambda found: -statistics.mean(map(knn_of, found))):
        recipe = Recipe.from_dict(seeds[0]["recipe"])
        usual = preset("quick", recipe.method.name, recipe.data.dataset, steps=recipe.optim.steps, seed=recipe.seed)
        cells = [compare.cell([row["knn20"][kind] for row in seeds]) for kind in ("raw", "whitened")]
        lines.append([", ".join([recipe.method.name, *usual.differences(recipe)]), f"{seeds[0]['steps']:,}", *cells])
    row = seeds[0]
    note = (
        f"{image_views(row):,} whole views each; validation images ({row['queries']:,}, bank {row['bank']:,}); kNN: "
        f"k 20, T 0.1; seeds {', '.join(str(row['recipe']['seed']) for row in seeds)}, mean ± half the range; "
        f"{row['hardware']}"
    )
    title = f"MNCLGLF's parts beside SimCLR, {row['recipe']['dataset']}"
    table = page.table(["the quick preset", "steps", "kNN 20", "whitened"], lines)
    return page.section(title, f"python -m {__name__} --data DIR", table, note)


def render_minutes(rows: list[dict[str, Any]]) -> str:
    """All trials that changed one thing, and each method's best."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        group, dataset, seconds, method = row["trial"].split()[:4]
        groups.setdefault((group, dataset, seconds, *([method] if group == "explore" else [])), []).append(row)
    parts = []
    for (group, dataset, seconds, *_), found in groups.items():
        methods: dict[str, list[dict[str, Any]]] = {}
        for row in found:
            methods.setdefault(row["trial"].split()[3], []).append(row)
        shown = found if group == "explore" else [max(tried, key=knn_of) for tried in methods.values()]
        lines = []
        for row in sorted(shown, key=knn_of, reverse=True):
            method, flags = row["trial"].split(maxsplit=4)[3:]
            shares = [f"{100 * row['knn20'][kind]:.1f}" for kind in ("raw", "whitened")]
            lines.append([method, str(len(methods[method])), f"`{flags}`", f"{row['steps']:,}", *shares])
        flags = "flags" if group == "explore" else "flags of the best"
        row, places = found[0], sorted({row["hardware"] for row in found})
        parts += [
            f"{dataset}, {seconds} s of two threads each, group `{group}`:",
            page.table(["method", "trials", flags, "steps", "kNN 20", "whitened"], lines),
            f"Validation images ({row['queries']:,}, bank {row['bank']:,}); kNN: k 20, T 0.1; seed 0; {', '.join(places)}; "
            "one thread a trial, as many steps as two threads make in that time",
        ]
    return page.section("What a minute or five can learn: trials", f"python -m {__name__} --data DIR", *parts)


def main(argv: list[str] | None = None) -> None:
    parser = timing.parser(__doc__, data=True)
    parser.add_argument("--jobs", type=int, default=2, help="trials side by side, one thread each (2)")
    parser.add_argument("--one", metavar="LINE", help="make this trial alone and print its row")
    args = parser.parse_args(argv)
    if args.one:
        print(json.dumps(trial(args.one, args.data)))
        return
    running: dict[str, subprocess.Popen[str]] = {}
    data = ["--data", str(args.data)] if args.data else []
    command = [sys.executable, "-m", "benchmarks.experiments.trials", *data, "--one"]
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
