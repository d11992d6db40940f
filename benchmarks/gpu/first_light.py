"""The first twelve minutes of a CUDA GPU: does everything run, do the engines agree, how fast is it, what does it learn?

    python -m benchmarks.gpu.first_light --data DIR --minutes 9        then, for what is left:  ... --minutes 4
    python -m benchmarks.gpu.first_light --pretend --out FOLDER        every line, tiny, on a CPU; and the plan for a GPU

Each step writes OUT/NAME.json as it goes. What is complete there is skipped; what does not fit into the minutes is left for
another call. One worker process does all steps, so that compiled code serves the next one too; where a step fails or hangs,
its record says so and a new worker goes on after it. Without lightly its rows are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import ceilings, speed_rows, timing
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.core.files import save_json
from mnclglf_lite.data import cifar, dataset
from mnclglf_lite.evaluation.evaluate import evaluate, extract_features
from mnclglf_lite.evaluation.knn import KNN_PLAIN, knn
from mnclglf_lite.methods.registry import METHODS, VARIANTS, variant
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.training.run import Run, new_run
from mnclglf_lite.training.step import RECORD_AT, Step
from mnclglf_lite.training.train import train
from mnclglf_lite.views.batch import make_views

AROUND = 45.0  # seconds of a training step that are no training: loading, compiling, calibration, measuring (estimated)
SHARE = 0.6  # of a training step's budget that must be left for it to begin; it then trains for less
AGREE = 0.02  # of a loss (ours): bf16 rounding moves 20 steps' losses by less, a graph that replays stale numbers by more
TINY = {"width": 8, "blocks": (1, 1), "stem": "patch", "projector": (16, 16), "batch_size": 16, "queue": 64}


@dataclass
class Job:
    """What a step is told. `until`: when its time is up, by `time.monotonic`."""

    device: torch.device
    pretend: bool
    data: Path | None
    until: float

    def seconds(self, wanted: float) -> float:
        """Of one measurement: what is wanted, but no more than a tenth of the time that is left."""
        return 0.0 if self.pretend else max(0.0, min(wanted, (self.until - time.monotonic()) / 10))

    def recipe(self, name: str) -> Recipe:
        """The `standard` recipe of a method or variant; of a pretended run a tiny one."""
        method, changes = variant(name)
        recipe = preset("standard", method, "toybox" if self.pretend else "cifar10", **changes)
        return recipe.replace(**{key: value for key, value in TINY.items() if self.pretend and recipe.reads(key)})

    def step(self, recipe: Recipe, engine: str, log: Callable[[str], None] = print) -> tuple[Step, Callable[[], Any]]:
        """A fresh run's step on random images, and a call that takes it on the next batch. Memory is counted anew."""
        timing.forget_peak(self.device)
        batch = recipe.optim.batch_size
        images, labels = timing.pictures(8 * batch, 32, self.device)
        run = new_run(recipe.replace(steps=10_000), len(images), 10, self.device)
        run.method.train()
        step = Step(run, images, labels, engine, log)
        return step, lambda: step(torch.arange(batch) + batch * (step.done % 8))


def methods(job: Job) -> Iterator[dict]:
    """Every method and variant: 20 eager steps in the precision that "auto" means here; are they finite?"""
    for name in (*METHODS, *VARIANTS):
        step, work = job.step(recipe := job.recipe(name), "eager")
        losses = torch.stack([work()["loss"].detach() for _ in range(20)]).cpu()
        row = {"finite": bool(losses.isfinite().all()), "losses": losses[[0, -1]].tolist(), "dtype": str(step.dtype)}
        row |= {"batch_size": recipe.optim.batch_size, **timing.measured(work, job.seconds(0.5), job.device)}
        print(f"{name}: {'finite' if row['finite'] else 'NOT FINITE'}, {1000 * row['seconds']:.1f} ms a step")
        yield {name: row}


def engines(job: Job) -> Iterator[dict]:
    """Each engine from the same start: seconds to the first step, views a second, memory, and are the losses eager's?"""
    for name in ("simclr", "mnclglf"):
        eager: list[float] = []
        for engine in ("eager", "compiled", "captured"):
            said, begun = [], time.perf_counter()
            step, work = job.step(recipe := job.recipe(name), engine, said.append)
            losses = [float(work()["loss"].detach())]
            first = time.perf_counter() - begun
            losses += [float(work()["loss"].detach()) for _ in range(RECORD_AT + 7)]
            eager = eager or losses
            apart = max(abs(a - b) / abs(b) for a, b in zip(losses, eager, strict=True))
            row = {"became": step.engine, "said": said, "first_step_s": first, "losses": losses, "apart": apart}
            row |= {"agrees": apart < AGREE, **timing.measured(work, job.seconds(4.0), job.device)}
            row["views_per_s"] = rate = recipe.optim.batch_size * len(step.run.method.slots) / row["seconds"]
            print(f"{name} {engine} ({step.engine}): first step {first:.1f} s, {rate:,.0f} views/s, {apart:.1e} apart")
            yield {f"{name} {engine}": row}


