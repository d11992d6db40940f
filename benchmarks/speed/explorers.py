"""How long the figures under the sliders take: python -m benchmarks.speed.explorers [--out FILE]

One thread, the median of 50 calls, and their range. The bars: a crop figure at most 20 ms, a similarity figure at most
50 ms. Encoding as PNG, which is what a page gets, is counted apart. What is printed is no test: it depends on the machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import page, timing
from mnclglf_lite.data import dataset, toybox
from mnclglf_lite.drawing import canvas
from mnclglf_lite.evaluation import layouts
from mnclglf_lite.explorers.crops import coverage, sample
from mnclglf_lite.explorers.crops.figure import crop_figure
from mnclglf_lite.explorers.loss import pairs, temperature
from mnclglf_lite.explorers.loss.batch import drawn
from mnclglf_lite.explorers.loss.figure import similarity_figure
from mnclglf_lite.explorers.memory_queue import replay
from mnclglf_lite.explorers.memory_queue.figure import queue_figure
from mnclglf_lite.explorers.networks import tracer  # fmt: skip
from mnclglf_lite.explorers.networks.figure import step_figure
from mnclglf_lite.explorers.patches import compute, figure
from mnclglf_lite.explorers.runs.neighbours import FeatureSpaces, neighbour_rows
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.results.records import groups, load_records

CALLS = 50


def cases() -> dict[str, tuple[Callable[[], Any], float | None]]:
    """Name: (what draws a figure, its bar in milliseconds if it has one)."""
    images, labels, _, masks = toybox.draw(512, seed=0)
    toys = dataset.ImageSet(images, labels, tuple(toybox.CLASSES), "toybox", "test")
    recipe = preset("quick", "mnclglf", "toybox")
    cuts = sample.cut(images[3], recipe, 0)
    count = coverage.count(cuts.whole, cuts.local, (32, 32), masks[3])
    aim = coverage.Target()
    method = build_method(recipe, 10)
    found = compute.combined(toys, method, 0, 0, 2, 2)
    batch = drawn()
    curves = temperature.curves("nt_xent", batch, None)
    features = torch.randn(512, 64, generator=torch.Generator().manual_seed(0))
    story = replay.QueueStory(features, toys)
    graph = tracer.trace(method, recipe, toys)
    records = groups(load_records())["toybox"]
    spaces = FeatureSpaces(toys, features={"some features": features})
    return {
        "crop figure": (lambda: crop_figure(images[3], cuts, target=aim, counted=count).picture, 20),
        "crop figure with maps": (
            lambda: crop_figure(images[3], cuts, mask=masks[3], maps=True, target=aim, counted=count).picture,
            20,
        ),
        "its 200 draws": (lambda: sample.cut(images[3], recipe, 0), None),
        "similarity figure": (lambda: similarity_figure(pairs.loss_table("nt_xent", batch), batch, curves).picture, 50),
        "combine figure": (lambda: figure.combine_figure(found).picture, None),
        "queue figure": (lambda: queue_figure(story, story.moment(story.sizes[2], 5, 0)).picture, None),
        "network diagram": (lambda: step_figure(graph, "mnclglf", 0, "everything", "").picture, None),
        "neighbour strips": (lambda: neighbour_rows(spaces, records, 12, spaces.neighbours(records, 12)).picture, None),
        "pca of 512 x 64": (lambda: layouts.pca(features), None),
    }


def milliseconds(call: Callable[[], Any]) -> list[float]:
    call()  # fonts are read and shapes made once
    spent = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        call()
        spent.append(1000 * (time.perf_counter() - begun))
    return sorted(spent)


def render(found: dict[str, Any], name: str) -> str:
    lines = []
    for what, row in found["rows"].items():
        times = f"{row['fastest_ms']:.1f} to {row['slowest_ms']:.1f}"
        lines.append([what, f"{row['median_ms']:.1f}", times, f"{row['png_ms']:.1f}" if "png_ms" in row else "-"])
    table = page.table(["", "median, ms", "range", "as PNG, ms more"], lines)
    note = f"{found['calls']} calls each, one thread; {found['hardware']}, load {found['load'][0]:g}"
    return page.section("How fast an explorer answers", f"python -m {__name__} --out data/runs/{name}", table, note)


def main(words: list[str] | None = None) -> None:
    parser = timing.parser(__doc__)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON, too")
    args = parser.parse_args(words)
    torch.set_num_threads(1)
    rows = {}
    for name, (call, bar) in cases().items():
        spent, made = milliseconds(call), call()
        row = {"median_ms": statistics.median(spent), "fastest_ms": spent[0], "slowest_ms": spent[-1], "bar_ms": bar}
        if not isinstance(made, (torch.Tensor, sample.Cuts)):
            row["png_ms"] = statistics.median(milliseconds(lambda made=made: canvas.png(made)))
        rows[name] = {key: value and round(value, 2) for key, value in row.items()}
        text = f"{name:24s} {row['median_ms']:7.1f} ms  ({row['fastest_ms']:.1f} to {row['slowest_ms']:.1f})"
        text += f"   as PNG {row['png_ms']:.1f} ms more" if "png_ms" in row else ""
        print(text + (f"   bar {bar} ms" if bar else ""), flush=True)
    if args.out:
        timing.save(args.out, {"calls": CALLS, "threads": 1, "rows": rows, **timing.stamp(torch.device("cpu"))})


if __name__ == "__main__":
    timing.program(main, "explorers")
