"""How time and memory of a training step grow with the batch, the image set, views, queue, width, networks and patches.

    python -m benchmarks.speed.growth                       about five minutes on two cores, the slim net
    python -m benchmarks.speed.growth --preset standard     on a GPU

One thing grows at a time, the rest is the preset's; benchmarks/README.md says how it is measured. Writes
data/runs/growth/DEVICE.json, and a plot beside it where matplotlib is installed.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import math
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import page, timing
from mnclglf_lite.core.device import describe_device, pick_device
from mnclglf_lite.core.errors import unknown
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.training.cost import views_per_image
from mnclglf_lite.training.step import Step

FOLDER = timing.RUNS / "growth"
ROUNDS = 5  # counted steps of each size
IMAGES = 2048  # of the resident set, where it is not what grows and the batch is no larger (ours)
FREE_SHARE = 0.25  # of the free memory that images may fill


@dataclass(frozen=True)
class Row:
    """One thing that grows: the method, the recipe's setting (or "images"), its sizes."""

    name: str
    method: str
    field: str
    sizes: tuple[int, ...]
    unit: str


ROWS = (
    Row("batch", "simclr", "batch_size", (64, 128, 256, 512, 1024, 2048, 4096), "images in a batch"),
    Row("images", "simclr", "images", (1_000, 10_000, 100_000, 1_000_000), "images in the set"),
    Row("views", "simclr", "small_views", (0, 1, 2, 3, 4, 6), "whole views an image, by area"),
    Row("queue", "moco", "queue", (1024, 4096, 16_384, 65_536), "embeddings in the queue"),
    Row("width", "simclr", "width", (8, 16, 24, 32, 48, 64), "channels of the first stage"),
    Row("networks, MCL", "mcl", "num_networks", (1, 2, 3, 4), "networks"),
    Row("networks, MNCLGLF", "mnclglf", "num_networks", (1, 2, 3, 4), "networks"),
    Row("patches, MNCLGLF", "mnclglf", "grid", (2, 3, 4), "patches of a view"),
)
DRY = {"width": 8, "projector": (16, 16), "predictor_hidden": 8, "batch_size": 16, "queue": 64}


