"""The first twelve minutes of a CUDA GPU: does everything run, do the engines agree, how fast is it, what does it learn?

    python -m benchmarks.gpu.first_light --data DIR --minutes 9        then, for what is left:  ... --minutes 4
    python -m benchmarks.gpu.first_light --pretend --out FOLDER        every line, tiny, on a CPU; and the plan for a GPU

Each step writes OUT/NAME.json as it goes. What is complete there is skipped; what does not fit into the minutes is left for
another call. One worker does all steps, so that compiled code serves the next; a new one goes on after a step that fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import timing
from benchmarks.experiments import race
from benchmarks.speed import ceilings, speed_rows
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.core.files import save_json
from mnclglf_lite.data import cifar, dataset
from mnclglf_lite.evaluation.evaluate import evaluate
from mnclglf_lite.methods.registry import METHODS, variant
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.training.run import Run
from mnclglf_lite.training.step import RECORD_AT, Step
from mnclglf_lite.training.train import train
from mnclglf_lite.views.batch import make_views

TINY = {"width": 8, "blocks": (1, 1), "stem": "patch", "projector": (16, 16), "batch_size": 16, "queue": 64}


@dataclass
class Job:
    """What a step is told (`until`: when its time is up, by `time.monotonic`), and its record."""

    args: argparse.Namespace
    device: torch.device
    until: float
    record: dict[str, Any]

    def keep(self, **rows: Any) -> None:
        """Write down what was found."""
        self.record |= rows
        save_json(self.args.out / f"{self.record['step']}.json", self.record)
        if time.monotonic() > self.until and self.record["step"] not in TRAINED:
            raise TimeoutError

    def seconds(self, wanted: float) -> float:
        """Of one measurement: what is wanted, but no more than a tenth of the time that is left."""
        return 0.0 if self.args.pretend else max(0.0, min(wanted, (self.until - time.monotonic()) / 10))

    def recipe(self, name: str) -> Recipe:
        """The `standard` recipe of a method or variant; of a pretended run a tiny one."""
        (method, changes), optimiser = variant(name.removesuffix("-muon")), ("sgd", "muon")[name.endswith("-muon")]
        recipe = preset("standard", method, ("cifar10", "toybox")[self.args.pretend], optimiser=optimiser, **changes)
        return recipe.replace(**{key: value for key, value in TINY.items() if self.args.pretend and recipe.reads(key)})

    def step(self, recipe: Recipe, engine: str, log: Callable[[str], None] = print) -> tuple[Step, Callable[[], Any]]:
        """A fresh run's step on random images, and a call that takes it on the next batch. Memory is counted anew."""
        timing.forget_peak(self.device)
        batch = recipe.optim.batch_size
        step = timing.new_step(recipe.replace(steps=10_000), 8 * batch, self.device, engine, log)
        return step, lambda: step(torch.arange(batch) + batch * (step.done % 8))


def methods(job: Job) -> None:
    """Every method: 20 eager steps in the precision that "auto" means here; are they finite?"""
    for name in [name for name in METHODS if name not in job.record]:
        step, work = job.step(recipe := job.recipe(name), "eager")
        losses = torch.stack([work()["loss"].detach() for _ in range(20)]).cpu()
        row = {"finite": bool(losses.isfinite().all()), "losses": losses[[0, -1]].tolist(), "dtype": str(step.dtype)}
        row |= {"batch_size": recipe.optim.batch_size, **timing.measured(work, job.seconds(0.2), job.device)}
        print(f"{name}: {'finite' if row['finite'] else 'NOT FINITE'}, {1000 * row['seconds']:.1f} ms a step")
        job.keep(**{name: row})


def engines(job: Job, other: str = "compiled") -> None:
    """Eager and another engine from the same start: seconds to the first step, views a second, are losses equal to 2 %?"""
    for name in ("simclr", "mnclglf"):
        eager: list[float] = []
        for engine in ("eager", other):
            said, begun = [], time.perf_counter()
            step, work = job.step(recipe := job.recipe(name), engine, said.append)
            losses = [float(work()["loss"].detach())]
            first = time.perf_counter() - begun
            losses += [float(work()["loss"].detach()) for _ in range(RECORD_AT + 7)]
            eager = eager or losses
            apart = max(abs(a - b) / abs(b) for a, b in zip(losses, eager, strict=True))
            row = {"became": step.engine, "said": said, "first_step_s": first, "losses": losses, "apart": apart}
            row |= {"agrees": apart < 0.02, **timing.measured(work, job.seconds(1.5), job.device)}
            row["views_per_s"] = rate = recipe.optim.batch_size * len(step.run.method.slots) / row["seconds"]
            print(f"{name} {engine} ({step.engine}): first step {first:.1f} s, {rate:,.0f} views/s, {apart:.1e} apart")
            job.keep(**{f"{name} {engine}": row})


