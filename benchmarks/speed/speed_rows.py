"""The worker's side of `benchmarks.speed`: one row of the comparison, in a process of its own.

The worker builds its row, takes steps until it is warm, and says so; then it waits. Told `go N` it takes a few steps that
are not counted, N that are, and answers with the seconds. Between two blocks it is idle, its loader's processes too: it says
that a block is over only when they have stopped working.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

from benchmarks import timing
from benchmarks.speed import ceilings, peers
from benchmarks.speed.bare import Bare
from benchmarks.speed.peers import PeerStep, Unavailable
from mnclglf_lite.core.device import autocast_dtype
from mnclglf_lite.data.dataset import batch_order
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.training.run import Run, new_run
from mnclglf_lite.training.step import CompiledBackbones, Step, set_lr, views_at_step
from mnclglf_lite.views.batch import make_views

TURNS = 15  # short blocks of each part of a step, in turn
STEPS = 100_000  # of the schedule that the timed steps are the beginning of
LEAST_WARM = 3  # steps, however slow
LEAST_WARM_CUDA = 20
FASTER = 0.98  # share of the eager time that compiled code must stay below to be taken


class Row:
    """One row: a step that takes no arguments, and what is to be told about it."""

    def __init__(self, spec: dict[str, Any]):
        self.spec = spec
        self.device = torch.device(spec["device"])
        self.recipe = Recipe.from_dict(spec["recipe"]).replace(steps=STEPS)
        self.told: dict[str, Any] = {"notes": [], "trials": {}, "trials_s": 0.0}  # seconds that trials took in all
        self.step: Callable[[], None] = lambda: None
        self.ready_made = 0  # batches that may lie ready before they are asked for

    def note(self, text: str) -> None:
        self.told["notes"].append(text)

    def images(self) -> tuple[Tensor, Tensor, int]:
        """uint8 (M, 3, H, W) and labels (M,) on the CPU, and the number of classes."""
        kept = torch.load(self.spec["images"], weights_only=True)
        return kept["images"], kept["labels"], kept["classes"]

    def timed(self, work: Callable[[], Any], count: int) -> float:
        """Seconds of one call, over `count` of them, the device's work included."""
        return timing.timed(work, count, self.device)

    def trial(self, work: Callable[[], Any], first: int = 2) -> float:
        """Seconds of one call, from as many calls as fit into the time of a trial; the first few do not count."""
        for _ in range(first):
            work()
        once = self.timed(work, 1)
        return self.timed(work, max(3, round(self.spec["trial_seconds"] / once)))

    def faster_compiled(self, what: str, way: Callable[[bool], Callable[[], Any]]) -> tuple[Callable[[], Any], bool]:
        """`way(False)` or, where it is faster, `way(True)`: which, and is it compiled? Both times are told.

        A compiler that fails has lost.
        """
        eager, entered = way(False), time.perf_counter()
        if not self.spec["compile"]:
            return eager, False
        times, compiled = {"eager": self.trial(eager)}, eager
        try:
            begun = time.perf_counter()
            compiled = way(True)
            compiled()
            timing.wait(self.device)
            self.told["compile_s"] = round(time.perf_counter() - begun, 3)
            times["compiled"] = self.trial(compiled)
        except Exception as error:  # torch and its compilers raise of all kinds
            self.note(f"{what} cannot be compiled here: {type(error).__name__}: {str(error).splitlines()[0][:160]}")
        self.told["trials"][what] = {name: round(seconds, 5) for name, seconds in times.items()}
        self.told["trials_s"] += time.perf_counter() - entered
        faster = times.get("compiled", float("inf")) < FASTER * times["eager"]
        return (compiled, True) if faster else (eager, False)


# --- ours ------------------------------------------------------------------------------------------------------------------


