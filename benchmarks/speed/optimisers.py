"""What a step costs with Muon, over the same step with SGD: every method, its quick recipe, turn about.

python -m benchmarks.speed.optimisers --out data/runs/optimisers-cpu.json        two minutes on two cores
"""

from __future__ import annotations

import argparse
from statistics import median, quantiles
from typing import Any

import torch

from benchmarks import page, timing
from mnclglf_lite.core.device import pick_device
from mnclglf_lite.methods.registry import METHODS
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.training.run import new_run
from mnclglf_lite.training.step import Step

TURNS = 15  # ours
OPTIMISERS = ("sgd", "muon")


def cost(method: str, device: torch.device, turns: int = TURNS) -> dict[str, Any]:
    """Seconds of a step with each optimiser, and the ratio of neighbours in time: median and quartiles."""
    steps, seconds = {}, {name: [] for name in OPTIMISERS}
    for name in OPTIMISERS:
        recipe = preset("quick", method, "cifar10", optimiser=name, steps=1000)
        images, labels = timing.pictures(4 * recipe.optim.batch_size, 32, device)
        run = new_run(recipe, len(images), 10, device)
        run.method.train()
        one, rows = Step(run, images, labels, "eager"), torch.arange(recipe.optim.batch_size)
        steps[name] = lambda one=one, rows=rows: one(rows)
    for turn in range(-3, turns):
        for name in OPTIMISERS[:: 1 - 2 * (turn % 2)]:
            took = timing.timed(steps[name], 1, device)
            if turn >= 0:
                seconds[name].append(took)
    ratios = [b / a for a, b in zip(seconds["sgd"], seconds["muon"], strict=True)]
    low, middle, high = quantiles(ratios, n=4)
    found = {f"{name}_seconds": round(median(times), 5) for name, times in seconds.items()}
    return {
        "batch_size": recipe.optim.batch_size,
        **found,
        "ratio": round(middle, 4),
        "quartiles": [round(low, 4), round(high, 4)],
    }


def render(found: dict[str, Any], name: str) -> str:
    lines = [
        [method, str(row["batch_size"]), f"{1000 * row['sgd_seconds']:.1f}", f"{1000 * row['muon_seconds']:.1f}"]
        + [f"{row['ratio']:.3f}", " to ".join(f"{value:.3f}" for value in row["quartiles"])]
        for method, row in found["rows"].items()
    ]
    table = page.table(["method", "batch", "SGD, ms", "Muon, ms", "ratio", "quartiles"], lines)
    note = f"The quick recipes for CIFAR-10; {found['hardware']}"
    return page.section("A step with Muon over one with SGD", f"python -m {__name__} --out data/runs/{name}", table, note)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (default: auto)")
    parser.add_argument("--out", metavar="FILE", help="also as a JSON file")
    args = parser.parse_args(argv)
    device, rows = pick_device(args.device), {}
    for method in METHODS:
        rows[method] = row = cost(method, device)
        print(
            f"{method}: {1000 * row['sgd_seconds']:.1f} ms with SGD, {1000 * row['muon_seconds']:.1f} with Muon, "
            f"ratio {row['ratio']:.3f} (quartiles {row['quartiles'][0]:.3f} to {row['quartiles'][1]:.3f})",
            flush=True,
        )
    if args.out:
        timing.save(args.out, {"what": "a step with Muon over one with SGD", "rows": rows, **timing.stamp(device)})


if __name__ == "__main__":
    timing.program(main, "optimisers")
