"""What do the networks learn in an hour of a core? Eleven methods, the forms of MNCLGLF, CIFAR-100, the toy box.

    python -m benchmarks.experiments.at_length STAGE --data DIR

    toybox     SimCLR and MNCLGLF on the toy box: the trained networks of the lessons
    cifar10    every method at one budget of whole views, one seed; MNCLGLF's forms, three seeds
    cifar100   SimCLR, both forms of MNCLGLF and the supervised reference at the same budget
    claims     what the papers of MCL, CGH and GLNet say their parts bring, ten minutes of a core, three seeds

Settings are those of the quick preset. Two runs with a core each do more than one with two:
`OMP_NUM_THREADS=1 ... cifar10 --share 1/2`, and 2/2 beside it, make every second run each. Without a share the table of
what they left is made. All go on where they were stopped; a run that has its result.json is not made again.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.experiments.ablation import share
from mnclglf_lite.core.device import pick_device
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.core.files import save_json
from mnclglf_lite.data.dataset import ImageSet, Splits, load_dataset
from mnclglf_lite.drawing import sheets
from mnclglf_lite.evaluation.evaluate import extract_features
from mnclglf_lite.evaluation.layouts import subsample
from mnclglf_lite.methods.registry import BUILT_IN
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.results import compare, export, paired
from mnclglf_lite.results.pretrained import WEIGHTS
from mnclglf_lite.results.records import group_by_method, load_records
from mnclglf_lite.training.run import Run, load_run

# Whole views a run on CIFAR: 40 epochs of MNCLGLF, which takes three views of an image, and 60 of a method that takes two
VIEWS = 5_400_000
CLAIM_VIEWS = 1_200_000  # of each run of `claims`
FORMS: dict[str, dict[str, Any]] = {
    "mnclglf": {},
    "mnclglf-released": {"local_gradient": False},
    "mnclglf-no-swap": {"neighbour_swap": False},
}
CLAIMS: dict[str, dict[str, Any]] = {  # a method, and the same without what its paper adds
    "mcl": {},
    "mcl-independent": {"losses": ("vcl",)},
    "cgh": {},
    "cgh-global-only": {"context": "ressl"},
    "glnet": {},
    "glnet-no-location": {"location_weight": 0.0},
}
QUESTIONS = {  # about the forms: (row, row without it), and what they are called
    ("mnclglf", "mnclglf-released"): ("as drawn", "as released"),
    ("mnclglf", "mnclglf-no-swap"): ("with the neighbour swap", "without it"),
}
FRAMES = 60  # of an animated map
TOYBOX_STEPS = {"simclr": 5000, "mnclglf": 4500}  # five minutes of a core each


@dataclass(frozen=True)
class Stage:
    """Recipes, the seeds that each is run with, and the budget.

    Of the first seed's runs is kept, in data/weights: "backbone", "whole" (heads and queue too) or nothing.
    """

    folder: str  # of the records, in data/runs
    recipes: dict[str, Recipe]
    seeds: dict[str, list[int]]
    views: int | None = None
    keeps: str = ""

    @property
    def dataset(self) -> str:
        return next(iter(self.recipes.values())).data.dataset

    @property
    def out(self) -> Path:
        return timing.RUNS / self.folder

    def weights(self, name: str, seed: int) -> Path | None:
        """Where the weights of a run are kept."""
        return WEIGHTS / self.dataset / f"{name}.safetensors" if self.keeps and seed == 0 else None

    def made(self, name: str, seed: int) -> bool:
        """Whether a run has its result."""
        return (compare.folder_of(self.out, name, seed) / "result.json").exists()

    def lacks(self, name: str, seed: int) -> bool:
        """Is something of this run still to be made?"""
        path = self.weights(name, seed)
        return not self.made(name, seed) or (path is not None and not path.exists())

    def runs(self) -> list[tuple[str, int]]:
        """(name, seed): SimCLR and the forms of MNCLGLF first, seed by seed."""
        all_of_them = [(name, seed) for name, seeds in self.seeds.items() for seed in seeds]
        return sorted(all_of_them, key=lambda run: (run[0] not in ("simclr", *FORMS), run[1]))


def recipe_of(name: str, dataset: str, **changes: Any) -> Recipe:
    """The quick preset's; of a row named METHOD-SOMETHING with what it changes."""
    return preset("quick", name.split("-")[0], dataset, **(FORMS | CLAIMS).get(name, {}), **changes)