def speed(job: Job) -> Iterator[dict]:
    """SimCLR's whole step beside its bare networks and lightly as shipped and tuned: rows of `benchmarks.speed`, in turn."""
    images, labels = timing.pictures(64 if job.pretend else 50_000, 32, torch.device("cpu"))
    recipe, cores, rows = job.recipe("simclr"), os.cpu_count() or 1, {}
    workers = {"ours": 0, "ours-captured": 0, "bare": 0, "lightly": min(8, cores), "lightly-tuned": cores}
    with tempfile.TemporaryDirectory() as folder:
        torch.save({"images": images, "labels": labels, "classes": 10}, f"{folder}/images.pt")
        spec = {"device": str(job.device), "recipe": recipe.to_dict(), "pictures": f"{folder}/images.pt", "threads": None}
        spec |= {"engine": "eager" if job.pretend else "compiled", "compile": not job.pretend, "trial_seconds": 0.5}
        for name, count in workers.items():
            try:
                (row := speed_rows.BUILD[name][1](spec | {"workers": [0 if job.pretend else count]})).step()
                rows[name] = row
            except Exception as error:  # no lightly, no graph: the others are measured
                print(f"{name} is left out: {error}")
                yield {name: {"left_out": f"{type(error).__name__}: {error}"[:300]}}
        found: dict[str, list[float]] = {name: [] for name in rows}
        for name in [*rows, *reversed(rows), *rows]:
            for _ in range(rows[name].ready_made):  # batches that lay ready were made while others were timed
                rows[name].step()
            found[name].append(timing.pace(rows[name].step, job.seconds(2.0), job.device))
    for name, seconds in found.items():
        rate, ours = 2 * recipe.optim.batch_size / median(seconds), median(found["ours"]) / median(seconds)
        print(f"{name}: {rate:,.0f} views/s; ours takes {ours:.3f} of its time")
        yield {name: {"views_per_s": rate, "seconds": seconds, "ours_over_it": ours, **rows[name].told}}


def learn(job: Job, name: str) -> Iterator[dict]:
    """Train on CIFAR-10's 45,000 training images, kNN on the hold-out on the way; then the test set, once."""
    splits, curve = dataset.load_dataset("toybox" if job.pretend else "cifar10", root=job.data, device=job.device), []

    def look(run: Run) -> None:
        if run.finished or run.seconds >= 10 * len(curve):
            known, asked = (extract_features(run.backbone, part) for part in (splits.train, splits.holdout))
            top = knn(known, splits.train.labels, asked, splits.holdout.labels, KNN_PLAIN, len(splits.train.classes))
            curve.append({"seconds": run.seconds, "epoch": run.step / run.per_epoch, "knn10_holdout": top["top1"]})

    job.step(job.recipe(name), "auto")[1]()  # compiles, however long that takes
    minutes = (0.1 if job.pretend else max(10.0, job.until - time.monotonic() - AROUND)) / 60
    run = train(job.recipe(name), splits, device=str(job.device), minutes=minutes, callback=look)
    yield {"recipe": run.recipe.to_dict(), "train_seconds": run.seconds, "epochs": run.step / run.per_epoch, "curve": curve}
    yield {"seconds_to_90": next((row["seconds"] for row in curve if row["knn10_holdout"] >= 0.9), None)}
    test = evaluate(run.backbone, splits, "test", transforms=("raw",))
    print(f"{name}: test kNN {test['knn']['raw']['top1']:.2%}, linear {test['linear']['top1']:.2%}, {run.seconds:.0f} s")
    yield {"test": test}