def speed(job: Job) -> None:
    """SimCLR's whole step beside its bare networks and lightly as shipped and tuned: rows of `benchmarks.speed`, in turn."""
    recipe, cores, rows, pretend = job.recipe("simclr"), os.cpu_count() or 1, {}, job.args.pretend
    images, labels = timing.random_images(64 if pretend else 50_000, 32, torch.device("cpu"))
    spec = {"device": str(job.device), "recipe": recipe.to_dict(), "threads": None, "trial_seconds": 0.5}
    spec |= {"engine": "eager" if pretend else "compiled", "compile": not pretend}
    with tempfile.TemporaryDirectory() as folder:
        torch.save({"images": images, "labels": labels, "classes": 10}, path := f"{folder}/images.pt")
        for name, workers in {"ours": 0, "bare": 0, "lightly": min(8, cores), "lightly-tuned": cores}.items():
            try:
                rows[name] = speed_rows.BUILD[name](spec | {"images": path, "workers": [0 if pretend else workers]})
            except Exception as error:  # no lightly: the others are measured
                print(f"{name} is left out: {error}")
                job.keep(**{name: {"left_out": str(error)}})
    found: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(3):
        for name, row in list(rows.items())[:: 1 - 2 * (turn % 2)]:
            torch.backends.cudnn.benchmark = name != "lightly"  # which does not ask for it
            found[name].append(speed_rows.pace(row, job.seconds(1.0)))
        for name, seconds in found.items():
            rate, ours = 2 * recipe.optim.batch_size / median(seconds), median(found["ours"]) / median(seconds)
            print(f"{name}: {rate:,.0f} views/s; ours takes {ours:.3f} of its time")
            job.record[name] = {"views_per_s": rate, "ours_over_it": ours, "seconds": seconds, **rows[name].told}
        job.keep()


def learn(job: Job) -> None:
    """Train on CIFAR-10's 45,000 training images, kNN on the hold-out on the way; then the test set, once."""
    recipe, curve = job.recipe(job.record["step"]), []
    splits = dataset.load_dataset(recipe.data.dataset, root=job.args.data, device=job.device)

    def look(run: Run) -> None:
        if run.finished or run.seconds >= 10 * len(curve):
            found = race.accuracies(run, splits.train, splits.holdout, ["knn"])  # 10 neighbours, one vote each
            curve.append({"seconds": run.seconds, "epoch": run.step / run.per_epoch, "knn10_holdout": found["knn"]})
            job.keep(recipe=run.recipe.to_dict(), train_seconds=run.seconds, epochs=run.step / run.per_epoch, curve=curve)

    job.step(recipe, "auto")[1]()  # compiles, however long that takes
    minutes = (0.1 if job.args.pretend else max(10.0, job.until - time.monotonic() - 45)) / 60  # 45 s: all but training
    run = train(recipe, splits, device=str(job.device), minutes=minutes, callback=look)
    job.keep(seconds_to_90=next((row["seconds"] for row in curve if row["knn10_holdout"] >= 0.9), None))
    job.keep(test=(test := evaluate(run.backbone, splits, "test", transforms=("raw",))))
    print(f"test: kNN {test['knn']['raw']['top1']:.2%}, linear {test['linear']['top1']:.2%}, {run.seconds:.0f} s")


def limits(job: Job) -> None:
    """The device's largest rates, and views a second of the augmentation alone."""
    job.keep(**ceilings.rates(job.device, 0.3, job.args.pretend))
    step, _ = job.step(recipe := job.recipe("simclr"), "eager" if job.args.pretend else "compiled")
    given = (step.images[: recipe.optim.batch_size], list(step.run.method.views), step.run.generator, step.render)
    seconds = timing.pace(lambda: make_views(*given), job.seconds(1.0), job.device)
    job.keep(augmentation_views_per_s=2 * recipe.optim.batch_size / seconds)


TRAINED = ("simclr", "simclr-muon", "mnclglf", "mnclglf-muon", "mnclglf-released")
WORK = {"methods": methods, "engines": engines, "speed": speed, **dict.fromkeys(TRAINED, learn), "limits": limits}
WORK |= {"captured": lambda job: engines(job, "captured")}  # last: a recording that breaks off upsets what comes after it
STEPS = dict(zip(WORK, (45, 80, 100, 90, 90, 90, 90, 80, 20, 35), strict=True))  # seconds, estimated


