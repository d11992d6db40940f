"""GLNet's location task: how often does its head know the quadrant, and what does a step cost?

    python -m benchmarks.experiments.glnet_location

The images are a toy box with a fixed layout: every toy upright in the middle, the light from above. So a quadrant can be
told from what it shows. On CIFAR-10, whose objects fill the image, a thousand steps of the slim net
fell short of the bars.

Four short runs, on MoCo v3's frame and on SimCLR's: patches mirrored after the cut (published: left and right cannot be told
apart, so half right is the most) and images mirrored before it (all four places can be told). The accuracy is that of the
hold-out, under the same views, BatchNorm in evaluation mode. The bars: 45 to 55 % after the cut, at least 65 % before it.

These are *labelled variants* of the quick recipe, made to show the location task in minutes: see VIEW and CHANGES. Then the
time of a step against SimCLR on whole views, the same images, width and view size: all in turn, step by step, medians.

Writes data/runs/glnet-location.json.
"""

from __future__ import annotations

import dataclasses
import statistics
from typing import Any

import torch
from torch import Tensor

from benchmarks import page, timing
from mnclglf_lite.data import dataset, toybox
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.training import train
from mnclglf_lite.training.run import Run, new_run
from mnclglf_lite.training.step import Step
from mnclglf_lite.views.view import render_view, sample_params

OUT = timing.RUNS / "glnet-location.json"
CPU = torch.device("cpu")
BASES, FLIPS = ("moco_v3", "simclr"), ("after", "before")
FIXED = {"x": 0.0, "y": 0.0, "rotation": 0.0, "size": 0.7, "light": 0.6, "light_angle": 270.0}  # the layout
# A crop of a fifth of a quadrant may lie in any of the four; one of nearly all of it does not.
VIEW = {"size": 32, "scale": (0.8, 1.0)}
CHANGES = {"location_weight": 1.0}  # the published balance is 0.117, at which the location loss needs more steps
ROUNDS = 20  # timed steps of each method


def recipe_of(base: str, flip: str, steps: int) -> Recipe:
    """The quick recipe with as many pixels as the images have, a scale floor and a heavier location loss."""
    recipe = preset("quick", "glnet", "toybox", framework=base, flip_patches=flip, steps=steps, **CHANGES)
    return recipe.replace(view=dataclasses.replace(recipe.views.view, **VIEW))


def images_of(seed: int) -> dataset.Splits:
    """12,000 images of the fixed layout: 10,000 to train on, 1,000 each for the hold-out and the test part."""
    whole = dataset.ImageSet(*toybox.draw(12_000, seed, fixed=FIXED)[:2], toybox.CLASSES, "toybox", "train")
    return dataset.Splits(*(whole.subset(part) for part in torch.arange(12_000).split([10_000, 1_000, 1_000])))