def limits(job: Job) -> Iterator[dict]:
    """The device's largest rates, and views a second of the augmentation alone."""
    side, size, batch, seconds = (64, 2**16, 2, 0.0) if job.pretend else (8192, 2**30, 512, 0.3)
    yield {
        "matmul_tflops": ceilings.matmul(job.device, side, seconds),
        "conv_tflops": ceilings.conv(job.device, batch, seconds),
    }
    yield {"copy_gb_s": ceilings.copy(job.device, size, seconds), "launch_us": ceilings.launch(job.device)}
    step, _ = job.step(recipe := job.recipe("simclr"), "eager" if job.pretend else "compiled")
    given = (step.images[: recipe.optim.batch_size], list(step.run.method.views), step.run.generator, step.render)
    rate = 2 * recipe.optim.batch_size / timing.pace(lambda: make_views(*given), job.seconds(1.0), job.device)
    yield {"augmentation_views_per_s": rate}


TRAINED = ("simclr", "mnclglf", "mnclglf-released")
WORK: dict[str, Callable[[Job], Iterator[dict]]] = {"methods": methods, "engines": engines, "speed": speed, "limits": limits}
STEPS = {"methods": 50, "engines": 90, "speed": 110, **dict.fromkeys(TRAINED, 145), "limits": 25}  # seconds, estimated


def state_of(out: Path, name: str) -> dict[str, Any]:
    return json.loads(path.read_text()) if (path := out / f"{name}.json").exists() else {"state": "open"}


def waiting(args: argparse.Namespace, name: str, deadline: float) -> str:
    """Why a step is not begun now, or nothing."""
    state, left = state_of(args.out, name)["state"], deadline - time.monotonic()
    if state in ("complete", "failed"):
        return f"{state} ({args.out / name}.json; without it the step is done again)"
    if name in TRAINED and not args.pretend and cifar.find_cifar(args.data or dataset.data_root(), "cifar10") is None:
        return f"needs CIFAR-10 in {args.data or dataset.data_root()}"
    return f"{left:.0f} s are left, too few" if left < STEPS[name] * (SHARE if name in TRAINED else 1) else ""


def work(args: argparse.Namespace, name: str, deadline: float) -> bool:
    """Do one step and write its record; whether it went well. A device that is upset stays so: then the worker ends."""
    begun, path = time.monotonic(), args.out / f"{name}.json"
    job = Job(torch.device("cpu" if args.pretend else "cuda"), args.pretend, args.data, min(deadline, begun + STEPS[name]))
    record = {"step": name, "state": "running", "budget_s": STEPS[name], "began": time.time(), "pretend": args.pretend}
    record |= {"commit": timing.commit(), **timing.stamp(job.device)}
    try:
        save_json(path, record)
        for update in learn(job, name) if name in TRAINED else WORK[name](job):
            save_json(path, record := record | update)
            if name not in TRAINED and time.monotonic() > job.until:
                record["cut_short"] = True
                break
        record["state"] = "complete"
    except Exception as error:
        record |= {"state": "failed", "why": f"{type(error).__name__}: {error}"[:1000]}
    save_json(path, record := record | {"seconds": round(time.monotonic() - begun, 1)})
    print(f"== {name}: {record['state']} after {record['seconds']} s {record.get('why', '')}")
    return record["state"] == "complete"


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
                if mine and (ended or now > deadline or time.time() > record["began"] + STEPS[name] + 20):  # it hangs
                    child.kill()
                    record |= {"state": "open" if now > deadline else "failed", "why": f"hung or died: {child.wait()}"}
                    save_json(args.out / f"{name}.json", record)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0, help="that this call may take (default: 9)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="where CIFAR-10 is (default: see doctor)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="of the records (default: data/runs/gpu; pretended: new)")
    parser.add_argument("--pretend", action="store_true", help="every line, tiny, on a CPU (default: off)")
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)  # marks a worker: when to end, by time.monotonic
    args = parser.parse_args(argv)
    if not args.pretend and not torch.cuda.is_available():
        raise InputError("there is no CUDA GPU here; --pretend goes through every line on a CPU")
    if args.until is not None:
        return int(not all(work(args, name, args.until) for name in STEPS if not waiting(args, name, args.until)))
    args.out = (args.out or Path(tempfile.mkdtemp() if args.pretend else timing.ROOT / "data/runs/gpu")).resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    print(f"the plan, in seconds: {STEPS}, {sum(STEPS.values()) / 60:.1f} minutes in all, estimated for an H200", flush=True)
    supervise(args, deadline := time.monotonic() + 60 * args.minutes)
    print("\n".join(f"{name}: {waiting(args, name, deadline)}" for name in STEPS))
    return int(any(state_of(args.out, name)["state"] == "failed" for name in STEPS))


if __name__ == "__main__":
    timing.program(main, "first_light")
