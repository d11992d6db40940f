"""training.prepare: TODO."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ..core import distributed
from ..core.device import autocast_dtype
from ..core.distributed import barrier, broadcast, world_size
from ..core.errors import InputError
from ..core.files import read_lines, save_json, write_atomically
from ..data import dataset
from ..recipe.recipe import Recipe
from . import checkpoint
from .run import Run, new_run
from .step import Step


def calibrate_steps(
    minutes: float, recipe: Recipe, splits: dataset.Splits, device: torch.device, engine: str = "auto",
    log: Callable[[str], None] = print,
) -> int:  # fmt: skip
    """How many steps fit into `minutes` on this machine: three seconds of throw-away steps are timed, the median counts.

    Of many processes rank 0 says when it is enough, and how many steps that makes.
    """
    if not minutes > 0:
        raise InputError(f"minutes must be positive; got {minutes}")
    run = new_run(recipe, len(splits.train), len(splits.train.classes), device)
    run.total_steps = 1
    step = Step(run, splits.train.images, splits.train.labels, autocast_dtype(recipe.precision, device), engine, log)
    rows = torch.arange(recipe.batch)
    shares = max(1, len(recipe.grow))  # views may grow: each size is timed, and each has its share of the steps
    medians = []
    for share in range(shares):
        run.step, run.total_steps = share, shares
        float(step(rows)["loss"].detach())  # the first may compile: it is not timed
        times, begun = [], time.perf_counter()
        while broadcast(len(times) < 3 or time.perf_counter() - begun < 3.0 / shares):
            run.step, run.total_steps = share, shares
            at = time.perf_counter()
            float(step(rows)["loss"].detach())  # waits for the device
            times.append(time.perf_counter() - at)
        medians.append(sorted(times)[len(times) // 2])
    return broadcast(max(1, round(minutes * 60 * shares / sum(medians))))


def check_folder(out: str | Path | None, resume: bool) -> None:
    """Refuse a folder that already holds a run, before anything is loaded or timed."""
    if out is not None and (Path(out) / "checkpoint.pt").exists() and not resume:
        raise InputError(f"{out} already holds a run; go on with it (--resume), or choose another folder (--out)")


def check_recipe(out: Path, kept: Recipe, asked: Recipe) -> None:
    """Refuse to go on with the run in `out` under another recipe than its own."""
    if differences := kept.differences(asked):
        raise InputError(
            f"the run in {out} was made with another recipe ({'; '.join(differences)}); "
            "resume with the same recipe, or choose another folder (--out)"
        )


def open_run(recipe: Recipe, splits: dataset.Splits, out: Path | None, resume: bool, device: torch.device) -> Run:
    """A fresh run, or the one whose checkpoint lies in `out`. Refuses before anything is touched."""
    run = new_run(recipe, len(splits.train), len(splits.train.classes), device)
    if world_size() > 1 and not run.method.gathers:
        raise InputError(
            f"the method {recipe.method!r} is not written for many processes: gather what its loss compares "
            "(core.distributed.all_gather_rows) and say gathers = True, or train with one process"
        )
    if out is None:
        return run
    run.out = out
    path = run.out / "checkpoint.pt"
    if resume and path.exists():
        state = checkpoint.load(path, device)
        check_recipe(run.out, Recipe.from_dict(state["recipe"]), recipe)
        run.restore(state)
        run.history = [row for row in read_lines(run.out / "history.jsonl") if row["step"] <= run.step]
    barrier()  # all have read before one writes
    if distributed.rank():
        return run
    run.out.mkdir(parents=True, exist_ok=True)
    save_json(run.out / "recipe.json", recipe.to_dict())
    text = "".join(json.dumps(row) + "\n" for row in run.history)
    write_atomically(run.out / "history.jsonl", text.encode())
    return run


def check_divides(recipe: Recipe) -> None:
    """Refuse a recipe whose batch the ranks cannot share."""
    world = world_size()
    for name, count in (("batch", recipe.batch), ("norm_groups", recipe.norm_groups)):
        if count % world and not (name == "norm_groups" and count == 1):
            fits = [str(n) for n in (count // world * world, -(-count // world) * world) if n]
            raise InputError(
                f"{name} ({count}, of the whole batch) does not divide among {world} processes; give a multiple of it, "
                f"such as {' or '.join(fits)}, or another --nproc-per-node"
            )