@torch.no_grad()
def on_holdout(run: Run, holdout: dataset.ImageSet) -> dict[str, float]:
    """Shares of hold-out patches whose quadrant, row and column the location head names."""
    method, batch = run.method.eval(), run.recipe.optim.batch_size
    draws = method.generator = torch.Generator().manual_seed(run.recipe.seed)  # the same patches after every run
    right: list[Tensor] = []
    for images in holdout.images.split(batch):
        n = len(images)
        cut = [render_view(images, v, sample_params(v, n, images.shape[-2:], draws)) for v in method.views]
        guess, place = method.location(method(cut)["h1"]).argmax(1), torch.arange(4).repeat_interleave(n)  # (4N,)
        # places are numbered column by column: top left, bottom left, top right, bottom right
        right.append(torch.stack([guess == place, guess % 2 == place % 2, guess // 2 == place // 2]))  # (3, 4N)
    shares = torch.cat(right, dim=1).double().mean(dim=1).tolist()
    return dict(zip(("quadrant", "top_or_bottom", "left_or_right"), shares, strict=True))


def seconds_a_step(recipes: dict[str, Recipe], images: dataset.ImageSet) -> dict[str, float]:
    """Median seconds of one training step of each recipe, one step of each in turn."""
    steps = {}
    for name, recipe in recipes.items():
        one = Step(new_run(recipe, len(images), len(images.classes), CPU), images.images, images.labels, "eager")
        steps[name] = lambda one=one, batch=recipe.optim.batch_size: one(torch.arange(batch))
    seconds = timing.in_turn(steps, ROUNDS, CPU, uncounted=3)
    return {name: statistics.median(values) for name, values in seconds.items()}


def render(found: dict[str, Any], name: str) -> str:
    places = ("quadrant", "top_or_bottom", "left_or_right")
    lines = []
    for row in found["runs"]:
        shares = [f"{100 * row['location'][place]:.1f}" for place in places]
        lines.append([f"{row['base']}, mirrored {row['flip_patches']} the cut", *shares, f"{row['seconds']:.0f}"])
    times = "; ".join(f"{method} {ratio:.2f}" for method, ratio in found["time_ratio"].items())
    note = (
        f"{found['what']}; {found['steps']:,} steps, seed {found['seed']}; chance 25.0. Seconds a step over SimCLR's on "
        f"whole views of the same size: {times}; {found['hardware']}"
    )
    table = page.table(["", *(place.replace("_", " ") for place in places), "seconds"], lines)
    title = "GLNet: does its location head know the quadrant?"
    return page.section(title, page.as_today(found["command"], __name__), table, note)


def main() -> None:
    """Train, measure, print, write."""
    parser = timing.parser(__doc__)
    parser.add_argument("--steps", type=int, default=500, help="optimiser steps of each run (default: 500)")
    parser.add_argument("--seed", type=int, default=0, help="whole number (default: 0)")
    args = parser.parse_args()
    splits = images_of(args.seed)

    rows: list[dict[str, Any]] = []
    for base in BASES:
        for flip in FLIPS:
            recipe = recipe_of(base, flip, args.steps).replace(seed=args.seed)
            run = train.train(recipe, splits, device="cpu")
            row = {"base": base, "flip_patches": flip, "location": on_holdout(run, splits.holdout)}
            row |= {"seconds": round(run.seconds, 1), "last_epoch": run.history[-1], "recipe": recipe.to_dict()}
            rows.append(row)
            shares = "  ".join(f"{name} {100 * share:.1f} %" for name, share in row["location"].items())
            print(f"{base}, mirrored {flip} the cut: {shares}")

    glnet = recipe_of("moco_v3", "after", args.steps)
    same = {"projector": glnet.method.projector, "view": glnet.views.view, "batch_size": glnet.optim.batch_size}
    same |= dataclasses.asdict(glnet.encoder)
    recipes = {"simclr": preset("quick", "simclr", "toybox", **same, steps=args.steps)}
    recipes |= {f"glnet, {base}": recipe_of(base, "after", args.steps) for base in BASES}
    medians = seconds_a_step(recipes, splits.train)
    ratios = {name: spent / medians["simclr"] for name, spent in medians.items()}
    for name, spent in medians.items():
        print(f"{name:15s} {1000 * spent:6.0f} ms a step, {ratios[name]:.2f} of SimCLR on whole views")

    result = {
        "what": "GLNet's location accuracy on the hold-out of a toy box with a fixed layout; recipe made to show it: "
        f"location weight {CHANGES['location_weight']:g} (published balance 0.117), crops of {VIEW['scale'][0]:g} to "
        f"{VIEW['scale'][1]:g} of a quadrant (published 0.2 to 1), views of {VIEW['size']} pixels",
        "command": f"python -m benchmarks.experiments.glnet_location --steps {args.steps} --seed {args.seed}",
        "bars": {"after": [0.45, 0.55], "before": [0.65, 1.0]},
        "steps": args.steps,
        "seed": args.seed,
        "runs": rows,
        "seconds_a_step": medians,
        "time_ratio": ratios,
        **timing.stamp(CPU),
    }
    timing.save(OUT, result)


if __name__ == "__main__":
    timing.program(main, "glnet_location")