class Ours(Row):
    """The package's own step, with the order of images and the meter that training has around it."""

    def __init__(self, spec: dict[str, Any], engine: str = "auto", precision: str | None = None):
        super().__init__(spec)
        if engine == "auto":
            engine = spec["engine"]
        if engine == "captured" and self.device.type != "cuda":
            raise Unavailable("a graph is recorded on CUDA alone")
        if precision:
            self.recipe = self.recipe.replace(precision=precision)
        images, labels, classes = (x.to(self.device) if isinstance(x, Tensor) else x for x in self.images())
        self.run: Run = new_run(self.recipe, len(images), classes, self.device)
        self.run.method.train()
        self.one = Step(self.run, images, labels, engine, self.note)
        self.dtype = self.one.dtype
        self.rows = self.order(len(images))
        self.step = self.whole
        self.told |= {"dtype": str(self.dtype or torch.float32).removeprefix("torch.")}

    def order(self, count: int) -> Iterator[Tensor]:
        """The rows of each batch (N,), as the training loop has them."""
        batch, epoch = self.recipe.optim.batch_size, 0
        while True:
            order = batch_order(self.recipe.seed, epoch, count)
            yield from order[: count // batch * batch].split(batch)
            epoch += 1

    def whole(self) -> None:
        self.run.meter.add(self.one(next(self.rows)), self.run.step)
        self.told["engine"] = self.one.engine  # what it became

    def parts(self, count: int) -> dict[str, Any]:
        """Where the time of a step goes, each part timed by itself, `count` times.

        networks: forward and backward of the bare networks; loss: what forward and backward of the method take beyond that;
        update: optimiser, moving averages, queues, schedule, meter. On CUDA the whole step is shorter than the parts
        together where it makes the next views beside this step's networks.
        """
        run, one = self.run, self.one
        kinds = views_at_step(run.recipe, run.method, run.step, run.total_steps)
        rows = next(self.rows)
        cut = make_views(one.images[rows], kinds, run.generator, one.render)
        labels = one.labels[rows]
        kept: dict[str, Any] = {}

        def gradients() -> None:
            with one.backbones, torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
                kept["outputs"] = one.forward(cut, labels)
            run.optimiser.zero_grad(set_to_none=True)
            kept["outputs"]["loss"].backward()

        def update() -> None:
            set_lr(run)
            run.optimiser.step()
            run.method.after_step(kept["outputs"])
            run.meter.add(kept["outputs"], run.step)

        def data() -> None:
            index = next(self.rows)
            make_views(one.images[index], kinds, run.generator, one.render)

        bare = Bare(run.method, cut, self.dtype, one.engine != "eager")
        work = {"data": data, "networks": bare, "gradients": gradients, "update": update, "whole": self.whole}
        for each in work.values():
            for _ in range(2):
                each()
        gradients()
        seconds: dict[str, list[float]] = {name: [] for name in work}
        for _ in range(TURNS):  # in turn, so that a busy moment hits all alike
            for name, each in work.items():
                if name == "update":
                    gradients()
                seconds[name].append(self.timed(each, max(1, count // 3)))
        return split(seconds)


def split(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Seconds of the parts and their shares, which sum to 1, from repeated times of each."""
    median = {name: statistics.median(values) for name, values in seconds.items()}
    networks = min(median["networks"], median["gradients"])
    parts = {
        "data": median["data"],
        "networks": networks,
        "loss": median["gradients"] - networks,
        "update": median["update"],
    }
    total = sum(parts.values())
    ratios = sorted(whole / bare for whole, bare in zip(seconds["whole"], seconds["networks"], strict=True))
    quarter = len(ratios) // 4
    return {
        "seconds": {name: round(value, 6) for name, value in parts.items()},
        "shares": {name: round(value / total, 4) for name, value in parts.items()},
        "sum_over_whole": round(total / median["whole"], 3),
        "whole_over_networks": {  # side by side in one process: other processes have other luck with memory
            "median": round(statistics.median(ratios), 3),
            "quartiles": [round(ratios[quarter], 3), round(ratios[-1 - quarter], 3)],
        },
    }


class Networks(Row):
    """The method's networks forward and backward on views that lie ready: see `bare`. With `loss`, the method's loss too."""

    def __init__(self, spec: dict[str, Any], loss: bool = False):
        super().__init__(spec)
        images, _, classes = self.images()
        run = new_run(self.recipe, len(images), classes, self.device)
        method, dtype = run.method.train(), autocast_dtype(self.recipe.optim.precision, self.device)
        torch.backends.cudnn.benchmark = self.device.type == "cuda"  # as in `Step`
        generator = torch.Generator(self.device).manual_seed(0)
        cut = []
        for view in views_at_step(self.recipe, method, 0, STEPS):
            x = torch.randn(self.recipe.optim.batch_size, 3, view.size, view.size, generator=generator, device=self.device)
            cut.append(x.contiguous(memory_format=torch.channels_last))
        labels = torch.arange(self.recipe.optim.batch_size, device=self.device) % classes

        def way(compiled: bool) -> Callable[[], None]:
            return self.with_loss(method, cut, labels, dtype, compiled) if loss else Bare(method, cut, dtype, compiled)

        self.step, compiled = self.faster_compiled("the networks", way)
        self.told |= {
            "dtype": str(dtype or torch.float32).removeprefix("torch."),
            "engine": "compiled" if compiled else "eager",
        }

    @staticmethod
    def with_loss(
        method: Any, cut: list[Tensor], labels: Tensor, dtype: torch.dtype | None, compiled: bool
    ) -> Callable[[], None]:
        backbones = CompiledBackbones(method) if compiled else contextlib.nullcontext()

        def work() -> None:
            method.zero_grad(set_to_none=True)
            with backbones, torch.autocast(labels.device.type, dtype=dtype, enabled=dtype is not None):
                loss = method(cut, labels)["loss"]
            loss.backward()

        return work


# --- theirs ----------------------------------------------------------------------------------------------------------------


class Peer(Row):
    """A library's SimCLR: `library` "lightly" or "torchvision", as shipped or tuned, on a loader or on one fixed batch."""

    def __init__(
        self, spec: dict[str, Any], library: str = "lightly", tuned: bool = True, fixed: bool = False,
        precision: str | None = None,
    ):  # fmt: skip
        super().__init__(spec)
        if self.recipe.method.name != "simclr":
            raise Unavailable("the peers' step is built for SimCLR alone")
        if self.recipe.method.small_views or self.recipe.views.progressive_sizes:
            raise Unavailable("the peers' step has two views of one size")
        if library == "lightly":
            self.told["lightly"] = getattr(peers.need("lightly"), "__version__", "?")
        make = {"lightly": peers.lightly_transform, "torchvision": peers.torchvision_transform}[library]
        transform = make(self.recipe.views.view)
        if self.device.type == "cuda" and tuned:
            torch.backends.cudnn.benchmark = True  # in their favour
        images, _, classes = self.images()
        self.tuned, self.cuda = tuned, self.device.type == "cuda"
        dtype = autocast_dtype(precision or self.recipe.optim.precision, self.device) if tuned else None
        ours = new_run(self.recipe, len(images), classes, torch.device("cpu")).method
        self.one = PeerStep(self.recipe, ours, library, self.device, dtype, tuned)
        self.told["dtype"] = str(dtype or torch.float32).removeprefix("torch.")
        keep = self.best_form(library, transform, images) if tuned else "array"
        dataset = peers.Images(images, transform, keep)
        some = torch.utils.data.default_collate([dataset[i] for i in range(self.recipe.optim.batch_size)])
        if tuned:
            self.choose_engine(some)
        else:
            self.told["engine"] = "eager"
        if fixed:
            some = ([self.one.moved(x) for x in some[0]], some[1])
            self.step = lambda: self.one(some)
        else:
            self.choose_workers(dataset)

    def best_form(self, library: str, transform: Callable, images: Tensor) -> str:
        """Pillow images or tensors: whichever this chain is faster with, on one processor. lightly's has Pillow's."""
        if library == "lightly":
            return "pillow"
        threads, times, entered = torch.get_num_threads(), {}, time.perf_counter()
        torch.set_num_threads(1)
        for keep in ("pillow", "tensor"):
            few = peers.Images(images[:64], transform, keep)
            times[keep] = self.trial(lambda few=few: [few[i] for i in range(64)], first=1)
        torch.set_num_threads(threads)
        self.told["trials_s"] += time.perf_counter() - entered
        self.told["trials"]["images as (64)"] = {name: round(seconds, 5) for name, seconds in times.items()}
        return min(times, key=times.get)

    def choose_engine(self, some: tuple[list[Tensor], Tensor]) -> None:
        """Compile encoder and head where that makes the step on one batch faster."""
        one = self.one

        def way(compiled: bool) -> Callable[[], None]:
            forward = torch.compile(one.model, dynamic=False) if compiled else one.model

            def work() -> None:
                one.forward = forward
                one(some)

            return work

        work, compiled = self.faster_compiled("encoder and head", way)
        work()  # leaves the chosen way in place
        self.told["engine"] = "compiled" if compiled else "eager"

    def choose_workers(self, dataset: peers.Images) -> None:
        """As many loader processes as make the whole step fastest, each number tried for a moment."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        asked = self.spec["workers"]
        if asked is None and not self.tuned and cores >= 8:
            asked = [8]  # as its CIFAR scripts have it
        elif asked is None:
            asked = sorted({0, 2, cores} if not self.tuned else {n for n in (0, 1, 2, 4, 8, cores) if n <= cores})
        times, entered = {}, time.perf_counter()
        for workers in asked if len(asked) > 1 else ():
            batches, ready_made = peers.loader(dataset, self.recipe.optim.batch_size, workers, self.tuned, self.cuda)
            times[workers] = self.trial(lambda b=batches: self.one(next(b)), first=ready_made + 2)
            del batches
            gc.collect()  # ends the loader's processes
        workers = min(times, key=times.get) if times else asked[0]
        if times:
            self.told["trials_s"] += time.perf_counter() - entered
            self.told["trials"]["loader processes"] = {str(n): round(s, 5) for n, s in times.items()}
        self.told["workers"] = workers
        self.batches, self.ready_made = peers.loader(dataset, self.recipe.optim.batch_size, workers, self.tuned, self.cuda)
        self.step = lambda: self.one(next(self.batches))


# --- what the machine can do -----------------------------------------------------------------------------------------------


class Ceilings(Row):
    """Large matrix products and a large copy: what this machine gives at the very most. A block is one round of them."""

    def __init__(self, spec: dict[str, Any]):
        super().__init__(spec)
        self.side, self.bytes = (8192, 2**30) if self.device.type == "cuda" else (spec["matrix"], 2**27)
        self.told |= {"matrix": self.side, "copy_bytes": self.bytes, "engine": "eager", "dtype": "both"}

    def measure(self) -> dict[str, float]:
        """TFLOP/s and GB/s, each from about half a second."""
        found = ceilings.matmul(self.device, self.side, 0.5)
        rates = {f"{name}_tflops": found[name] for name in ("bf16", "fp32")}
        return rates | {"copy_gbs": ceilings.copy(self.device, self.bytes, 0.5)}


BUILD: dict[str, Callable[[dict[str, Any]], Row]] = {
    "ours": Ours,
    "ours-eager": lambda spec: Ours(spec, "eager"),
    "ours-captured": lambda spec: Ours(spec, "captured"),
    "ours-fp32": lambda spec: Ours(spec, precision="fp32"),
    "bare": Networks,
    "networks-loss": lambda spec: Networks(spec, loss=True),
    "lightly": lambda spec: Peer(spec, tuned=False),
    "lightly-tuned": Peer,
    "lightly-fp32": lambda spec: Peer(spec, precision="fp32"),
    "lightly-fixed": lambda spec: Peer(spec, fixed=True),
    "torchvision": lambda spec: Peer(spec, "torchvision"),
    "ceilings": Ceilings,
}


# --- memory and rest -------------------------------------------------------------------------------------------------------


def family() -> list[int]:
    """This process and its descendants, from /proc; this one alone where there is none."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents.setdefault(int(entry.read_text().rsplit(")", 1)[1].split()[1]), []).append(int(entry.parent.name))
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile
    found, at = [os.getpid()], 0
    while at < len(found):
        found += parents.get(found[at], [])
        at += 1
    return found


def memory(device: torch.device) -> dict[str, float]:
    """MiB. `pss`: now, pages that processes share counted once; `peak_rss`: the sum of all peaks, shared pages in each."""
    pids = family()
    found = {
        "pss": round(sum(timing.in_proc("Pss", pid, "smaps_rollup") or 0 for pid in pids) / 2**20, 1),
        "peak_rss": round(sum(timing.in_proc("VmHWM", pid) or 0 for pid in pids) / 2**20, 1),
    }
    if device.type == "cuda":
        found["peak_cuda"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return found


def worked(pids: list[int]) -> int:
    """Clock ticks that these processes have used."""
    ticks = 0
    for pid in pids:
        try:
            ticks += sum(int(x) for x in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13])
        except (OSError, ValueError):
            continue
    return ticks


def rest(row: Row, most: float = 20.0) -> None:
    """Wait until the loader's processes have filled their queues and do nothing more."""
    if not row.ready_made:
        return
    helpers, begun = family()[1:], time.perf_counter()
    before = worked(helpers)
    while time.perf_counter() - begun < most:
        time.sleep(0.3)
        now = worked(helpers)
        if now - before <= 1:
            return
        before = now
    row.note(f"the loader's processes were still busy {most:.0f} s after a block")


def pace(row: Row, seconds: float) -> float:
    """Seconds of a step, after those of the batches that lay ready since others were timed."""
    for _ in range(2 * row.ready_made + 1):
        row.step()
    found = timing.pace(row.step, seconds, row.device)
    rest(row)
    return found


# --- the conversation ------------------------------------------------------------------------------------------------------


def facts(device: torch.device) -> dict[str, Any]:
    """Versions, hardware and the settings that decide speed."""
    import torchvision

    told = timing.stamp(device)
    told["versions"]["torchvision"] = torchvision.__version__
    told["versions"]["cuda"] = torch.version.cuda if device.type == "cuda" else None
    return told | {
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn_allow_tf32": torch.backends.cudnn.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }


def warm(row: Row) -> dict[str, Any]:
    """Steps until the row is warm: 20 of them, or fewer where they are slow. The first is timed apart."""
    begun = time.perf_counter()
    first = row.timed(row.step, 1)
    least = LEAST_WARM_CUDA if row.device.type == "cuda" else LEAST_WARM
    times = []
    while len(times) < least or (
        len(times) < row.spec["warm_steps"] and time.perf_counter() - begun < row.spec["warm_seconds"]
    ):
        times.append(row.timed(row.step, 1))
    return {
        "first_step_s": round(first, 4),
        "warm_steps": 1 + len(times),
        "step_s": statistics.median(times[-max(3, len(times) // 2) :]),
    }


def serve(name: str, spec: dict[str, Any], say: Callable[[dict[str, Any]], None], commands: TextIO) -> None:
    """Build a row, warm it, and answer `go N`, `parts N` and `quit` until there is nothing more to read."""
    torch.manual_seed(0)
    if spec["threads"]:
        torch.set_num_threads(spec["threads"])
    if name == "parity":
        images = torch.load(spec["images"], weights_only=True)["images"][: spec["parity_views"]]
        found = peers.parity(images, Recipe.from_dict(spec["recipe"]).views.view)
        say({"event": "ready", "parity": found, **facts(torch.device("cpu"))})
        return
    begun = time.perf_counter()
    row = BUILD[name](spec)
    built = time.perf_counter() - begun
    told: dict[str, Any] = warm(row) if name != "ceilings" else {}
    rest(row)
    told |= {"build_s": round(built - row.told["trials_s"], 3), **row.told, "memory": memory(row.device)}
    say({"event": "ready", **told, **facts(row.device)})
    for line in commands:
        word, *rest_of = line.split()
        if word == "quit":
            break
        if word == "parts":
            say({"event": "parts", **row.parts(int(rest_of[0]))})
        elif name == "ceilings":
            say({"event": "block", **row.measure()})
        else:
            for _ in range(row.ready_made + 1):  # what lay ready was not made in this block
                row.step()
            steps = int(rest_of[0])
            seconds = row.timed(row.step, steps) * steps
            used = memory(row.device)
            rest(row)
            say({"event": "block", "steps": steps, "seconds": seconds, "memory": used, "notes": row.told["notes"]})


def main(name: str, spec: dict[str, Any]) -> None:
    """The process of one row. Its standard output carries JSON lines alone; what libraries print goes to standard error."""
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(what: dict[str, Any]) -> None:
        lines.write(json.dumps(what) + "\n")
        lines.flush()

    try:
        serve(name, spec, say, sys.stdin)
    except Unavailable as error:
        say({"event": "failed", "reason": str(error)})
    except Exception as error:  # whatever it is, the other rows go on
        import traceback

        traceback.print_exc()
        first = (str(error).strip().splitlines() or [""])[0]
        say({"event": "failed", "reason": f"{type(error).__name__}: {first[:300]}"})