def state_of(out: Path, name: str) -> dict[str, Any]:
    return json.loads(path.read_text()) if (path := out / f"{name}.json").exists() else {"state": "open"}


def waiting(args: argparse.Namespace, name: str, deadline: float) -> str:
    """Why a step is not begun now, or nothing."""
    state, left = state_of(args.out, name)["state"], deadline - time.monotonic()
    if state in ("complete", "failed"):
        return f"{state} ({args.out / name}.json; without it the step is done again)"
    if name in TRAINED and not args.pretend and cifar.find_cifar(args.data or dataset.data_root(), "cifar10") is None:
        return f"needs CIFAR-10 in {args.data or dataset.data_root()}"
    return f"{left:.0f} s are left, too few" if left < STEPS[name] * (0.6 if name in TRAINED else 1.0) else ""


def work(args: argparse.Namespace, name: str, deadline: float) -> bool:
    """Do one step and write its record; whether it went well. A device that is upset stays so: then the worker ends."""
    begun, device = time.monotonic(), torch.device("cpu" if args.pretend else "cuda")
    stamp = {"pretend": args.pretend, "commit": timing.commit(), **timing.stamp(device)}
    record = kept if (kept := state_of(args.out, name)).get("hardware") == stamp["hardware"] else {}  # of this device alone
    budget = STEPS[name] * (10 if args.pretend else 1)  # a CPU that is busy may take its time
    record |= {"step": name, "state": "running", "why": "", "budget_s": budget, "began": time.time(), **stamp}
    job = Job(args, device, min(deadline - 15, begun + budget), record)
    try:
        job.keep()
        WORK[name](job)
        record["state"] = "complete"
    except TimeoutError:
        record |= {"state": "open", "why": "out of time"}
    except Exception as error:
        record |= {"state": "failed", "why": f"{type(error).__name__}: {error}"[:1000]}
    record["seconds"] = round(time.monotonic() - begun, 1)
    save_json(args.out / f"{name}.json", record)
    print(f"== {name}: {record['state']} after {record['seconds']} s {record['why']}")
    return record["state"] != "failed"


def supervise(args: argparse.Namespace, deadline: float) -> None:
    """One worker until all is done or the time is up; another one after each that fails, hangs or dies."""
    words = [sys.executable, "-um", "benchmarks.gpu.first_light", "--out", args.out, "--until", deadline]
    words += ["--pretend"] * args.pretend + ["--data", args.data] * bool(args.data)
    for _ in STEPS:  # one of them at least is settled each time
        if all(waiting(args, name, deadline) for name in STEPS):
            break
        began, ended, child = time.time(), False, subprocess.Popen(list(map(str, words)), cwd=timing.ROOT)
        while not ended:
            time.sleep(0.5)
            ended, now = child.poll() is not None, time.monotonic()
            for name in STEPS:
                record = state_of(args.out, name)
                mine = record["state"] == "running" and record["began"] >= began  # not of a call that was cut off
                if mine and (ended or now > deadline or time.time() > record["began"] + record["budget_s"] + 20):  # it hangs
                    child.kill()
                    record |= {"state": "open" if now > deadline else "failed", "why": f"hung or died: {child.wait()}"}
                    save_json(args.out / f"{name}.json", record)


def main(argv: list[str] | None = None) -> int:
    parser = timing.parser(__doc__, data=True)
    parser.add_argument("--minutes", type=float, default=9.0, help="that this call may take (default: 9)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="of the records (default: data/runs/gpu; pretended: new)")
    parser.add_argument("--pretend", action="store_true", help="every line, tiny, on a CPU (default: off)")
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)  # marks a worker: when to end, by time.monotonic
    args = parser.parse_args(argv)
    if not args.pretend and not torch.cuda.is_available():
        raise InputError("there is no CUDA GPU here; --pretend goes through every line on a CPU")
    if args.until is not None:
        return int(not all(work(args, name, args.until) for name in STEPS if not waiting(args, name, args.until)))
    args.out = (args.out or Path(tempfile.mkdtemp() if args.pretend else timing.RUNS / "gpu")).resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    print(f"the plan, in seconds: {STEPS}, {sum(STEPS.values()) / 60:.1f} minutes in all, estimated for an H200", flush=True)
    supervise(args, deadline := time.monotonic() + 60 * args.minutes)
    print("\n".join(f"{name}: {waiting(args, name, deadline)}" for name in STEPS))
    return int(any(state_of(args.out, name)["state"] == "failed" for name in STEPS))


if __name__ == "__main__":
    timing.program(main, "first_light")
