"""How fast is a training step: against its own networks, the same step in other libraries, and what the machine can do?

    python -m benchmarks.speed --out data/runs/speed/NAME.json
    python -m benchmarks.speed --methods all --sample 10        every method, ours and bare, about ten timed seconds each

Whole steps are timed; every row is a process of its own (`speed_rows`). benchmarks/README.md says what each row is.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import page, timing
from mnclglf_lite.core.errors import unknown
from mnclglf_lite.core.text import format_table
from mnclglf_lite.data import dataset
from mnclglf_lite.data.dataset import load_dataset
from mnclglf_lite.methods.registry import METHODS
from mnclglf_lite.recipe.legacy import upgrade
from mnclglf_lite.recipe.presets import PRESETS, preset
from mnclglf_lite.recipe.recipe import Recipe, build_method
from mnclglf_lite.training import cost

TITLES = {
    "ours": "ours", "ours-eager": "ours, eager", "ours-captured": "ours, captured",
    "ours-fp32": "ours, fp32", "bare": "bare networks", "networks-loss": "networks and loss",
    "lightly": "lightly as shipped", "lightly-tuned": "lightly tuned", "lightly-fp32": "lightly tuned, fp32",
    "lightly-fixed": "lightly tuned, fixed batch", "torchvision": "torchvision v2 (solo-learn's recipe)",
}  # fmt: skip
PEERS = ("lightly", "lightly-tuned", "lightly-fp32", "lightly-fixed", "torchvision")
ALIKE = ("lightly-fixed", "torchvision")  # the networks of "lightly-tuned": compiled or not as it found faster
BAR = 1.10  # a whole step may take this many times as long as its bare networks
IMAGES = 50_000  # as many as CIFAR-10's training files hold
START_SECONDS = 900.0  # that a row may take until it is warm; compiling is in it
SLOWEST = 40.0  # a block may take this many times as long as it should, and a minute
PROTOCOL = (
    "one process a row, all rows built and warmed first, then {rounds} rounds of blocks of about {seconds:g} s, every "
    "second round in reverse order; one row works at a time; the clock stops after the device has finished; medians, lowest "
    "and highest block"
)


@dataclass
class Plan:
    """What is measured, and for how long."""

    recipe: Recipe
    rows: list[str]
    rounds: int = 5
    seconds: float = 2.0  # a block
    device: str = "cpu"
    engine: str = "auto"  # of the row "ours" and the one in float32
    compile: bool = True  # may bare networks and peers be compiled where that is faster?
    workers: list[int] | None = None  # loader processes to try; None: see `speed_rows`
    threads: int | None = None
    warm_steps: int = 20
    warm_seconds: float = 5.0  # beyond which no further warm-up step is begun
    trial_seconds: float = 0.8  # of each way in a trial
    parts: int = 10  # calls in a block of each part of our step; 0: not timed
    parity_views: int = 2500  # 0: not checked
    matrix: int = 2048  # side of the large matrices on a CPU
    ceilings: bool = True
    command: list[str] = field(default_factory=lambda: [sys.executable, "-m", "benchmarks.speed"])

    def spec(self, images: Path) -> dict[str, Any]:
        """What a worker is told."""
        names = ("device", "engine", "compile", "workers", "threads", "warm_steps", "warm_seconds", "trial_seconds")
        return {name: getattr(self, name) for name in (*names, "parity_views", "matrix")} | {
            "recipe": self.recipe.to_dict(),
            "images": str(images),
        }


class Failed(Exception):
    """A row that says why it cannot go on."""


class Worker:
    """A row's process, and the conversation with it: JSON lines from it, words to it."""

    def __init__(self, row: str, spec: dict[str, Any], command: list[str], scratch: Path):
        self.row = row
        self.errors = (scratch / f"{row}.log").open("w+")
        caches = scratch / "compiled" / ("peers" if row in PEERS else row)  # so that compile times are those of a cold start
        here = {"TORCHINDUCTOR_CACHE_DIR": str(caches), "PYTHONPATH": os.pathsep.join([str(timing.ROOT), *paths()])}
        self.process = subprocess.Popen(
            [*command, "--row", row, "--spec", json.dumps(spec)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.errors, cwd=timing.ROOT, env=os.environ | here, start_new_session=True,
        )  # fmt: skip
        self.pending = b""

    def listen(self, seconds: float) -> dict[str, Any]:
        """The next thing it says. `Failed` where it fails, ends or says nothing for so long."""
        until, out = time.monotonic() + seconds, self.process.stdout
        while b"\n" not in self.pending:
            if not select.select([out], [], [], max(0.0, until - time.monotonic()))[0]:
                self.end(at_once=True)
                raise Failed(f"it said nothing for {seconds:.0f} s")
            some = os.read(out.fileno(), 1 << 16)
            if not some:
                raise Failed(f"its process ended with {self.process.wait()}: {self.last_words()}")
            self.pending += some
        line, self.pending = self.pending.split(b"\n", 1)
        said = json.loads(line)
        if said["event"] == "failed":
            raise Failed(said["reason"])
        return said

    def ask(self, words: str, seconds: float) -> dict[str, Any]:
        try:
            self.process.stdin.write((words + "\n").encode())
            self.process.stdin.flush()
        except OSError:
            pass  # it has ended, and `listen` says how
        return self.listen(seconds)

    def last_words(self) -> str:
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        return lines[-1][:300] if lines else "no message"

    def end(self, at_once: bool = False) -> None:
        """Ask it to end; end its session, loader processes included, where it does not."""
        if self.process.poll() is None and not at_once:
            try:
                self.process.stdin.write(b"quit\n")
                self.process.stdin.close()
                self.process.wait(15)
            except (OSError, subprocess.TimeoutExpired):
                at_once = True
        if self.process.poll() is None and at_once:
            os.killpg(self.process.pid, 9)  # a session of its own: see `start_new_session`
            self.process.wait()
        self.errors.close()


def paths() -> list[str]:
    return [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]


def images_file(images: Tensor, labels: Tensor, classes: int, folder: Path) -> Path:
    """The images of all rows in one file, repeated to as many as CIFAR-10 has where there are fewer."""
    if len(images) < IMAGES:
        at = torch.arange(IMAGES) % len(images)
        images, labels = images[at], labels[at]
    path = folder / "images.pt"
    torch.save({"images": images.contiguous(), "labels": labels, "classes": classes}, path)
    return path


def gpu_state() -> str | None:
    """Clock, temperature and power of the GPU, where a tool can tell."""
    asked = "clocks.sm,clocks.max.sm,temperature.gpu,power.draw"
    try:
        found = subprocess.run(
            ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"], capture_output=True, text=True, timeout=10
        )
        return found.stdout.strip() or None
    except (OSError, subprocess.TimeoutExpired):
        return None


def state(plan: Plan) -> dict[str, Any]:
    """How busy the machine is at this moment."""
    found: dict[str, Any] = {"load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None}
    return found | ({"gpu": gpu_state()} if plan.device.startswith("cuda") else {})


def step_flops(recipe: Recipe) -> float:
    """FLOPs of forward and backward of one step, by torch's counter, from two small batches (see `cost.relative_flops`)."""
    method = build_method(recipe, 10)
    few = 2 * recipe.method.bn_splits
    once, twice = cost.step_flops(method, few), cost.step_flops(method, 2 * few)
    quadratic = (twice - 2 * once) / (2 * few**2)
    return (once / few - quadratic * few) * recipe.optim.batch_size + quadratic * recipe.optim.batch_size**2


def measure(plan: Plan, images: Path, say=print) -> dict[str, Any]:
    """All rows of one recipe, in turn. Rows that fail are named with their reason; the others are measured."""
    scratch, spec = images.parent, plan.spec(images)
    rows: dict[str, dict[str, Any]] = {name: {"title": TITLES[name], "blocks": []} for name in plan.rows}
    found: dict[str, Any] = {"recipe": plan.recipe.to_dict(), "rows": rows, "states": [state(plan)]}
    workers: dict[str, Worker] = {}
    eager_too: set[str] = set()  # whose networks another row has tried

    def begin(name: str) -> dict[str, Any] | None:
        worker = Worker(name, spec | ({"compile": False} if name in eager_too else {}), plan.command, scratch)
        try:
            told = worker.listen(START_SECONDS)
        except Failed as error:
            worker.end()
            if name in rows:
                rows[name]["skipped"] = str(error)
            say(f"  {TITLES.get(name, name)}: skipped: {error}")
            return None
        workers[name] = worker
        return told

    try:
        if plan.parity_views and any(name in PEERS for name in rows):
            told = begin("parity")
            found["parity"] = told["parity"] if told else {"skipped": "see above"}
            if told:
                workers.pop("parity").end()
        for name in rows:
            begun = time.perf_counter()
            if told := begin(name):
                rows[name] |= {key: value for key, value in told.items() if key != "event"}
                if name == "lightly-tuned" and told["engine"] == "eager":
                    eager_too.update(ALIKE)
                spent = time.perf_counter() - begun
                say(f"  {TITLES[name]}: warm after {spent:.0f} s, {1000 * told['step_s']:.1f} ms a step")
        if plan.ceilings and workers and (told := begin("ceilings")):
            found["ceilings"] = {"matrix": told["matrix"], "copy_bytes": told["copy_bytes"], "blocks": []}
        for at in range(plan.rounds):
            turn = [name for name in (*rows, "ceilings") if name in workers]
            for name in turn if at % 2 == 0 else reversed(turn):
                block(name, workers, rows, found, plan, say)
            found["states"].append(state(plan))
        if plan.parts and "ours" in workers:
            count = max(2, min(plan.parts, round(3 / rows["ours"]["step_s"])))
            try:
                found["parts"] = workers["ours"].ask(f"parts {count}", START_SECONDS)
                found["parts"].pop("event")
            except Failed as error:
                found["parts"] = {"skipped": str(error)}
    finally:
        for worker in workers.values():
            worker.end()
    found["flops_a_step"] = step_flops(plan.recipe)
    return found | {"summary": summary(found)}


def block(name: str, workers: dict[str, Worker], rows: dict, found: dict, plan: Plan, say) -> None:
    """One block of one row; a row that fails leaves, with its reason."""
    try:
        if name == "ceilings":
            told = workers[name].ask("go 1", 300)
            found["ceilings"]["blocks"].append({key: round(value, 4) for key, value in told.items() if key != "event"})
            return
        row = rows[name]
        steps = max(2, round(plan.seconds / row["step_s"]))
        told = workers[name].ask(f"go {steps}", 60 + SLOWEST * max(plan.seconds, 2 * row["step_s"]))
        row["blocks"].append({"steps": told["steps"], "seconds": told["seconds"]})
        row["notes"], row["memory"] = told["notes"], {k: max(v, row["memory"].get(k, 0)) for k, v in told["memory"].items()}
    except Failed as error:
        say(f"  {TITLES.get(name, name)}: left: {error}")
        rows.get(name, {})["skipped"] = f"in a block: {error}"
        workers.pop(name).end()


def median_and_range(values: list[float]) -> dict[str, float]:
    """{"median", "low", "high"}."""
    rounded = [float(f"{value:.6g}") for value in (statistics.median(values), min(values), max(values))]
    return dict(zip(("median", "low", "high"), rounded, strict=True))


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """Rates, ratios and shares from the raw blocks. Ratios are of medians; their range is that of the rounds."""
    recipe = Recipe.from_dict(found["recipe"])
    # how many views an image is cut into, whatever their size
    views = len(build_method(recipe.replace(width=1), 10).views)
    measured = {name: row for name, row in found["rows"].items() if row["blocks"] and "skipped" not in row}
    seconds = {name: [b["seconds"] / b["steps"] for b in row["blocks"]] for name, row in measured.items()}
    made: dict[str, Any] = {"rates": {}, "views_a_picture": views}
    for name, values in seconds.items():
        rate = median_and_range([recipe.optim.batch_size / value for value in values])
        made["rates"][name] = {"images_per_s": rate, "views_per_s": {key: value * views for key, value in rate.items()}}

    def ratio(slow: str, fast: str) -> dict[str, float] | None:
        """How many times as long a step of the first takes as one of the second."""
        if slow not in seconds or fast not in seconds:
            return None
        each = [a / b for a, b in zip(seconds[slow], seconds[fast], strict=True)]
        middle = statistics.median(seconds[slow]) / statistics.median(seconds[fast])
        return {"median": round(middle, 3), "low": round(min(each), 3), "high": round(max(each), 3)}

    compared = {name: result for name, result in found.get("parity", {}).items() if isinstance(result, dict)}
    made["parity_holds"] = bool(compared) and all(result.get("equal", False) for result in compared.values())
    made["ours_faster_than"] = {name: ratio(name, "ours") for name in seconds if name in PEERS and "ours" in seconds}
    made["whole_over_bare"] = ratio("ours", "bare")
    made["fp32_ours_faster_than_lightly_tuned"] = ratio("lightly-fp32", "ours-fp32")
    made["fp32_over_ours"] = ratio("ours-fp32", "ours")
    blocks = found.get("ceilings", {}).get("blocks")
    if blocks:
        made["ceilings"] = {name: median_and_range([b[name] for b in blocks]) for name in blocks[0]}
    if "ours" in seconds:
        made["tflops"] = round(found["flops_a_step"] / statistics.median(seconds["ours"]) / 1e12, 4)
        if blocks:
            kind = "bf16" if measured["ours"]["dtype"] == "bfloat16" else "fp32"
            made["share_of_matrix_ceiling"] = round(made["tflops"] / made["ceilings"][f"{kind}_tflops"]["median"], 4)
    return made


def to_first_step(row: dict[str, Any]) -> float:
    """Seconds from an imported package to the end of the first step: images, networks, compiler; trials left out."""
    compiler = row.get("compile_s", 0.0) if row.get("engine") == "compiled" else 0.0
    return row["build_s"] + compiler + row["first_step_s"]


def table(found: dict[str, Any]) -> list[list[str]]:
    """One row of cells for each row that was measured."""
    lines, rates = [], found["summary"]["rates"]
    for name, row in found["rows"].items():
        if name not in rates:
            continue
        rate, faster = rates[name]["images_per_s"], found["summary"]["ours_faster_than"].get(name)
        used = row["memory"]
        peak = used.get("peak_cuda") or used["pss"] or None
        cells = [
            row["title"], f"{rate['median']:,.0f}", f"{rate['low']:,.0f} to {rate['high']:,.0f}",
            f"{rates[name]['views_per_s']['median']:,.0f}",
            f"{faster['median']:.2f} ({faster['low']:.2f} to {faster['high']:.2f})" if faster else "",
            {"bfloat16": "bf16", "float32": "fp32"}[row["dtype"]], row.get("engine", ""), str(row.get("workers", "")),
            f"{peak:,.0f}" if peak else "-", f"{to_first_step(row):.1f}",
        ]  # fmt: skip
        lines.append(cells)
    return lines


HEADER = ["", "images/s", "range", "views/s", "ours is x times", "in", "engine", "loaders", "MiB", "s to first step"]


def headlines(found: dict[str, Any]) -> list[str]:
    """What the numbers say, one line each."""
    made, lines = found["summary"], []
    if near := found.get("parts", {}).get("whole_over_networks"):
        low, high = near["quartiles"]
        lines.append(
            f"whole step / bare networks, side by side in one process: {near['median']:.3f} (half of the turns lie between "
            f"{low:.3f} and {high:.3f}); bar {BAR:.2f}: {'met' if near['median'] <= BAR else 'missed'}"
        )
    if whole := made["whole_over_bare"]:
        lines.append(f"the same as two processes: {whole['median']:.3f} ({whole['low']:.3f} to {whole['high']:.3f})")
    if fp32 := made["fp32_ours_faster_than_lightly_tuned"]:
        lines.append(f"in fp32 ours is {fp32['median']:.2f} ({fp32['low']:.2f} to {fp32['high']:.2f}) times lightly tuned")
    if "shares" in found.get("parts", {}):
        parts = found["parts"]
        shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in parts["shares"].items())
        lines.append(f"of a step: {shares} (parts timed apart sum to {parts['sum_over_whole']:.2f} of the whole)")
    if "ceilings" in made:
        top = made["ceilings"]
        lines.append(
            f"the machine: bf16 {top['bf16_tflops']['median']:.3g} and fp32 {top['fp32_tflops']['median']:.3g} TFLOP/s in "
            f"matrices, copies {top['copy_gbs']['median']:.3g} GB/s"
        )
    if "tflops" in made:
        share = f", {100 * made['share_of_matrix_ceiling']:.1f} % of matrices" if "ceilings" in made else ""
        lines.append(f"ours: {made['tflops']:.3g} TFLOP/s of convolutions and matrix products{share}")
    for name, result in found.get("parity", {}).items():
        if isinstance(result, dict):
            said = f"skipped: {result['skipped']}" if "skipped" in result else (
                f"{'equal' if result['equal'] else 'NOT EQUAL, no ratio is claimed'} (worst of {len(result['traits'])} "
                f"traits of {result['views']} views: {result['worst']}, {result['worst_of_allowed']:.2f} of what is allowed)"
            )  # fmt: skip
            lines.append(f"views of {name} against ours: {said}")
    lines += [f"{row['title']}: skipped: {row['skipped']}" for row in found["rows"].values() if "skipped" in row]
    for row in found["rows"].values():
        lines += [f"{row['title']}: {note}" for note in row.get("notes", [])]
    return lines


def rows_for(method: str, cuda: bool, asked: str | None) -> list[str]:
    """The rows to measure: those asked for, else all that this method and machine have."""
    if asked:
        names = [name.strip() for name in asked.split(",")]
        for name in names:
            if name not in TITLES:
                raise unknown("row", name, TITLES)
        return names if method == "simclr" else [name for name in names if name not in PEERS]
    left_out = ("networks-loss", *(() if cuda else ("ours-captured",)))
    return [name for name in TITLES if name not in left_out and (method == "simclr" or name not in PEERS)]


def arguments(words: list[str] | None) -> argparse.Namespace:
    """The command line."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.split("\n")[0])
    parser.add_argument("--methods", "--method", default="simclr", help="names with commas, or all (simclr)")
    parser.add_argument("--preset", choices=PRESETS, default="standard" if cuda else "quick", help="standard on CUDA")
    parser.add_argument("--dataset", choices=("toybox", "cifar10"), default="toybox", help="images to show (toybox)")
    parser.add_argument("--data", help="folder that holds cifar-10-batches-py; implies --dataset cifar10")
    parser.add_argument("--view-size", type=int, help="pixels (the preset's)")
    parser.add_argument("--batch", type=int, help="images (512 on CUDA, else the preset's)")
    parser.add_argument("--rounds", type=int, default=5, help="blocks of each row (5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a block (2)")
    parser.add_argument("--rows", help=f"names with commas, of {', '.join(TITLES)} (all but networks-loss)")
    parser.add_argument("--engine", default="auto", help="of the row ours (auto: compiled)")
    parser.add_argument("--workers", help="loader processes to try, with commas (0, 1, 2, 4, 8, cores)")
    parser.add_argument("--threads", type=int, help="of torch (its own choice)")
    parser.add_argument("--no-compile", action="store_true", help="bare networks and peers run eagerly, untried")
    parser.add_argument("--sample", type=float, metavar="SECONDS", help="ours and bare alone, so long a method")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if cuda else "cpu")
    parser.add_argument("--out", type=Path, help="file for all numbers, as JSON")
    parser.add_argument("--row", help=argparse.SUPPRESS)  # this process is a worker
    parser.add_argument("--spec", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def plan_for(method: str, args: argparse.Namespace) -> Plan:
    """The plan that the command line asks for."""
    cuda = args.device == "cuda"
    recipe = preset(args.preset, method, "cifar10")
    batch = args.batch or (512 if cuda and args.preset == "standard" else recipe.optim.batch_size)
    changes: dict[str, Any] = {"batch_size": batch}
    if recipe.reads("queue"):
        changes["queue"] = max(1, round(recipe.method.queue / batch)) * batch
    if args.view_size:
        changes["view"] = replace(recipe.views.view, size=args.view_size)
    if args.view_size and recipe.reads("teacher_view"):
        changes["teacher_view"] = replace(recipe.method.teacher_view, size=args.view_size)
    plan = Plan(
        recipe.replace(**changes), rows_for(method, cuda, args.rows), args.rounds, args.seconds, args.device, args.engine,
        not args.no_compile, [int(n) for n in args.workers.split(",")] if args.workers else None, args.threads,
    )  # fmt: skip
    if args.sample:
        plan.rows = ["ours", "bare"]
        plan.seconds, plan.parts, plan.ceilings = args.sample / (2 * plan.rounds), 0, False
    return plan


def render(result: dict[str, Any], name: str) -> str:
    """A table and its headlines for each method."""
    parts = []
    for method, found in result["methods"].items():
        lines = "\n".join(f"- {line}" for line in headlines(found))
        parts += [page.NAMES.get(method, method), page.table(HEADER, table(found)), lines]
        if told := facts_of(found):
            recipe, loads = upgrade(found["recipe"]), [state["load"][0] for state in found["states"] if state["load"]]
            load = f"; load average {min(loads):.1f} to {max(loads):.1f}" if loads else ""
            protocol = result["protocol"][0].upper() + result["protocol"][1:]
            parts.append(
                f"Batch {recipe['batch_size']}, views of {recipe['view']['size']} pixels, {result['pictures']} images; "
                f"{told['hardware']}; torch {told['versions']['torch']}{load}. {protocol}."
            )
    return page.section(f"Speed: {Path(name).stem}", page.as_today(result["command"], "benchmarks.speed"), *parts)


def facts_of(found: dict[str, Any]) -> dict[str, Any] | None:
    """The first row that knows where it was measured."""
    return next((row for row in found["rows"].values() if "hardware" in row), None)


README = ("lightly-tuned", "lightly", "torchvision", "bare")


def in_short(result: dict[str, Any]) -> str:
    """SimCLR's step beside its peers', for the README."""
    found = result["methods"]["simclr"]
    rates, told = found["summary"]["rates"], facts_of(found)
    pace = {row: rates[row]["images_per_s"]["median"] for row in rates}
    others = ", ".join(f"{pace[row]:,.0f} {found['rows'][row]['title']}" for row in README)
    return (
        f"SimCLR, slim net, {upgrade(found['recipe'])['view']['size']} pixels, two CPU cores: **{pace['ours']:,.0f} images "
        f"a second**; {others}. {told['hardware']}; torch {told['versions']['torch']}."
    )


def main(words: list[str] | None = None) -> int:
    """Measure, print, write. Returns 1 where the peers' views are not ours or nothing could be measured."""
    args = arguments(words)
    if args.row:
        from benchmarks.speed import speed_rows

        speed_rows.main(args.row, json.loads(args.spec))
        return 0
    begun = time.perf_counter()
    methods = list(METHODS) if args.methods == "all" else args.methods.split(",")
    if args.sample:  # no peers, so that what the images show costs nothing and says nothing
        images, labels = timing.random_images(IMAGES, 32, torch.device("cpu"))
        train = dataset.ImageSet(images, labels, tuple("0123456789"), "random", "train")
    else:
        train = load_dataset("cifar10" if args.data else args.dataset, args.data).train
    asked = sys.argv[1:] if words is None else words
    result: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.speed", *asked]),
        "protocol": PROTOCOL.format(rounds=args.rounds, seconds=args.seconds),
        "pictures": train.name,
        "methods": {},
    }
    bad = False
    for method in methods:
        plan = plan_for(method, args)
        result["protocol"] = PROTOCOL.format(rounds=plan.rounds, seconds=plan.seconds)
        view, batch = plan.recipe.views.view.size, plan.recipe.optim.batch_size
        print(f"{method}, {args.preset}, batch {batch}, views of {view} pixels, on {args.device}", flush=True)
        with tempfile.TemporaryDirectory(prefix="speed-") as folder:
            file = images_file(train.images, train.labels, len(train.classes), Path(folder))
            found = measure(plan, file, lambda text: print(text, flush=True))
        result["methods"][method] = found
        bad |= not found["summary"]["rates"] or ("parity" in found and not found["summary"]["parity_holds"])
        show(found)
        result["minutes"] = round((time.perf_counter() - begun) / 60, 2)
        if args.out:  # after each method, so that what is cut short has left something
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{result['minutes']:.1f} minutes in all" + (f"; written to {args.out}" if args.out else ""))
    return int(bad)


def show(found: dict[str, Any]) -> None:
    """The table and the headlines, on the screen."""
    print("", format_table(HEADER, table(found)), "", *headlines(found), "", sep="\n", flush=True)


if __name__ == "__main__":
    timing.program(main, "speed")