def recipe_of(row: Row, size: int, name: str, dry: bool) -> Recipe:
    """The preset's recipe with one thing grown to `size`. The other rows share a batch, so that their times compare."""
    changes: dict[str, Any] = {"steps": 10_000, **(DRY if dry else {"batch_size": 128 if name == "quick" else 256})}
    if row.field != "images":
        changes[row.field] = size
    recipe = preset(name, row.method, "cifar10")
    if row.field == "grid":
        changes["view"] = dataclasses.replace(recipe.views.view, size=24)  # which 2, 3 and 4 divide
    if recipe.reads("queue"):
        changes.setdefault("queue", max(1, recipe.method.queue // changes["batch_size"]) * changes["batch_size"])
    return recipe.replace(**{setting: value for setting, value in changes.items() if recipe.reads(setting)})


def images_of(row: Row, size: int, recipe: Recipe) -> int:
    return max(size, recipe.optim.batch_size) if row.field == "images" else max(IMAGES, recipe.optim.batch_size)


def amount(row: Row, size: int, recipe: Recipe, step: Step) -> float:
    """What is drawn along x: the size; for views how many whole ones they are; for a grid its patches."""
    if row.field == "grid":
        return float(size**2)
    return views_per_image(recipe, step.run.method) if row.field == "small_views" else float(size)


class Timed:
    """The steps of one size, on images of its own."""

    def __init__(self, row: Row, size: int, name: str, device: torch.device, engine: str, dry: bool):
        self.recipe, self.device = recipe_of(row, size, name, dry), device
        self.count = images_of(row, size, self.recipe)
        self.step = timing.new_step(self.recipe, self.count, device, engine)
        self.draws = torch.Generator().manual_seed(0)

    def __call__(self) -> float:
        rows = torch.randint(self.count, (self.recipe.optim.batch_size,), generator=self.draws).to(self.device)
        return timing.timed(lambda: self.step(rows), 1, self.device)


def free_bytes(device: torch.device) -> float:
    """Memory that is free where the images will lie."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        text = Path("/proc/meminfo").read_text()
        return 1024 * float(re.search(r"MemAvailable:\s+(\d+)", text)[1])
    except (OSError, TypeError):
        return 4 * 2**30  # not Linux: a machine that is small today


def measured(row: Row, args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Times of all sizes of a row, in turn; memory where it can be said."""
    sizes = [size for size in row.sizes if size <= args.largest] or [row.sizes[0]]
    steps: dict[int, Timed] = {}
    firsts: dict[int, float] = {}
    held: dict[int, int] = {}
    left_out: dict[str, str] = {}
    for at, size in enumerate(sizes):
        need = images_of(row, size, recipe_of(row, size, args.preset, args.dry)) * 3 * 32 * 32
        if need > FREE_SHARE * free_bytes(device):
            left_out |= {str(more): "the images would fill too much of the free memory" for more in sizes[at:]}
            break
        before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        begun = time.perf_counter()
        steps[size] = Timed(row, size, args.preset, device, args.engine, args.dry)
        firsts[size] = steps[size]()
        set_up = time.perf_counter() - begun
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            steps[size]()
            held[size] = torch.cuda.max_memory_allocated(device) - before
        if at + 1 < len(sizes):  # what the next size would cost, if time grows with it
            grows = sizes[at + 1] / max(1, size)
            cost = min(grows, 4.0) * (set_up + args.rounds * firsts[size]) + args.rounds * sum(firsts.values())
            if cost > args.most_seconds:
                left_out |= {str(more): f"more than {args.most_seconds:g} s" for more in sizes[at + 1 :]}
                break
    times: dict[int, list[float]] = {size: [] for size in steps}
    for _ in range(args.rounds):
        for size, step in steps.items():
            times[size].append(step())
    points = []
    for size, step in steps.items():
        point = {"size": size, "x": amount(row, size, step.recipe, step.step), "seconds": statistics.median(times[size])}
        points.append(point | {"all_seconds": times[size], "batch": step.recipe.optim.batch_size, "bytes": held.get(size)})
    del steps
    if device.type == "cpu" and not args.no_memory:
        for point in points:
            point["bytes"] = held_apart(row, point["size"], args)
    found = {"row": row.name, "method": row.method, "unit": row.unit, "points": points, "left_out": left_out}
    found["fits"] = {what: fit_of(points, what) for what in ("seconds", "bytes")}
    return found


def held_apart(row: Row, size: int, args: argparse.Namespace) -> int | None:
    """Bytes that one size holds on a CPU, measured in a fresh process; None where it cannot be."""
    words = ["--point", row.name, str(size), "--preset", args.preset, "--engine", args.engine, *(["--dry"] * args.dry)]
    command = [sys.executable, "-m", "benchmarks.speed.growth", *words]
    done = subprocess.run(command, cwd=timing.ROOT, capture_output=True, text=True)
    if done.returncode:
        print(f"{row.name} {size}: no memory, {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])["bytes"]


def point(name: str, size: int, args: argparse.Namespace) -> None:
    """The inside of `held_apart`: two steps, and how far the largest resident memory is above what was held before."""
    before = timing.resident("VmRSS")
    step = Timed(row_of(name), size, args.preset, torch.device("cpu"), args.engine, args.dry)
    for _ in range(2):
        step()
    print(json.dumps({"bytes": max(0, timing.resident() - before)}))


def row_of(name: str) -> Row:
    for row in ROWS:
        if row.name == name:
            return row
    raise unknown("row", name, [row.name for row in ROWS])


def fit(x: list[float], y: list[float]) -> dict[str, float]:
    """The power law y = c x^e through points, least squares on logarithms; the residual is a factor, 1 for none.

    >>> fit([1.0, 2.0, 4.0], [3.0, 6.0, 12.0])
    {'exponent': 1.0, 'factor': 3.0, 'residual': 1.0, 'last_exponent': 1.0}
    """
    logs = [(math.log(a), math.log(b)) for a, b in zip(x, y, strict=True)]
    mean_x, mean_y = (statistics.mean(side) for side in zip(*logs, strict=True))
    exponent = sum((a - mean_x) * (b - mean_y) for a, b in logs) / sum((a - mean_x) ** 2 for a, _ in logs)
    start_y = mean_y - exponent * mean_x
    off = math.sqrt(statistics.mean((b - start_y - exponent * a) ** 2 for a, b in logs))
    (a, b), (c, d) = sorted(logs)[-2:]
    found = {
        "exponent": exponent,
        "factor": math.exp(start_y),
        "residual": math.exp(off),
        "last_exponent": (d - b) / (c - a),
    }
    return {name: round(value, 12) for name, value in found.items()}


def fit_of(points: list[dict[str, Any]], what: str) -> dict[str, float] | None:
    """The fit of one measure; None for fewer than three sizes, or none with such a measure."""
    told = [(p["x"], p[what]) for p in points if p.get(what)]
    return fit(*(list(side) for side in zip(*told, strict=True))) if len(told) > 2 else None


def plot(result: dict[str, Any], path: Path) -> bool:
    """A panel a row: seconds above, megabytes below, both axes logarithmic. False where matplotlib is absent."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from mnclglf_lite.drawing.palette import CLASS_COLOURS, CLASS_MARKERS, FAINT, GREY, INK

    rows = result["rows"]
    measures = {"seconds": ("ms a step", 1e3), "bytes": ("MB at the peak", 1e-6)}
    measures = {what: how for what, how in measures.items() if any(p.get(what) for row in rows for p in row["points"])}
    figure = Figure(figsize=(2.6 * len(rows), 2.7 * len(measures) + 0.7), layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(len(measures), len(rows), squeeze=False)
    for line, (what, (name, scale)) in zip(every, measures.items(), strict=True):
        for number, (axes, row) in enumerate(zip(line, rows, strict=True)):
            told = [(p["x"], p[what] * scale) for p in row["points"] if p.get(what)]
            colour, found = CLASS_COLOURS[number % 10], row["fits"][what]
            if told:
                axes.loglog(*zip(*told, strict=True), CLASS_MARKERS[number % 10], color=colour, markersize=6)
            if found:
                ends = [told[0][0], told[-1][0]]
                axes.plot(ends, [scale * found["factor"] * x ** found["exponent"] for x in ends], color=colour, linewidth=1)
                axes.set_title(f"{row['row']}: exponent {found['exponent']:.2f}", fontsize=9, color=INK)
            else:
                axes.set_title(row["row"], fontsize=9, color=INK)
            axes.set_xlabel(row["unit"], fontsize=8, color=GREY)
            axes.set_ylabel(name if number == 0 else "", fontsize=8, color=GREY)
            low, high = axes.get_ylim()
            if told and high < 10 * low:  # at least a decade, so that little growth looks little
                middle = math.sqrt(low * high)
                axes.set_ylim(middle / 10**0.5, middle * 10**0.5)
            axes.grid(color=FAINT)
            axes.tick_params(labelsize=7, colors=GREY, which="both")
            axes.set_xticks([x for x, _ in told], [f"{x:,.3g}" if x < 1000 else f"{x / 1000:g}k" for x, _ in told])
            axes.minorticks_off()
            axes.tick_params(axis="x", rotation=45)
    figure.suptitle(f"A training step: what grows with what ({result['preset']} preset, {result['hardware']})", fontsize=10)
    figure.savefig(path, dpi=110)
    return True


def parser() -> argparse.ArgumentParser:
    flags = timing.parser(__doc__, device=True)
    flags.add_argument("--preset", default="quick", help="quick is the slim net, standard the ResNet-18 (default: quick)")
    flags.add_argument("--rows", help=f"with ; between, of {'; '.join(row.name for row in ROWS)} (default: all)")
    flags.add_argument("--rounds", type=int, default=ROUNDS, help=f"counted steps of each size (default: {ROUNDS})")
    flags.add_argument("--most-seconds", type=float, default=25.0, help="of timing a row, about (default: 25)")
    flags.add_argument("--largest", type=float, default=math.inf, help="no size beyond this (default: none)")
    flags.add_argument(
        "--engine", default="eager", help="how a step is run; compilers start anew at each size (default: eager)"
    )
    flags.add_argument("--no-memory", action="store_true", help="on a CPU: no fresh process a size (default: off)")
    flags.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="(default: data/runs/growth)")
    flags.add_argument("--dry", action="store_true", help="a tiny net: does it run? (default: off)")
    flags.add_argument("--point", nargs=2, metavar=("ROW", "SIZE"), help=argparse.SUPPRESS)
    return flags


def render(found: dict[str, Any], name: str) -> str:
    lines = []
    for row in found["rows"]:
        points = row["points"]
        cells = [f"{points[0]['size']:,} to {points[-1]['size']:,}"]
        for what, scale in (("seconds", 1e3), ("bytes", 1e-6)):
            ends = [scale * points[at][what] for at in (0, -1) if points[at][what]]
            cells.append(" to ".join(f"{value:,.0f}" for value in ends) or "-")
            fit = row["fits"][what]
            cells += (
                [f"{fit['exponent']:.2f} ×/÷ {fit['residual']:.2f}", f"{fit['last_exponent']:.2f}"] if fit else ["-", "-"]
            )
        lines.append([f"{row['row']} ({row['method']})", *cells])
    picture = Path(name).with_suffix(".png")
    parts = [f"![panels of time and memory](../data/runs/{picture})"] if (timing.RUNS / picture).exists() else []
    parts.append(page.table(["", "sizes", "ms a step", "exponent", "at the end", "MB", "exponent", "at the end"], lines))
    parts.append(
        f"`{found['preset']}` preset, engine {found['engine']}; medians of {found['rounds']} steps, sizes in turn; exponent "
        "of a fitted power law, with the factor by which the points lie off it (rms), and of the two largest sizes alone; "
        "views are fitted by their area; memory beyond the program's own. "
        f"{found['hardware']}, load {found['load'][0]:g}"
    )
    return page.section(f"How a step grows, {picture.stem}", page.as_today(found["command"], __name__), *parts)


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(argv)
    if args.point:
        point(args.point[0], int(args.point[1]), args)
        return
    device, begun = pick_device(args.device), time.perf_counter()
    rows = [row_of(name.strip()) for name in args.rows.split(";")] if args.rows else list(ROWS)
    slug = "cpu" if device.type == "cpu" else re.sub(r"[^a-z0-9]+", "-", describe_device(device).lower()).strip("-")
    path = args.out / f"{slug}.json"
    result: dict[str, Any] = {"what": "time and memory of a training step", "preset": args.preset, "dry": args.dry}
    result |= {"command": " ".join(["python -m benchmarks.speed.growth", *argv]), "engine": args.engine}
    result |= {"rounds": args.rounds, **timing.stamp(device), "rows": []}
    for row in rows:
        found = measured(row, args, device)
        result["rows"].append(found)
        print(f"{row.name} ({row.method}): " + words(found), flush=True)
        for size, why in found["left_out"].items():
            print(f"  {size} left out: {why}")
        result["seconds"] = round(time.perf_counter() - begun, 1)
        timing.save(path, result)
    if plot(result, path.with_suffix(".png")):
        print(f"written to {path.with_suffix('.png')}")


def words(found: dict[str, Any]) -> str:
    """A row in a line."""
    points = [f"{p['x']:g}: {1000 * p['seconds']:.1f} ms" for p in found["points"]]
    points = [
        f"{text}, {p['bytes'] / 1e6:,.0f} MB" if p["bytes"] else text
        for text, p in zip(points, found["points"], strict=True)
    ]
    fits = [f"{what} exponent {f['exponent']:.2f} (x/ {f['residual']:.2f})" for what, f in found["fits"].items() if f]
    return "; ".join([*points, *fits])


if __name__ == "__main__":
    timing.program(main, "growth")