def stages() -> dict[str, Stage]:
    toys = {name: recipe_of(name, "toybox", steps=steps) for name, steps in TOYBOX_STEPS.items()}
    others = [method.Config.name for method in BUILT_IN if method.Config.name not in FORMS]
    family = {name: recipe_of(name, "cifar10") for name in [*others, *FORMS]}
    few = {name: recipe_of(name, "cifar100") for name in ("simclr", "mnclglf", "mnclglf-released", "supervised")}
    parts = {name: recipe_of(name, "cifar10") for name in CLAIMS}
    seeds = {name: [0, 1, 2] if name in FORMS else [0] for name in family}
    return {
        "toybox": Stage("toybox-long", toys, dict.fromkeys(toys, [0]), keeps="whole"),
        "cifar10": Stage("cifar10-long", family, seeds, VIEWS, keeps="backbone"),
        "cifar100": Stage("cifar100-long", few, dict.fromkeys(few, [0]), VIEWS),
        "claims": Stage("claims", parts, dict.fromkeys(parts, [0, 1, 2]), CLAIM_VIEWS),
    }


class Snapshots:
    """A callback of `train`: features of test images at FRAMES moments, ever further apart: `FOLDER/snapshots/STEP.npy`."""

    def __init__(self, folder: Path, images: ImageSet):
        self.folder, self.images = folder / "snapshots", images

    def __call__(self, run: Run) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        due = sum(run.step >= run.total_steps * (i / (FRAMES - 1)) ** 2 for i in range(FRAMES))
        if due > len(list(self.folder.iterdir())):
            features = extract_features(run.backbone, self.images, size=run.recipe.views.eval_size or None)
            np.save(self.folder / f"{run.step:07d}.npy", features.half().numpy())


def make(stage: Stage, splits: Splits, name: str, seed: int) -> None:
    """One run, evaluated on the test set once; of the first seed the weights are kept, in half precision."""
    recipes, costs = compare.sized_by_views({name: stage.recipes[name]}, splits, stage.views)
    folder = compare.folder_of(stage.out, name, seed)
    compare.check_same(stage.out, recipes, [seed], {"minutes": None, "image_views": stage.views})
    callback = Snapshots(folder, splits.test.subset(subsample(len(splits.test)))) if name == "simclr" else None
    compare.run_of(recipes[name].replace(seed=seed), splits, folder, "test", costs[name].views, callback=callback)
    if path := stage.weights(name, seed):
        path.parent.mkdir(parents=True, exist_ok=True)
        export.export_run(load_run(folder, "cpu"), path, half=True, whole=stage.keeps == "whole")


def table(stage: Stage, splits: Splits) -> None:
    """compare.json and its picture of the runs that are made; those of most seeds first."""
    made = {name: tuple(seed for seed in seeds if stage.made(name, seed)) for name, seeds in stage.seeds.items()}
    rows: dict[str, Any] = {}
    for seeds in sorted(filter(None, set(made.values())), key=len, reverse=True):
        some = {name: recipe for name, recipe in stage.recipes.items() if made[name] == seeds}
        result = compare.compare(some, list(seeds), splits, stage.out, split="test", image_views=stage.views)
        rows |= result["rows"]
    if not rows:
        raise InputError(f"no run of this stage is made in {stage.out}")
    result["rows"] = {name: rows[name] for name in stage.recipes if name in rows}
    save_json(stage.out / "compare.json", result)
    sheets.save(compare.picture(result), stage.out / "compare.png")


def answer() -> str:
    """Which form works, does the local term help, does the swap pay: from the records of `cifar10`."""
    out = stages()["cifar10"].out
    found, runs = json.loads((out / "compare.json").read_text()), group_by_method(load_records(out))
    lines = [paired.sentences(found, *rows, names) for rows, names in QUESTIONS.items()]
    shares = [
        ", ".join(f"{100 * run.history[at]['agreement']:.0f}" for run in runs["mnclglf"]) + f" % in the {when} epoch"
        for at, when in ((0, "first"), (-1, "last"))
    ]
    lines += [
        "The local term without its gradient is the run as released: the first difference also says what the local term is "
        "worth. The swap begins at half of the run, as in the quick preset.",
        f"Nearest neighbours in the queue that are of the image's own class, as drawn: {', '.join(shares)}; by chance 10 %.",
        "The intervals are about other seeds: settings, test images, network and length stay the same.",
    ]
    return "\n".join(f"* {line}" for line in lines)


def main(words: list[str] | None = None) -> None:
    there = stages()
    parser = timing.parser(__doc__, data=True)
    parser.add_argument("stage", choices=there)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--share", type=share, metavar="K/N", help="make of N processes' runs those of the Kth, and no table")
    way.add_argument("--table", action="store_true", help="make the table of the runs that are there, and no run")
    args = parser.parse_args(words)
    stage, (which, of) = there[args.stage], args.share or (1, 1)
    splits = load_dataset(stage.dataset, root=args.data, device=pick_device())
    for name, seed in () if args.table else itertools.islice(stage.runs(), which - 1, None, of):
        if stage.lacks(name, seed):
            make(stage, splits, name, seed)
    if args.share is None:
        table(stage, splits)


if __name__ == "__main__":
    timing.program(main, "at_length")
