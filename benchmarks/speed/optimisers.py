"""What a step costs with Muon, over the same step with SGD: every method, its quick recipe, turn about.

python -m benchmarks.speed.optimisers --out data/runs/optimisers-cpu.json        two minutes on two cores
"""

from __future__ import annotations

from statistics import median, quantiles
from typing import Any

import torch

from benchmarks import page, timing
from mnclglf_lite.core.device import pick_device
from mnclglf_lite.methods.registry import METHODS
from mnclglf_lite.recipe.presets import preset

TURNS = 15  # ours
OPTIMISERS = ("sgd", "muon")


def cost(method: str, device: torch.device, turns: int = TURNS) -> dict[str, Any]:
    """Seconds of a step with each optimiser, and the ratio of neighbours in time: median and quartiles."""
    steps = {}
    for name in OPTIMISERS:
        recipe = preset("quick", method, "cifar10", optimiser=name, steps=1000)
        one = timing.new_step(recipe, 4 * recipe.optim.batch_size, device)
        steps[name] = lambda one=one, batch=recipe.optim.batch_size: one(torch.arange(batch))
    seconds = timing.in_turn(steps, turns, device, uncounted=3)
    ratios = [b / a for a, b in zip(seconds["sgd"], seconds["muon"], strict=True)]
    low, middle, high = quantiles(ratios, n=4)
    found = {f"{name}_seconds": round(median(times), 5) for name, times in seconds.items()}
    found |= {"ratio": round(middle, 4), "quartiles": [round(low, 4), round(high, 4)]}
    return {"batch_size": recipe.optim.batch_size, **found}


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
    parser = timing.parser(__doc__, device=True)
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
